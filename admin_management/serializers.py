"""What the API takes and what it answers."""

from datetime import UTC, datetime
from typing import Any

from django.db import models
from django.urls import reverse
from django.utils import timezone
from rest_framework import ISO_8601, serializers
from rest_framework.exceptions import ValidationError

from .exceptions import ReasonMissingError
from .models import LONGEST_REASON, Hold, Run, StepRun, Trigger
from .runner.status import Status, StepStatus

LATEST = datetime(9999, 1, 1, tzinfo=UTC)
"""The last hours of this year cannot be shown in the time zones of the east."""


class TimeField(serializers.DateTimeField):
    """ISO 8601 in UTC, whatever the site's own formats are."""

    def __init__(self, **options: Any) -> None:
        super().__init__(ISO_8601, [ISO_8601], UTC, **options)


class TextField(serializers.CharField):
    """A string; a number or a boolean is not turned into one."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class FlagField(serializers.BooleanField):
    """true or false; "yes" and 1 are neither."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class WordField(serializers.ChoiceField):
    """One of a few words."""

    words: tuple[str, ...] = ()

    def __init__(self, **options: Any) -> None:
        super().__init__(self.words, **options)


class RunStatusField(WordField):
    """Where a run stands."""

    words = tuple(each.value for each in Status)


class StepStatusField(WordField):
    """How a step went."""

    words = tuple(each.value for each in StepStatus)


class TriggerField(WordField):
    """What asked for a run."""

    words = tuple(Trigger.values)


class StrictSerializer(serializers.Serializer[Any]):
    """Refuses what it does not know: a misspelt name must not be silently ignored."""

    accepted_elsewhere: tuple[str, ...] = ()

    def to_internal_value(self, data: Any) -> Any:
        known = {*self.fields, *self.accepted_elsewhere}
        unknown = [name for name in data if name not in known]
        if unknown:
            message = f"Unknown. Known are: {', '.join(sorted(known))}."
            raise ValidationError({name: [message] for name in unknown})
        return super().to_internal_value(data)


class BodySerializer(StrictSerializer):
    """The body of a request: of its own class, so that the schema says what is refused."""


class UpdateRequestSerializer(BodySerializer):
    """The body of a request for an update. All of it is optional."""

    reason = TextField(
        max_length=LONGEST_REASON,
        default="",
        allow_blank=True,
        help_text="Why, for the audit log.",
    )
    force = FlagField(
        default=False,
        help_text="Execute all steps even if there is nothing new.",
    )
    accept_rewritten = FlagField(
        default=False,
        help_text="Follow a branch whose history was rewritten, and drop commits that only the "
        "checkout has.",
    )
    override_hold = FlagField(
        default=False, help_text="Start even while updates are held. Needs a reason."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["override_hold"] and not attrs["reason"]:
            raise ValidationError({"reason": [str(ReasonMissingError())]})
        return attrs


class CancelRequestSerializer(BodySerializer):
    """The body of a request to cancel a run. All of it is optional."""

    reason = TextField(max_length=LONGEST_REASON, default="", allow_blank=True, help_text="Why.")


class RollbackRequestSerializer(BodySerializer):
    """The body of a request to go back."""

    reason = TextField(
        max_length=LONGEST_REASON, help_text="Why, for the audit log and for the hold."
    )


class HoldRequestSerializer(BodySerializer):
    """The body of a request to hold updates."""

    reason = TextField(
        max_length=LONGEST_REASON, help_text="Why, for all who would update meanwhile."
    )
    expires_at = TimeField(
        required=False,
        allow_null=True,
        help_text="When updates go on by themselves, ISO 8601, best with a Z. Null: when released.",
    )

    def validate_expires_at(self, expires_at: datetime | None) -> datetime | None:
        if expires_at and expires_at <= timezone.now():
            raise ValidationError("That is over already.")
        if expires_at and expires_at > LATEST:
            raise ValidationError("That is too far away: leave it out, and release them.")
        return expires_at


class RunFilterSerializer(StrictSerializer):
    """The query of the list of runs."""

    accepted_elsewhere = ("cursor", "format")

    status = RunStatusField(required=False)
    trigger = TriggerField(required=False)
    since = TimeField(
        required=False, help_text="Runs requested at or after this time, ISO 8601, best with a Z."
    )


class LogQuerySerializer(StrictSerializer):
    """The query of a run's log."""

    accepted_elsewhere = ("format",)

    offset = serializers.IntegerField(
        min_value=0, max_value=2**53 - 1, default=0, help_text="In characters, from the beginning."
    )


class StatusQuerySerializer(StrictSerializer):
    """The query of the status."""

    accepted_elsewhere = ("format",)

    fetch = serializers.BooleanField(
        default=False, help_text="Ask the remote first; otherwise what the last fetch saw is told."
    )


class HoldSerializer(serializers.ModelSerializer[Hold]):
    """Updates are paused: by whom, why, until when."""

    serializer_field_mapping = {
        **serializers.ModelSerializer.serializer_field_mapping,
        models.DateTimeField: TimeField,
    }

    actor = serializers.CharField(source="actor_name", read_only=True, help_text="Who holds them.")

    class Meta:
        model = Hold
        fields = ("reason", "actor", "held_at", "expires_at")
        read_only_fields = fields


class RunSerializer(serializers.ModelSerializer[Run]):
    """One run. Addresses are paths on this site."""

    serializer_field_mapping = HoldSerializer.serializer_field_mapping

    url = serializers.SerializerMethodField()
    log_url = serializers.SerializerMethodField()
    dashboard_url = serializers.SerializerMethodField()
    status = RunStatusField(read_only=True)
    trigger = TriggerField(read_only=True)
    actor = serializers.CharField(source="actor_name", read_only=True, help_text="Who asked.")
    duration = serializers.FloatField(
        read_only=True, allow_null=True, help_text="Seconds; to now while it runs."
    )

    target_revision = serializers.CharField(
        read_only=True, help_text="Of a rollback: the revision it goes back to. Otherwise empty."
    )
    reverse_migrations = serializers.ListField(
        child=serializers.CharField(),
        read_only=True,
        help_text="Of a rollback: the migrations that it reverses.",
    )

    hold = HoldSerializer(
        read_only=True, allow_null=True, help_text="What a waiting run waits for, if it is held."
    )

    class Meta:
        model = Run
        fields = (
            "id",
            "url",
            "log_url",
            "dashboard_url",
            "status",
            "trigger",
            "actor",
            "reason",
            "force",
            "accept_rewritten",
            "override_hold",
            "target_revision",
            "reverse_migrations",
            "hold",
            "requested_at",
            "started_at",
            "finished_at",
            "duration",
            "from_revision",
            "to_revision",
            "failed_step",
            "message",
            "hint",
        )
        read_only_fields = fields

    def get_url(self, run: Run) -> str:
        return reverse("admin_management:update-detail", args=[run.pk])

    def get_log_url(self, run: Run) -> str:
        return reverse("admin_management:update-log", args=[run.pk])

    def get_dashboard_url(self, run: Run) -> str:
        return run.get_absolute_url()


class AcceptedRunSerializer(RunSerializer):
    """The run that serves a request, which may have joined it."""

    coalesced = serializers.SerializerMethodField(
        help_text="Whether the request joined a run that already waited."
    )

    class Meta(RunSerializer.Meta):
        fields = (*RunSerializer.Meta.fields, "coalesced")  # type: ignore[assignment]
        read_only_fields = fields  # type: ignore[assignment]

    def get_coalesced(self, run: Run) -> bool:
        return bool(self.context["coalesced"])


class WayBackSerializer(serializers.Serializer[Any]):
    """What going back means."""

    target_revision = serializers.CharField(
        allow_blank=True, help_text="Empty: the run has neither proved a revision nor found one."
    )
    is_possible = serializers.BooleanField()
    meaning = serializers.CharField(help_text="A sentence: what is done, or why it cannot be.")
    reverse_migrations = serializers.ListField(
        child=serializers.CharField(), help_text="Oldest first."
    )
    notes = serializers.ListField(child=serializers.CharField())


class StepSerializer(serializers.ModelSerializer[StepRun]):
    """One step of a run, without its output: the log has it."""

    serializer_field_mapping = RunSerializer.serializer_field_mapping

    status = StepStatusField(read_only=True)
    argv = serializers.ListField(child=serializers.CharField(), read_only=True)
    output_bytes = serializers.IntegerField(read_only=True)
    duration = serializers.FloatField(
        read_only=True, allow_null=True, help_text="Seconds; to now while it runs."
    )

    class Meta:
        model = StepRun
        fields = (
            "name",
            "argv",
            "status",
            "started_at",
            "finished_at",
            "duration",
            "exit_code",
            "signal",
            "timed_out",
            "message",
            "hint",
            "output_bytes",
            "output_sha256",
        )
        read_only_fields = fields


class RunWithStepsSerializer(RunSerializer):
    """One run and the steps that it has begun."""

    steps = serializers.SerializerMethodField()

    class Meta(RunSerializer.Meta):
        fields = (*RunSerializer.Meta.fields, "steps")  # type: ignore[assignment]
        read_only_fields = fields  # type: ignore[assignment]

    def get_steps(self, run: Run) -> list[dict[str, Any]]:
        return list(StepSerializer(self.context["steps"], many=True).data)


class LogSerializer(serializers.Serializer[Any]):
    """A piece of a run's log."""

    status = RunStatusField()
    output = serializers.CharField(allow_blank=True, trim_whitespace=False)
    next = serializers.CharField(
        allow_null=True, help_text="What to ask next; null when the run has ended and all is told."
    )


class OriginSerializer(serializers.Serializer[Any]):
    """Which headers arrived by which a browser says where a request comes from."""

    seen = serializers.ListField(child=serializers.CharField())


class PartField(serializers.Field[Any, Any, Any, Any]):
    """A part of the status: plain data of the shape of ``part``, or ``{"error": "…"}``."""

    def __init__(self, part: serializers.Field[Any, Any, Any, Any], **options: Any) -> None:
        super().__init__(read_only=True, **options)
        self.part = part

    def to_representation(self, value: Any) -> Any:
        return value


class ProblemSerializer(serializers.Serializer[Any]):
    """Why a part cannot be read."""

    error = serializers.CharField()


class DetailSerializer(serializers.Serializer[Any]):
    """Why a request was refused."""

    detail = serializers.CharField()


class CommitSerializer(serializers.Serializer[Any]):
    """One commit."""

    revision = serializers.CharField()
    subject = serializers.CharField(allow_blank=True)
    author = serializers.CharField(allow_blank=True)
    committed_at = serializers.DateTimeField()
    age = serializers.IntegerField(help_text="Seconds since it was committed.")


class RemoteSerializer(serializers.Serializer[Any]):
    """The remote branch, as it was last fetched."""

    name = serializers.CharField()
    branch = serializers.CharField()
    ahead = serializers.IntegerField(help_text="Commits on disk that the remote does not have.")
    behind = serializers.IntegerField(help_text="Commits of the remote that are not live.")


class Pm2Serializer(serializers.Serializer[Any]):
    """PM2's process of this site; of a cluster the first one, with the sums of all."""

    name = serializers.CharField()
    status = serializers.CharField(help_text="PM2's word: online, stopped, errored, …")
    pid = serializers.IntegerField(allow_null=True)
    instances = serializers.IntegerField()
    restarts = serializers.IntegerField()
    uptime = serializers.IntegerField(allow_null=True, help_text="Seconds; null if not online.")
    memory = serializers.IntegerField(help_text="Bytes.")


class VersionsSerializer(serializers.Serializer[Any]):
    """What is installed."""

    admin_management = PartField(serializers.CharField())
    django = PartField(serializers.CharField())
    python = PartField(serializers.CharField())
    git = PartField(serializers.CharField())
    uv = PartField(serializers.CharField())
    pm2 = PartField(serializers.CharField())


class FindingSerializer(serializers.Serializer[Any]):
    """What is not as it should be."""

    name = serializers.CharField()
    verdict = serializers.ChoiceField(["warn", "fail"])
    message = serializers.CharField()
    advice = serializers.CharField(help_text="How to mend it.")


class DoctorSerializer(serializers.Serializer[Any]):
    """What manage.py doctor found last."""

    examined_at = TimeField()
    verdict = serializers.ChoiceField(["ok", "warn", "fail"])
    findings = FindingSerializer(many=True, help_text="Only what is not ok.")


class StatusSerializer(serializers.Serializer[Any]):
    """How the site stands. A part that cannot be read says why and leaves the others alone."""

    fetched = PartField(serializers.BooleanField(), help_text="Whether the remote was asked.")
    checkout = PartField(serializers.CharField())
    branch = PartField(serializers.CharField())
    live = PartField(CommitSerializer())
    remote = PartField(RemoteSerializer())
    pending = PartField(CommitSerializer(many=True), help_text="Newest first, at most 20.")
    dirty_files = PartField(
        serializers.ListField(child=serializers.CharField()),
        help_text="Tracked files with local changes, at most 20.",
    )
    pm2 = PartField(Pm2Serializer())
    hold = PartField(HoldSerializer(allow_null=True), help_text="Null: updates are not held.")
    current_run = PartField(RunSerializer(allow_null=True))
    waiting_run = PartField(RunSerializer(allow_null=True))
    last_run = PartField(RunSerializer(allow_null=True))
    doctor = PartField(
        DoctorSerializer(allow_null=True), help_text="Null: manage.py doctor was not asked yet."
    )
    versions = VersionsSerializer()
