"""What is remembered, and who may change it."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import DEFAULT, Mock
from uuid import UUID

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.backends.utils import CursorWrapper
from django.utils import timezone

from admin_management.audit import Happening, Kind
from admin_management.exceptions import AppendOnlyError
from admin_management.launcher import NO_WISHES
from admin_management.machine import node
from admin_management.models import (
    AuditEvent,
    AuditHead,
    Options,
    Run,
    StepRun,
    Trigger,
    waiting_updates_of,
)
from admin_management.runner.journal import Progress, StepProgress
from admin_management.runner.status import Status, StepStatus

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def run(status: Status = Status.QUEUED, **facts: Any) -> Run:
    return Run.objects.create(
        **{"node": node(), "trigger": Trigger.COMMAND, "status": status} | facts
    )


def join_or_create(options: Options, *, trigger: str, reason: str = "") -> tuple[UUID, bool]:
    with connection.cursor() as cursor:
        return Run.objects.join_or_create(cursor, options, trigger=trigger, reason=reason)


def append_all(happenings: list[Happening], *, run_id: UUID | None) -> None:
    with connection.cursor() as cursor:
        AuditEvent.objects.append_all(cursor, happenings, run_id=run_id)


def finished_progress() -> Progress:
    fetch = StepProgress(
        name="fetch",
        argv=["git", "fetch"],
        status=StepStatus.SUCCEEDED,
        started_at=NOON,
        finished_at=NOON + timedelta(seconds=1),
        exit_code=0,
        lines=["From ", "here\n"],
        output_bytes=10,
        output_sha256="a" * 64,
    )
    pull = StepProgress(
        name="pull",
        status=StepStatus.FAILED,
        started_at=NOON + timedelta(seconds=1),
        finished_at=NOON + timedelta(seconds=2),
        signal=15,
        timed_out=True,
        message="it was ended",
        hint="Look.",
    )
    return Progress(
        status=Status.FAILED,
        started_at=NOON,
        finished_at=NOON + timedelta(seconds=3),
        from_revision="1" * 40,
        to_revision="2" * 40,
        failed_step="pull",
        message="pull failed",
        hint="Look.",
        steps=[fetch, pull],
    )


class TestTheQueue:
    @pytest.mark.parametrize("status", [Status.QUEUED, Status.RUNNING])
    def test_holds_one_run_of_a_machine(self, status: Status) -> None:
        run(status)
        with pytest.raises(IntegrityError), transaction.atomic():
            run(status)
        run(status, node="another machine")

    def test_holds_a_waiting_one_behind_a_running_one(self) -> None:
        running, waiting = run(Status.RUNNING), run()
        assert list(Run.objects.here().running()) == [running]
        assert list(Run.objects.here().queued()) == [waiting]

    def test_is_free_of_what_has_ended(self) -> None:
        ended = [run(status) for status in Status if status.is_final for _ in range(2)]
        assert len(ended) == 12
        assert set(Run.objects.finished()) == set(ended)
        assert not Run.objects.here().queued().exists()
        assert not Run.objects.here().running().exists()

    def test_does_not_show_what_another_machine_does(self) -> None:
        run(node="another machine")
        assert not Run.objects.here().exists()

    def test_takes_a_request_in(self) -> None:
        key, is_new = join_or_create({"force": True}, trigger="api", reason="new logo")
        assert is_new
        made = Run.objects.get(pk=key)
        assert (made.node, made.status, made.force) == (node(), "queued", True)
        assert (made.trigger, made.reason) == ("api", "new logo")

    def test_joins_a_request_to_the_run_that_waits(self) -> None:
        waiting = run()
        joined, is_new = join_or_create({"force": False}, trigger="api")
        assert (joined, is_new) == (waiting.pk, False)
        waiting.refresh_from_db()
        assert (waiting.trigger, waiting.force) == ("command", False)

    @pytest.mark.parametrize("wish", ["force", "accept_rewritten", "override_hold"])
    def test_adds_what_a_request_wishes_for_to_the_waiting_run(self, wish: str) -> None:
        waiting = run()
        options: Options = {wish: True}  # type: ignore[misc]
        joined, is_new = join_or_create(options, trigger="api")
        waiting.refresh_from_db()
        assert (joined, is_new) == (waiting.pk, False)
        assert getattr(waiting, wish)

    def test_takes_nothing_away_from_the_waiting_run(self) -> None:
        waiting = run(force=True, accept_rewritten=True, override_hold=True)
        join_or_create(NO_WISHES, trigger="api")
        waiting.refresh_from_db()
        assert (waiting.force, waiting.accept_rewritten, waiting.override_hold) == (True,) * 3

    def test_has_a_place_of_its_own_for_a_rollback(self) -> None:
        rollback = run(target_revision="a" * 40)
        update, is_new = join_or_create({}, trigger="api")
        assert is_new
        assert {each.pk for each in Run.objects.queued()} == {rollback.pk, update}
        with pytest.raises(IntegrityError), transaction.atomic():
            run(target_revision="b" * 40)

    def test_makes_a_new_run_when_the_waiting_one_was_just_claimed(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        waiting = run()
        grant = Run.objects.grant

        def claimed_first(key: UUID, wishes: dict[str, bool]) -> bool:
            waiting.claim()
            return grant(key, wishes)

        monkeypatch.setattr(Run.objects, "grant", claimed_first)
        made, is_new = join_or_create({"force": True}, trigger="api")
        assert is_new
        assert made != waiting.pk
        waiting.refresh_from_db()
        assert (waiting.status, waiting.force) == ("running", False)

    def test_joins_the_run_that_somebody_made_a_moment_before(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        waiting = run()
        looks = Mock(wraps=waiting_updates_of.first_key, side_effect=[None, DEFAULT])
        monkeypatch.setattr(waiting_updates_of, "first_key", looks)
        assert join_or_create({"force": False}, trigger="api") == (waiting.pk, False)
        assert looks.call_count == 2


class TestClaiming:
    def test_takes_a_waiting_run(self) -> None:
        waiting = run()
        before = timezone.now()
        assert waiting.claim()
        stored = Run.objects.get()
        assert waiting.status == stored.status == "running"
        assert waiting.started_at == stored.started_at
        assert stored.started_at is not None
        assert stored.started_at >= before

    def test_can_be_done_once(self) -> None:
        waiting = run()
        same = Run.objects.get()
        assert waiting.claim()
        assert not same.claim()

    def test_waits_for_the_run_before(self) -> None:
        run(Status.RUNNING)
        waiting = run()
        assert not waiting.claim()
        waiting.refresh_from_db()
        assert (waiting.status, waiting.started_at) == ("queued", None)


class TestRecording:
    def test_writes_down_how_a_run_ended(self) -> None:
        running = run(Status.RUNNING, started_at=NOON - timedelta(seconds=1))
        assert running.record(finished_progress())
        stored = Run.objects.get()
        for each in (running, stored):
            assert (each.status, each.failed_step) == ("failed", "pull")
            assert (each.message, each.hint) == ("pull failed", "Look.")
            assert (each.from_revision, each.to_revision) == ("1" * 40, "2" * 40)
            assert (each.started_at, each.duration) == (NOON, 3)
            assert each.is_finished

    def test_writes_down_every_step(self) -> None:
        running = run(Status.RUNNING)
        running.record(finished_progress())
        fetch, pull = running.steps.all()
        assert (fetch.name, fetch.argv, fetch.status) == ("fetch", ["git", "fetch"], "succeeded")
        assert (fetch.position, pull.position) == (0, 1)
        assert (fetch.exit_code, fetch.output, fetch.output_bytes) == (0, "From here\n", 10)
        assert fetch.output_sha256 == "a" * 64
        assert (pull.exit_code, pull.signal, pull.timed_out) == (None, 15, True)
        assert (pull.message, pull.hint, pull.duration) == ("it was ended", "Look.", 1)

    def test_is_done_once(self) -> None:
        running = run(Status.RUNNING)
        same = Run.objects.get()
        assert running.record(finished_progress())
        other = finished_progress()
        other.status = Status.INTERRUPTED
        assert not same.record(other)
        assert Run.objects.get().status == "failed"
        assert StepRun.objects.count() == 2
        assert AuditEvent.objects.filter(kind=Kind.FINISHED).count() == 1

    def test_of_a_run_that_waits_changes_nothing(self) -> None:
        assert not run().record(finished_progress())
        assert Run.objects.get().status == "queued"

    def test_is_all_or_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*args: object) -> None:
            raise OSError("disk is full")

        running = run(Status.RUNNING)
        monkeypatch.setattr("admin_management.models.AuditEventManager.record_run", full)
        with pytest.raises(OSError, match="disk is full"):
            running.record(finished_progress())
        assert Run.objects.get().status == "running"
        assert not StepRun.objects.exists()

    def test_of_a_run_that_died_before_it_began_keeps_when_it_was_claimed(self) -> None:
        running = run(Status.RUNNING, started_at=NOON)
        running.record(Progress(status=Status.INTERRUPTED))
        stored = Run.objects.get()
        assert stored.started_at == NOON
        assert stored.finished_at is not None

    def test_tells_the_audit_log(self) -> None:
        running = run(Status.RUNNING, actor_name="alice")
        running.record(finished_progress())
        events = [json.loads(event.text) for event in AuditEvent.objects.all()]
        assert [(event["seq"], event["kind"]) for event in events] == [
            (1, "started"),
            (2, "step_finished"),
            (3, "step_finished"),
            (4, "finished"),
        ]
        assert {event["actor"] for event in events} == {"alice"}
        assert {event["facts"]["run"] for event in events} == {str(running.pk)}
        assert events[0]["at"] == "2026-01-01T12:00:00+00:00"
        assert events[2]["facts"]["step"] == "pull"
        assert events[2]["facts"]["status"] == "failed"
        assert events[3]["facts"]["to_revision"] == "2" * 40
        assert events[3]["facts"]["failed_step"] == "pull"


class TestARun:
    def test_is_called_by_its_short_id(self) -> None:
        made = run()
        assert str(made) == f"{made.short_id} queued"
        assert made.get_absolute_url() == f"/admin/dashboard/{made.pk}/"

    def test_lasts_until_now_while_it_goes_on(self) -> None:
        waiting, running = run(), run(Status.RUNNING, started_at=timezone.now())
        assert (waiting.duration, waiting.is_finished, running.is_finished) == (None, False, False)
        assert running.duration is not None
        assert running.duration >= 0

    def test_newest_first(self) -> None:
        old = run(Status.FAILED, requested_at=NOON)
        new = run(Status.FAILED, requested_at=NOON + timedelta(seconds=1))
        assert list(Run.objects.all()) == [new, old]

    def test_takes_its_steps_along_when_it_is_deleted_but_not_its_events(self) -> None:
        running = run(Status.RUNNING)
        running.record(finished_progress())
        running.delete()
        assert not StepRun.objects.exists()
        assert AuditEvent.objects.count() == 4


class TestAStep:
    def test_lasts_until_now_while_it_goes_on(self) -> None:
        assert StepRun(name="fetch").duration is None
        step = StepRun(name="fetch", status=StepStatus.RUNNING, started_at=timezone.now())
        assert step.duration is not None
        assert step.duration >= 0
        assert str(step) == "fetch running"


class TestTheAuditLog:
    def test_numbers_its_events_without_a_gap(self) -> None:
        for actor in ("alice", "bob"):
            AuditEvent.objects.append(Kind.REFUSED, actor=actor, address="192.0.2.1")
        first, second = AuditEvent.objects.all()
        assert (first.seq, second.seq) == (1, 2)
        assert str(second) == "2 refused"
        assert str(AuditHead.objects.get()) == "2"

    def test_leaves_no_gap_for_an_event_that_was_taken_back(self) -> None:
        def refuse_and_fail() -> None:
            with transaction.atomic():
                AuditEvent.objects.append(Kind.REFUSED)
                raise ZeroDivisionError

        AuditEvent.objects.append(Kind.REFUSED)
        with pytest.raises(ZeroDivisionError):
            refuse_and_fail()
        AuditEvent.objects.append(Kind.REFUSED)
        assert [event.seq for event in AuditEvent.objects.all()] == [1, 2]

    @pytest.mark.django_db(transaction=True)
    def test_numbers_nothing_outside_of_a_transaction(self) -> None:
        with pytest.raises(transaction.TransactionManagementError):
            append_all([Happening(kind=Kind.REFUSED)], run_id=None)
        assert not AuditHead.objects.exists()

    def test_tells_no_earlier_time_than_the_event_before_it_that_it_has_waited_for(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        numbered_at: list[datetime] = []
        real = AuditHead.advance

        def advance(cursor: CursorWrapper, count: int) -> int:
            first = real(cursor, count)
            numbered_at.append(timezone.now())
            return first

        monkeypatch.setattr(AuditHead, "advance", advance)
        AuditEvent.objects.append(Kind.REFUSED)
        assert AuditEvent.objects.get().at >= numbered_at[0]

    def test_keeps_the_exact_text_of_an_event_with_what_helps_to_find_it(self) -> None:
        made = run()
        asked = Happening(kind=Kind.REQUESTED, actor="alice", at=NOON, facts={"reason": "ü"})
        append_all([asked], run_id=made.pk)
        event = AuditEvent.objects.get()
        assert (event.kind, event.run_id, event.at) == ("requested", made.pk, NOON)
        assert event.text == (
            '{"actor":"alice","at":"2026-01-01T12:00:00+00:00",'
            f'"facts":{{"reason":"\\u00fc","run":"{made.pk}"}},"kind":"requested","seq":1}}'
        )

    def test_writes_times_in_utc(self) -> None:
        east = datetime.fromisoformat("2026-01-01T14:00:00+02:00")
        append_all([Happening(kind=Kind.REFUSED, at=east)], run_id=None)
        assert '"at":"2026-01-01T12:00:00+00:00"' in AuditEvent.objects.get().text

    def test_cannot_be_changed(self) -> None:
        AuditEvent.objects.append(Kind.REFUSED, actor="alice")
        event = AuditEvent.objects.get()
        attempts = (
            event.save,
            event.delete,
            lambda: AuditEvent.objects.all().delete(),
            lambda: AuditEvent.objects.filter(pk=1).update(text=""),
            lambda: AuditEvent.objects.bulk_update([event], ["text"]),
            lambda: AuditEvent.objects.update_or_create(seq=1, defaults={"text": ""}),
        )
        for attempt in attempts:
            with pytest.raises(AppendOnlyError, match="append-only"):
                attempt()
        assert "alice" in AuditEvent.objects.get().text
