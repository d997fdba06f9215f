"""What is remembered of GitHub: deliveries, secrets, refusals. Every write is a method here."""

import hashlib
import logging
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Self
from uuid import UUID

from django.db import Error as DatabaseFailure
from django.db import IntegrityError, connection, models, transaction
from django.db.backends.utils import CursorWrapper
from django.db.models import F, Q
from django.utils import timezone

from admin_management.audit import Kind
from admin_management.exceptions import ConflictError
from admin_management.models import AuditEvent, Run
from admin_management.prepared import Prepared, PreparedInsert

from .addresses import sender_of
from .conf import LONGEST_NAME
from .exceptions import Reason, SealedError
from .github import MAX_CONTENT_TYPE, MAX_NAME, MAX_REF, Payload
from .sealing import seal, unseal

logger = logging.getLogger("webhooks")

ADDRESS = 43
FINGERPRINT = 12
"""Characters of the longest IPv6 address with ``/64``, and of a secret's fingerprint."""

MOST_SECRETS = 2
"""Of one source: the one before and the one after, while GitHub is being changed over."""

OVERLAP = timedelta(days=7)
"""How long the one before a new secret stays good, unless somebody says otherwise."""

USED_AGAIN_AFTER = timedelta(minutes=1)
"""How far ``last_used_at`` may be behind: a write for each delivery would be too dear."""


class Outcome(models.TextChoices):
    """What a delivery led to."""

    PING = "ping"
    REQUESTED = "requested"
    REPLAYED = "replayed"
    IGNORED = "ignored"


NOT_STORED = "deleted"
SAID = (*(name for name in Payload._fields if name != NOT_STORED), "body_sha256")
"""The columns that hold what a delivery has said."""

Said = Mapping[str, Any]
"""The columns of a delivery by name, before there is a row of it."""

LOGGED = ("repository", "ref", "before", "after", "sender", "body_sha256")
"""Those of them that the audit log tells."""


ACCEPTED = {"outcome": Outcome.REQUESTED.value, "reason": ""}


class DeliveryManager(models.Manager["Delivery"]):
    """Deliveries, by GitHub's id of them."""

    def find(self, delivery_id: str, body_sha256: str) -> "tuple[Delivery | None, Delivery | None]":
        """The delivery of this id, and one of another id that brought this body before.

        Of several the one that led to a run. Both are locked until the transaction ends.
        """
        if not known_deliveries.exists(delivery_id, body_sha256):
            return None, None
        found = self.same_as(delivery_id, body_sha256).select_for_update()
        own = next((each for each in found if each.delivery_id == delivery_id), None)
        others = [each for each in found if each is not own]
        return own, max(others, key=lambda each: each.led_to_a_run, default=None)

    def accept(self, cursor: CursorWrapper, said: Said, run_id: UUID) -> None:
        """Write down a new one that led to this run.

        Raises IntegrityError if its id is known, or its body by a request that led to a run.
        """
        insert_delivery(cursor, {**said, **ACCEPTED, "run_id": run_id})

    def same_as(self, delivery_id: str, body_sha256: str) -> "models.QuerySet[Delivery]":
        """What came under this id, or brought this body and was no replay."""
        brought_it = Q(body_sha256=body_sha256) & ~Q(outcome=Outcome.REPLAYED)
        return self.filter(Q(delivery_id=delivery_id) | brought_it)


class Delivery(models.Model):
    """One verified webhook request. Of its headers only its id and the event's name are kept.

    ``content_type``, ``insecure_ssl`` and ``sends_pushes`` are how the webhook is set up on
    GitHub, as a ping tells it.
    """

    delivery_id = models.CharField(max_length=64, unique=True)
    event = models.CharField(max_length=64)
    action = models.CharField(max_length=MAX_NAME, blank=True)
    ref = models.CharField(max_length=MAX_REF, blank=True)
    before = models.CharField(max_length=64, blank=True)
    after = models.CharField(max_length=64, blank=True)
    repository = models.CharField(max_length=MAX_NAME, blank=True)
    sender = models.CharField(max_length=MAX_NAME, blank=True)
    content_type = models.CharField(max_length=MAX_CONTENT_TYPE, blank=True)
    insecure_ssl = models.BooleanField(null=True, blank=True)
    sends_pushes = models.BooleanField(null=True, blank=True)
    body_sha256 = models.CharField(max_length=64)
    secret = models.CharField(max_length=FINGERPRINT, blank=True)
    source = models.CharField(max_length=LONGEST_NAME, blank=True)
    address = models.CharField(max_length=ADDRESS, blank=True)
    outcome = models.CharField(max_length=20, choices=Outcome)
    reason = models.CharField(max_length=500, blank=True)
    run = models.ForeignKey(
        Run,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="deliveries",
        # It is followed the other way only when a run is deleted.
        db_index=False,
    )
    received_at = models.DateTimeField(default=timezone.now)

    objects: ClassVar[DeliveryManager] = DeliveryManager()

    class Meta:
        ordering = ("-id",)
        constraints = (
            # What was ignored may lead to a run later, under any id.
            models.UniqueConstraint(
                fields=["body_sha256", "outcome"],
                condition=~Q(outcome=Outcome.REPLAYED.value),
                name="one_outcome_per_body",
            ),
        )
        verbose_name_plural = "deliveries"

    def __str__(self) -> str:
        return f"{self.delivery_id} {self.event}"

    @staticmethod
    def columns_of(payload: Payload, body: bytes, *, address: str | None, **facts: str) -> Said:
        """Those of a new one, which asks for nothing so far."""
        said = payload._asdict()
        del said[NOT_STORED]
        return {
            **said,
            "body_sha256": hashlib.sha256(body).hexdigest(),
            "outcome": (Outcome.PING if payload.event == "ping" else Outcome.IGNORED).value,
            "address": sender_of(address),
            "run_id": None,
            "received_at": timezone.now(),
            **facts,
        }

    @property
    def led_to_a_run(self) -> bool:
        """True even after that run was deleted."""
        return self.outcome == Outcome.REQUESTED

    @property
    def never_ran(self) -> bool:
        """Whether the run it led to has ended before it began: cancelled, or not to be started."""
        return self.run is not None and self.run.is_finished and self.run.started_at is None

    def keep(self) -> None:
        """Store a new one. Raises IntegrityError if its id came a second time at this moment."""
        if self._state.adding:
            self._store()

    def _store(self) -> None:
        """A new one is not told its key: it is good for an answer, and not to be stored again."""
        if not self._state.adding:
            self.save()
            return
        with connection.cursor() as cursor:
            insert_delivery(cursor, {name: getattr(self, name) for name in insert_delivery.names})
        self._state.adding = False

    def repeat(self, said: Said) -> None:
        """Write down that this ping came once more: how the webhook is set up may have changed."""
        self._say(said)
        self.received_at = said["received_at"]
        self.save()

    def _say(self, said: Said) -> None:
        # Not from where: whoever sends it once more must not pass for the one who sent it first.
        for name in (*SAID, "secret", "source"):
            setattr(self, name, said[name])

    def set_replayed(self, earlier: "Delivery") -> None:
        """Write down that this delivery is ``earlier`` under another id, and asks for nothing."""
        self.outcome = Outcome.REPLAYED.value
        told = ", which led to an update" if earlier.led_to_a_run else ""
        self.reason = f"the body of delivery {earlier.delivery_id}{told}"
        self._store()

    def accept(self, said: Said, run_id: UUID) -> None:
        """Write down that this delivery, saying what ``said`` says, led to this run.

        Raises IntegrityError like ``keep``, and if its body led to a run at this moment.
        """
        self._say(said)
        self.run_id, self.outcome, self.reason = run_id, Outcome.REQUESTED.value, ""
        self._store()


insert_delivery = PreparedInsert(Delivery)


def logged(said: Said) -> dict[str, object]:
    """What the audit log tells of a delivery that is accepted."""
    return {"delivery": said["delivery_id"]} | {name: said[name] for name in LOGGED}


@Prepared
def known_deliveries(delivery_id: str, body_sha256: str) -> models.QuerySet[Delivery]:
    """Why a delivery may be no news; hardly ever is there one."""
    return Delivery.objects.same_as(delivery_id, body_sha256).order_by()


NEWEST = 200
"""So many deliveries tell whom GitHub sends from: its addresses change."""


@Prepared
def newest_deliveries_from(sender: str) -> models.QuerySet[Delivery]:
    """Those of one sender, as ``sender_of`` counts them. All the newest are read for it.

    Not replays: whoever has got hold of one signed body can make as many as they like. Only for who
    is refused too often is this asked; an index of senders is written by each push.
    """
    new = Delivery.objects.exclude(outcome=Outcome.REPLAYED).order_by("-id")
    return Delivery.objects.filter(address=sender, id__in=new.values("id")[:NEWEST]).order_by()


class SecretQuerySet(models.QuerySet["Secret"]):
    """Stored secrets, the newest first."""

    def active(self) -> Self:
        """Those that are accepted now."""
        return self.filter(Q(retires_at=None) | Q(retires_at__gt=timezone.now()))

    def active_of(self, source: str) -> Self:
        """Those of one source; at most two."""
        return self.active().filter(source=source)

    def active_called(self, fingerprint: str) -> "Secret | None":
        return self.active().filter(fingerprint=fingerprint).first()

    def make(
        self, *, created_by: str, overlap: timedelta = OVERLAP, source: str = ""
    ) -> tuple["Secret", str]:
        """A new secret of a source, and its text, which nobody is told again.

        The one before it retires after ``overlap``. Raises ConflictError if there are two already:
        GitHub may sign with either, so a person says which one goes. Raises SettingsError.
        """
        value = secrets.token_hex(32)
        name = hashlib.sha256(value.encode()).hexdigest()[:FINGERPRINT]
        facts: dict[str, Any] = {"secret": name} | ({"source": source} if source else {})
        with transaction.atomic():
            # First, because it waits for who makes another one at this moment.
            AuditEvent.objects.append(Kind.SECRET_MADE, actor=created_by, **facts)
            before = list(self.active_of(source))
            if len(before) >= MOST_SECRETS:
                names = " and ".join(each.fingerprint for each in before)
                raise ConflictError(f"Two secrets are accepted, {names}: retire one of them first.")
            secret = self.create(
                sealed=seal(value), fingerprint=name, source=source, created_by=created_by
            )
            for each in before:
                each.retire(by=created_by, at=secret.created_at + overlap)
        return secret, value


class Secret(models.Model):
    """What GitHub signs with, encrypted. ``fingerprint`` names it and does not give it away.

    It is accepted until ``retires_at``; without that, until a newer one of its source is made.
    """

    fingerprint = models.CharField(max_length=FINGERPRINT, unique=True)
    source = models.CharField(max_length=LONGEST_NAME, blank=True)
    sealed = models.TextField()
    created_at = models.DateTimeField(default=timezone.now)
    created_by = models.CharField(max_length=200, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    retires_at = models.DateTimeField(null=True, blank=True)

    objects: ClassVar[SecretQuerySet] = SecretQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ("-created_at", "-id")
        permissions = (("manage_secrets", "Can make and retire webhook secrets"),)

    def __str__(self) -> str:
        return self.fingerprint

    @property
    def is_active(self) -> bool:
        return self.retires_at is None or self.retires_at > timezone.now()

    @property
    def is_readable(self) -> bool:
        """Whether it can still be decrypted."""
        try:
            self.reveal()
        except SealedError:
            return False
        return True

    @property
    def standing(self) -> str:
        """Whether it is accepted, and until when, for people."""
        if self.retires_at is None:
            told = "accepted"
        elif self.is_active:
            told = f"accepted until {self.retires_at:%Y-%m-%d %H:%M} UTC"
        else:
            told = f"retired {self.retires_at:%Y-%m-%d %H:%M} UTC"
        return told if self.is_readable else f"{told}, but it cannot be decrypted"

    @staticmethod
    def is_changeover_unfinished(active: "list[Secret]") -> bool:
        """Whether the older of the active ones, newest first, is the one used last."""
        if len(active) < 2 or active[-1].last_used_at is None:
            return False
        newer = active[0]
        return active[-1].last_used_at > (newer.last_used_at or newer.created_at)

    def reveal(self) -> str:
        """Its text, to verify with and for nothing else. Raises SealedError."""
        return unseal(self.sealed)

    def mark_used(self) -> None:
        """Remember that a delivery was signed with it, to the minute. Never raises."""
        now = timezone.now()
        if self.last_used_at is not None and now - self.last_used_at < USED_AGAIN_AFTER:
            return
        try:
            Secret.objects.filter(pk=self.pk).update(last_used_at=now)
        except DatabaseFailure:
            logger.exception("The use of a secret could not be written down")

    def retire(self, *, by: str, at: datetime | None = None) -> None:
        """Accept it no longer, from ``at`` or now on; never for longer than it would have been."""
        at = at or timezone.now()
        until = min(at, self.retires_at or at)
        with transaction.atomic():
            # The log first, as ``make`` does: otherwise each could wait for the other.
            AuditEvent.objects.append(
                Kind.SECRET_RETIRED,
                actor=by,
                secret=self.fingerprint,
                accepted_until=until.astimezone(UTC).isoformat(),
            )
            self.retires_at = until
            self.save(update_fields=["retires_at"])


@Prepared
def stored_secrets() -> models.QuerySet[Secret]:
    """Also the retired ones, the newest first: which are active is a question of the time.

    That makes one row for each time that a secret was changed.
    """
    return Secret.objects.all()


MOST_REFUSALS = 1000
REFUSALS_KEPT = timedelta(hours=24)
"""What bounds the table: rows, and how old they get."""

PATIENCE = 60
WINDOW = timedelta(minutes=10)
"""So many refusals in so long a time, and a sender is not listened to before it is over."""

STRANGERS = (Reason.SIGNATURE, Reason.NETWORK, Reason.TOO_LARGE, Reason.UNREADABLE)
"""What is held against a sender: what nobody needs who knows the secret."""

MOST_IN_WINDOW = len(STRANGERS) * (WINDOW // timedelta(minutes=1) + 1)
"""Rows of one sender."""


Refused = tuple[str, Reason, datetime]
"""What is counted: the sender, why it was refused, and in which minute."""


class RefusalQuerySet(models.QuerySet["Refusal"]):
    """How often deliveries were refused."""

    def add(self, counts: Mapping[Refused, int]) -> None:
        """Add so many to each count: an update, or once a minute an insert."""
        newest = None
        with transaction.atomic():
            # In one order, so that no two processes wait for each other.
            for refused, count in sorted(counts.items()):
                if not self._add_to(refused, count):
                    newest = self._begin(refused, count) or newest
        if newest:
            newest.forget_old_ones()

    def _add_to(self, refused: Refused, count: int) -> bool:
        address, reason, minute = refused
        row = self.filter(address=address, reason=reason, minute=minute)
        return bool(row.update(count=F("count") + count))

    def _begin(self, refused: Refused, count: int) -> "Refusal | None":
        address, reason, minute = refused
        try:
            with transaction.atomic():
                return self.create(address=address, reason=reason, minute=minute, count=count)
        except IntegrityError:  # another process was faster
            self._add_to(refused, count)
            return None

    def held_against(self, sender: str) -> int:
        """How often it was refused of late for what nobody needs who knows the secret."""
        since = timezone.now() - WINDOW
        return sum(each.count for each in refusals_of(sender) if each.minute > since)


class Refusal(models.Model):
    """How often one sender was refused for one reason in one minute. Kept for a day."""

    minute = models.DateTimeField(db_index=True)
    address = models.CharField(max_length=ADDRESS, blank=True)
    reason = models.CharField(
        max_length=20, choices=[(each.value, each.value.replace("_", " ")) for each in Reason]
    )
    count = models.PositiveIntegerField(default=1)

    objects: ClassVar[RefusalQuerySet] = RefusalQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ("-minute", "-id")
        constraints = (
            models.UniqueConstraint(
                fields=["address", "reason", "minute"], name="one_count_per_sender_and_minute"
            ),
        )

    def __str__(self) -> str:
        return f"{self.count} {self.reason} from {self.address}"

    def forget_old_ones(self) -> None:
        """Delete what is too old, seen from this one, the newest; and what is too much.

        Of that the smallest counts: otherwise somebody with many addresses, who is refused once
        from each, would make us forget who is refused often.
        """
        Refusal.objects.filter(minute__lt=self.minute - REFUSALS_KEPT).delete()
        surplus = Refusal.objects.order_by("-count", "-minute", "-id")[MOST_REFUSALS:]
        Refusal.objects.filter(pk__in=list(surplus.values_list("pk", flat=True))).delete()


@Prepared
def refusals_of(sender: str) -> models.QuerySet[Refusal]:
    """What may be held against a sender, the newest first, some of it too old."""
    return Refusal.objects.filter(address=sender, reason__in=STRANGERS)[:MOST_IN_WINDOW]
