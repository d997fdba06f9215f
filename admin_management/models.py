"""What is remembered: runs, steps, holds, and the audit events. Every write is a method here."""

import hashlib
import re
import secrets
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, ClassVar, NoReturn, Self, TypedDict

from django.conf import settings
from django.db import IntegrityError, connection, models, transaction
from django.db.backends.utils import CursorWrapper
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from .audit import Happening, Kind
from .exceptions import AppendOnlyError, ConflictError, KeyReusedError
from .machine import node
from .prepared import Prepared, PreparedInsert
from .runner.journal import Progress, StepProgress
from .runner.status import Status, StepStatus


def _choices(words: type[StrEnum]) -> list[tuple[str, str]]:
    """As plain strings: a migration must not import code that may have changed since."""
    return [(each.value, each.value.replace("_", " ")) for each in words]


class Trigger(models.TextChoices):
    """What asked for a run."""

    WEBHOOK = "webhook"
    DASHBOARD = "dashboard"
    API = "api"
    COMMAND = "command"
    POLL = "poll"
    ROLLBACK = "rollback"


class Options(TypedDict, total=False):
    """What a request may wish for beside the remote's tip; all of it is off unless it says so."""

    force: bool
    accept_rewritten: bool
    override_hold: bool


LONGEST_NAME = 200
LONGEST_REASON = 500
"""Characters that are kept of who asks, and why."""

JOINING_TRIES = 20
"""How often a request looks for the run that waits, while others claim and ask."""


class RunQuerySet(models.QuerySet["Run"]):
    """Runs, by the questions the queue asks."""

    def here(self) -> Self:
        """Runs of this machine."""
        return self.filter(node=node())

    def queued(self) -> Self:
        return self.filter(status=Status.QUEUED)

    def running(self) -> Self:
        return self.filter(status=Status.RUNNING)

    def next_to_start(self) -> "Run | None":
        """The waiting run whose turn it is on this machine: a rollback before an update.

        None while updates are held, but for a run that was asked for in spite of it.
        """
        waiting = self.here().queued().order_by("-target_revision")
        if Hold.objects.in_force():
            waiting = waiting.filter(override_hold=True)
        return waiting.first()

    def finished(self) -> Self:
        return self.exclude(status__in=[Status.QUEUED, Status.RUNNING])

    def pending(self) -> "Run | None":
        """The run that goes on, or else one that waits."""
        return self.running().first() or self.queued().first()

    def named(self, beginning: str) -> "Run":
        """The run whose id begins like this. Raises ConflictError if that is not exactly one."""
        ids = self.values_list("pk", flat=True)
        found = [each for each in ids if str(each).startswith(beginning)]
        if len(found) != 1:
            raise ConflictError(
                f"There is not exactly one update whose id begins with {beginning}."
            )
        return self.get(pk=found[0])


FromRunQuerySet = models.Manager.from_queryset(RunQuerySet)


class RunManager(FromRunQuerySet["Run"]):
    """Runs are asked for here."""

    def ask_to_go_back(self, **facts: Any) -> "Run":
        """A rollback that waits on this machine. Raises ConflictError if one does already."""
        try:
            with transaction.atomic():
                return self.create(
                    node=node(), trigger=Trigger.ROLLBACK, override_hold=True, **facts
                )
        except IntegrityError:
            raise ConflictError("A rollback waits already.") from None

    def join_or_create(
        self, cursor: CursorWrapper, options: Options, **facts: Any
    ) -> tuple[uuid.UUID, bool]:
        """The key of the update that waits on this machine, or of a new one; whether it is new.

        Joining is sound because a run looks at the remote only after it was claimed: whatever
        was pushed before the question is in it. What a request wishes for is added to what the
        waiting run already has, and nothing is taken away. A rollback goes elsewhere, so an
        update never joins one: it waits behind it, in a place of its own.
        """
        wishes = {name: True for name, wish in options.items() if wish}
        for _ in range(JOINING_TRIES):
            waiting: uuid.UUID | None = waiting_updates_of.first_key(cursor, node())
            if waiting is None:
                try:
                    with transaction.atomic():
                        return self.create(node=node(), **wishes, **facts).pk, True
                except IntegrityError:
                    continue
            if not wishes or self.grant(waiting, wishes):
                return waiting, False
        raise ConflictError(
            "The queue changed too fast, or the transaction around this request cannot see it: ask "
            "again, outside of a repeatable-read transaction."
        )

    def grant(self, run_id: uuid.UUID, wishes: dict[str, bool]) -> bool:
        """Add wishes to a waiting run. False, and nothing is changed, if it waits no longer."""
        return bool(self.filter(pk=run_id).queued().update(**wishes))


class Run(models.Model):
    """One execution of the steps; the audit row.

    The database allows one running run, one waiting update and one waiting rollback per node, so
    nobody has to count. ``target_revision`` is what a rollback goes to; an update goes for the
    remote's tip. ``to_revision`` of a run that has not looked yet is what it is expected to find.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    node = models.CharField(max_length=100)
    status = models.CharField(max_length=20, choices=_choices(Status), default=Status.QUEUED.value)
    trigger = models.CharField(max_length=20, choices=Trigger)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    actor_name = models.CharField(max_length=LONGEST_NAME, blank=True)
    reason = models.CharField(max_length=LONGEST_REASON, blank=True)
    address = models.GenericIPAddressField(null=True, blank=True)
    force = models.BooleanField(default=False)
    accept_rewritten = models.BooleanField(default=False)
    override_hold = models.BooleanField(default=False)
    target_revision = models.CharField(max_length=64, blank=True)
    reverse_migrations = models.JSONField(default=list, blank=True)
    requested_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    from_revision = models.CharField(max_length=64, blank=True)
    to_revision = models.CharField(max_length=64, blank=True)
    failed_step = models.CharField(max_length=100, blank=True)
    message = models.TextField(blank=True)
    hint = models.TextField(blank=True)

    objects: ClassVar[RunManager] = RunManager()

    class Meta:
        ordering = ("-requested_at", "-id")
        permissions = (
            ("request_update", "Can ask for an update"),
            ("cancel_update", "Can cancel an update"),
            ("roll_back_update", "Can go back to an earlier update"),
            ("accept_rewritten_history", "Can ask for an update that accepts rewritten history"),
        )
        indexes = (models.Index(fields=["-requested_at", "-id"]),)
        constraints = (
            models.UniqueConstraint(
                fields=["node"],
                condition=Q(status=Status.RUNNING.value),
                name="one_running_run_per_node",
            ),
            models.UniqueConstraint(
                fields=["node"],
                condition=Q(status=Status.QUEUED.value, target_revision=""),
                name="one_waiting_update_per_node",
            ),
            models.UniqueConstraint(
                fields=["node"],
                condition=Q(status=Status.QUEUED.value) & ~Q(target_revision=""),
                name="one_waiting_rollback_per_node",
            ),
        )

    def __str__(self) -> str:
        return f"{self.short_id} {self.status}"

    def get_absolute_url(self) -> str:
        return reverse("admin_management:run", args=[self.pk])

    @property
    def short_id(self) -> str:
        return str(self.pk)[:8]

    @property
    def is_finished(self) -> bool:
        return Status(self.status).is_final

    @property
    def duration(self) -> float | None:
        """Seconds from start to end; to now while it runs; None before it started."""
        if self.started_at is None:
            return None
        return ((self.finished_at or timezone.now()) - self.started_at).total_seconds()

    @property
    def hold(self) -> "Hold | None":
        """What keeps this run from being started, beside the run before it."""
        if self.status != Status.QUEUED or self.override_hold:
            return None
        return Hold.objects.in_force(self.node)

    @property
    def end(self) -> Happening:
        """The last thing to tell of this run, once it has ended."""
        return Happening(
            kind=Kind.FINISHED,
            actor=self.actor_name,
            at=self.finished_at,
            facts={
                "status": self.status,
                "from_revision": self.from_revision,
                "to_revision": self.to_revision,
                "failed_step": self.failed_step,
                "message": self.message,
            },
        )

    def cancel(self, message: str, *, actor: str, **facts: Any) -> bool:
        """End this waiting run, for what the message says. False if it waits no longer."""
        end = {"status": Status.CANCELLED, "finished_at": timezone.now(), "message": message}
        with transaction.atomic():
            if not Run.objects.filter(pk=self.pk).queued().update(**end):
                return False
            for name, value in end.items():
                setattr(self, name, value)
            cancelled = Happening(kind=Kind.CANCEL_REQUESTED, actor=actor, facts=facts)
            with connection.cursor() as cursor:
                AuditEvent.objects.append_all(cursor, [cancelled, self.end], run_id=self.pk)
        return True

    def claim(self) -> bool:
        """Take this waiting run. False if somebody else did, or if one still runs."""
        started_at = timezone.now()
        try:
            with transaction.atomic():
                claimed = (
                    Run.objects.filter(pk=self.pk)
                    .queued()
                    .update(status=Status.RUNNING, started_at=started_at)
                )
        except IntegrityError:
            return False
        if claimed:
            # With what requests that joined until this moment have wished for.
            self.refresh_from_db()
        return bool(claimed)

    def record(self, progress: Progress) -> bool:
        """Write down how this run ended. False, and no change, if that was already done."""
        with transaction.atomic():
            # The first writer wins: a second one finds no running row and changes nothing.
            finished_at = progress.finished_at or timezone.now()
            facts = {
                "status": progress.status,
                "started_at": progress.started_at or self.started_at,
                "finished_at": finished_at,
                "from_revision": progress.from_revision,
                "to_revision": progress.to_revision or self.to_revision,
                "failed_step": progress.failed_step,
                "message": progress.message,
                "hint": progress.hint,
            }
            if not Run.objects.filter(pk=self.pk).running().update(**facts):
                return False
            for name, value in facts.items():
                setattr(self, name, value)
            steps = self.steps_of(progress)
            StepRun.objects.bulk_create(steps)
            AuditEvent.objects.record_run(self, steps)
        return True

    def steps_of(self, progress: Progress) -> list["StepRun"]:
        """The steps of a journal as rows that are not saved."""
        return [
            StepRun.from_progress(self, position, step)
            for position, step in enumerate(progress.steps)
        ]


@Prepared
def running_on(node: str) -> models.QuerySet[Run]:
    """The run of this machine that goes on, or has not been settled yet."""
    return Run.objects.running().filter(node=node)


@Prepared
def waiting_updates_of(node: str) -> models.QuerySet[Run]:
    """The update of this machine that waits; not a rollback."""
    return Run.objects.queued().filter(node=node, target_revision="").order_by()


class StepRun(models.Model):
    """The record of one step in one run. ``exit_code`` is null when a signal ended it."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="steps")
    position = models.PositiveSmallIntegerField()
    name = models.CharField(max_length=100)
    argv = models.JSONField(default=list)
    status = models.CharField(max_length=20, choices=_choices(StepStatus))
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    exit_code = models.IntegerField(null=True)
    signal = models.PositiveSmallIntegerField(null=True)
    timed_out = models.BooleanField(default=False)
    message = models.TextField(blank=True)
    hint = models.TextField(blank=True)
    output = models.TextField(blank=True)
    output_bytes = models.BigIntegerField(default=0)
    output_sha256 = models.CharField(max_length=64, blank=True)

    class Meta:
        ordering = ("position",)
        constraints = (
            models.UniqueConstraint(fields=["run", "position"], name="one_row_per_step_of_a_run"),
        )

    def __str__(self) -> str:
        return f"{self.name} {self.status}"

    @property
    def duration(self) -> float | None:
        """Seconds it took; to now while it runs."""
        if self.started_at is None:
            return None
        return ((self.finished_at or timezone.now()) - self.started_at).total_seconds()

    @classmethod
    def from_progress(cls, run: Run, position: int, step: StepProgress) -> "StepRun":
        return cls(
            run=run,
            position=position,
            name=step.name,
            argv=step.argv,
            status=step.status,
            started_at=step.started_at,
            finished_at=step.finished_at,
            exit_code=step.exit_code,
            signal=step.signal,
            timed_out=step.timed_out,
            message=step.message,
            hint=step.hint,
            output=step.output,
            output_bytes=step.output_bytes,
            output_sha256=step.output_sha256,
        )


class HoldManager(models.Manager["Hold"]):
    """Holds, placed and taken off. Each of that is in the audit log."""

    def in_force(self, of: str | None = None) -> "Hold | None":
        """What holds the updates of a machine now; of this one unless another is named."""
        held = of or node()
        # Asked first, because it takes less to know that there is none than to read one.
        holds = unreleased_holds_of(held) if unreleased_holds_of.exists(held) else []
        return next((each for each in holds if not each.has_expired), None)

    def place(
        self,
        *,
        reason: str,
        expires_at: datetime | None = None,
        address: str | None = None,
        **actor: Any,
    ) -> "Hold":
        """Hold the updates of this machine. Raises ConflictError if they are held already."""
        with transaction.atomic():
            self.end_expired()
            try:
                with transaction.atomic():
                    facts = {"reason": reason, "expires_at": expires_at}
                    hold = self.create(node=node(), **facts, **actor)
            except IntegrityError:
                # Whoever has released it meanwhile leaves nothing to tell.
                told = self.in_force() or "They were held until this moment: try again."
                raise ConflictError(str(told)) from None
            hold.remember(Kind.HELD, hold.actor_name, reason=reason, address=address)
        return hold

    def end_expired(self) -> int:
        """Take off what has expired on this machine. Returns how many that were."""
        expired = self.filter(node=node(), released_at=None, expires_at__lte=timezone.now())
        return sum(hold.release("") for hold in expired)


class Hold(models.Model):
    """Updates are paused on one machine: by whom, why, until when.

    Runs go on being asked for meanwhile, and wait. ``released_by`` is empty if it has expired.
    """

    node = models.CharField(max_length=100)
    reason = models.CharField(max_length=LONGEST_REASON)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    actor_name = models.CharField(max_length=LONGEST_NAME, blank=True)
    held_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(null=True, blank=True)
    released_at = models.DateTimeField(null=True, blank=True)
    released_by = models.CharField(max_length=LONGEST_NAME, blank=True)

    objects: ClassVar[HoldManager] = HoldManager()

    class Meta:
        ordering = ("-held_at", "-id")
        permissions = (("hold_updates", "Can hold and release updates, and override a hold"),)
        constraints = (
            models.UniqueConstraint(
                fields=["node"], condition=Q(released_at=None), name="one_hold_per_node"
            ),
        )

    def __str__(self) -> str:
        until = (
            f" until {self.expires_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
            if self.expires_at
            else ""
        )
        return f"Updates are held by {self.actor_name}{until}: {self.reason}"

    @property
    def has_expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= timezone.now()

    def release(self, by: str, *, address: str | None = None) -> bool:
        """Let updates go on. False, and no change, if somebody else did so already."""
        facts = {"released_at": timezone.now(), "released_by": by}
        with transaction.atomic():
            if not Hold.objects.filter(pk=self.pk, released_at=None).update(**facts):
                return False
            self.remember(Kind.RELEASED, by, address=address)
        return True

    def remember(self, kind: Kind, actor: str, **facts: Any) -> None:
        """Write an event about this hold into the audit log."""
        expires_at = self.expires_at and self.expires_at.astimezone(UTC).isoformat()
        AuditEvent.objects.append(
            kind, actor=actor, hold=self.pk, node=self.node, expires_at=expires_at, **facts
        )


@Prepared
def unreleased_holds_of(node: str) -> models.QuerySet[Hold]:
    """The hold of this machine, in force or expired: at most one."""
    return Hold.objects.filter(node=node, released_at=None)


class IdempotencyKeyQuerySet(models.QuerySet["IdempotencyKey"]):
    """Keys, by who has sent them."""

    def claim(self, user_id: Any, key: str, body: str) -> tuple["IdempotencyKey", bool]:
        """The row of this user's key, and whether it is new and wants a run.

        Call it in the transaction that makes the run: of two at once the second waits for the
        first. Raises KeyReusedError if the key came with another body before.
        """
        old = timezone.now() - IdempotencyKey.LIFETIME
        self.filter(user_id=user_id, created_at__lte=old).delete()
        digest = hashlib.sha256(body.encode()).hexdigest()
        try:
            with transaction.atomic():
                return self.create(user_id=user_id, key=key, body_sha256=digest), True
        except IntegrityError:
            known = self.get(user_id=user_id, key=key)
        if known.body_sha256 != digest:
            raise KeyReusedError
        return known, False


class IdempotencyKey(models.Model):
    """A request for an update that may be sent again, and the run that it has got.

    ``run`` is null only inside the transaction that asks for it.
    """

    LIFETIME = timedelta(hours=24)

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=255)
    body_sha256 = models.CharField(max_length=64)
    run = models.ForeignKey(Run, null=True, on_delete=models.CASCADE, related_name="+")
    coalesced = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now)

    objects: ClassVar[IdempotencyKeyQuerySet] = IdempotencyKeyQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        default_permissions = ()
        constraints = (
            models.UniqueConstraint(fields=["user", "key"], name="one_row_per_key_of_a_user"),
        )

    def __str__(self) -> str:
        return self.key

    def answer_with(self, run: Run, *, coalesced: bool) -> None:
        """Remember what the request has got."""
        self.run, self.coalesced = run, coalesced
        self.save(update_fields=["run", "coalesced"])


class Scope(models.TextChoices):
    """What a token is for."""

    READ = "read"
    UPDATE = "update"


_TOKEN = re.compile(r"dam_[A-Za-z0-9_-]{43}")
"""What ``ApiToken.issue`` makes; ``runner/redact.py`` knows it too."""


class ApiTokenQuerySet(models.QuerySet["ApiToken"]):
    """Tokens, by what was sent and by what is still good."""

    def usable(self) -> Self:
        """Neither revoked nor expired."""
        return self.filter(revoked_at=None, expires_at__gt=timezone.now())

    def of_value(self, value: str) -> "ApiToken | None":
        """The usable token that this is, with its user; None for anything else, of any length."""
        if not _TOKEN.fullmatch(value):
            return None
        return self.usable().select_related("user").filter(digest=_digest(value)).first()


class ApiToken(models.Model):
    """What a script sends instead of a session. The value is shown once and never stored.

    It can do at most what its user can at that moment. ``revoked_at`` is null while it is good.
    """

    DAYS = 90
    """How long a token is good, unless it is told otherwise."""

    LONGEST_DAYS = 3650

    value = ""
    """What is sent; known to the one process that has issued it, while it shows it."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", editable=False
    )
    name = models.CharField(max_length=100, help_text="What uses it, for the audit log.")
    digest = models.CharField(max_length=64, unique=True, editable=False)
    scope = models.CharField(
        max_length=10,
        choices=_choices(Scope),
        default=Scope.READ.value,
        help_text="read: nothing can be changed. update: what you may change, it may.",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(editable=False)
    last_used_at = models.DateTimeField(null=True, editable=False)
    revoked_at = models.DateTimeField(null=True, editable=False)

    objects: ClassVar[ApiTokenQuerySet] = ApiTokenQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ("-created_at", "-id")
        default_permissions = ("add",)
        permissions = (("revoke_apitoken", "Can see and revoke everybody's API tokens"),)

    def __str__(self) -> str:
        return f"{self.name} ({self.scope}) of {self.user}"

    def issue(self, *, by: str, days: int) -> None:
        """Make the value of this new token and save the rest: nobody can find it out again."""
        self.value = f"dam_{secrets.token_urlsafe(32)}"
        self.digest = _digest(self.value)
        self.expires_at = timezone.now() + timedelta(days=days)
        with transaction.atomic():
            self.save(force_insert=True)
            self.remember(Kind.TOKEN_ISSUED, by)

    def revoke(self, *, by: str) -> bool:
        """Make it worthless from now on. False, and no change, if it is already."""
        with transaction.atomic():
            unrevoked = ApiToken.objects.filter(pk=self.pk, revoked_at=None)
            if not unrevoked.update(revoked_at=timezone.now()):
                return False
            self.remember(Kind.TOKEN_REVOKED, by)
        return True

    def touch(self) -> None:
        """Remember that it was used, at most once a minute."""
        now = timezone.now()
        if self.last_used_at is None or now - self.last_used_at >= timedelta(minutes=1):
            ApiToken.objects.filter(pk=self.pk).update(last_used_at=now)

    def remember(self, kind: Kind, actor: str) -> None:
        """Write an event about this token into the audit log."""
        AuditEvent.objects.append(
            kind,
            actor=actor,
            token=self.pk,
            name=self.name,
            user=str(self.user),
            scope=self.scope,
            expires_at=self.expires_at.astimezone(UTC).isoformat(),
        )


def _digest(value: str) -> str:
    """SHA-256: 32 random bytes need no slow hash, and finding a row by it tells no timing."""
    return hashlib.sha256(value.encode("ascii")).hexdigest()


class AuditEventQuerySet(models.QuerySet["AuditEvent"]):
    """Events can be read; to change or delete them, or to add many at once, is refused."""

    def update(self, **kwargs: object) -> NoReturn:
        raise AppendOnlyError

    def delete(self) -> NoReturn:
        raise AppendOnlyError

    def bulk_create(self, *args: object, **kwargs: object) -> NoReturn:
        raise AppendOnlyError

    def bulk_update(self, *args: object, **kwargs: object) -> NoReturn:
        raise AppendOnlyError


FromAuditEventQuerySet = models.Manager.from_queryset(AuditEventQuerySet)


class AuditEventManager(FromAuditEventQuerySet["AuditEvent"]):
    """Events are added here."""

    def append(
        self,
        kind: Kind,
        *,
        actor: str = "",
        run_id: uuid.UUID | None = None,
        **facts: object,
    ) -> None:
        """Add an event at the end. Waits for the other writers: ``seq`` has no gaps."""
        event = Happening(kind=kind, actor=actor, facts=facts)
        with transaction.atomic(savepoint=False), connection.cursor() as cursor:
            self.append_all(cursor, [event], run_id=run_id)

    def append_all(
        self, cursor: CursorWrapper, happenings: Sequence[Happening], *, run_id: uuid.UUID | None
    ) -> None:
        """Add events at the end, all of one run or of none. Call it in a transaction."""
        first = AuditHead.advance(cursor, len(happenings))
        # After the number, so that the times of what happens now grow with the numbers.
        now = timezone.now()
        for seq, each in enumerate(happenings, first):
            insert_event(cursor, each.numbered(seq, run_id=run_id, now=now))

    def record_run(self, run: Run, steps: list[StepRun]) -> None:
        """The events of a run that has ended. Call it once, in the run's own transaction."""
        actor = run.actor_name
        started = Happening(kind=Kind.STARTED, actor=actor, at=run.started_at)
        finished = [
            Happening(
                kind=Kind.STEP_FINISHED,
                actor=actor,
                at=step.finished_at,
                facts={
                    "step": step.name,
                    "status": step.status,
                    "exit_code": step.exit_code,
                    "output_sha256": step.output_sha256,
                },
            )
            for step in steps
        ]
        begun = [started, *finished] if run.started_at else []
        with connection.cursor() as cursor:
            self.append_all(cursor, [*begun, run.end], run_id=run.pk)


class AuditEvent(models.Model):
    """One thing that happened. Never changed, never deleted; outlives the run it tells of.

    ``text`` is the event itself, in canonical JSON; the other columns only help to find it.
    """

    # Not a big integer: SQLite would keep an index of it beside the table
    # (https://sqlite.org/lang_createtable.html#rowid).
    seq = models.IntegerField(primary_key=True)
    at = models.DateTimeField()
    kind = models.CharField(max_length=30)
    run_id = models.UUIDField(null=True)
    text = models.TextField()

    objects: ClassVar[AuditEventManager] = AuditEventManager()

    class Meta:
        ordering = ("seq",)
        # Each refusal asks for the ones before it, and of nothing else is the time asked often.
        indexes = (
            models.Index(fields=["at"], condition=Q(kind=Kind.REFUSED.value), name="refused_at"),
        )
        # So that no way round leads past what the manager refuses.
        base_manager_name = "objects"

    def __str__(self) -> str:
        return f"{self.seq} {self.kind}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not kwargs.get("force_insert"):
            raise AppendOnlyError
        super().save(*args, **kwargs)

    def delete(self, *args: object, **kwargs: object) -> NoReturn:
        raise AppendOnlyError


insert_event = PreparedInsert(AuditEvent)

ADVANCE = "UPDATE admin_management_audithead SET seq = seq + %(count)s WHERE id = %(only)s"
LAST = "SELECT seq FROM admin_management_audithead WHERE id = %(only)s"


class AuditHead(models.Model):
    """The last ``seq`` given out: one row, locked by whoever appends."""

    ONLY = 1

    seq = models.PositiveBigIntegerField(default=0)

    def __str__(self) -> str:
        return str(self.seq)

    @classmethod
    def advance(cls, cursor: CursorWrapper, count: int) -> int:
        """The first of the next ``count``. Its row stays locked until the transaction ends.

        Raises TransactionManagementError if there is none.
        """
        if not cursor.db.in_atomic_block:
            raise transaction.TransactionManagementError("An event is numbered in a transaction.")
        # Said by the ORM this takes twenty times as long, and each push says it.
        params = {"count": count, "only": cls.ONLY}
        cursor.execute(ADVANCE, params)
        if not cursor.rowcount:
            cls.objects.get_or_create(pk=cls.ONLY)
            cursor.execute(ADVANCE, params)
        cursor.execute(LAST, params)
        (seq,) = cursor.fetchone()
        return int(seq) - count + 1
