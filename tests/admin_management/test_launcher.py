"""Asking for an update: joining, starting, settling. No step is executed here."""

import fcntl
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from admin_management import launcher
from admin_management.audit import Kind
from admin_management.conf import AdminManagementSettings
from admin_management.launcher import (
    Requester,
    hold_updates,
    request_update,
    settle,
    start_next,
)
from admin_management.machine import node
from admin_management.models import AuditEvent, Run, StepRun, Trigger
from admin_management.runner.journal import Journal, Progress, replay
from admin_management.runner.lock import Lock
from admin_management.runner.plan import Plan
from admin_management.runner.process import start_time
from admin_management.runner.state import StateDirectory
from admin_management.runner.status import Status, StepStatus
from tests.conftest import Checkout

pytestmark = pytest.mark.django_db

Commit = Callable[..., Any]


def ask(**facts: Any) -> tuple[Run, bool]:
    who: dict[str, Any] = {"trigger": Trigger.COMMAND, "requester": Requester(name="alice")}
    key, is_new = request_update(**who | facts)
    return Run.objects.get(pk=key), is_new


def running_run(**facts: Any) -> Run:
    usual = {"node": node(), "trigger": Trigger.COMMAND, "started_at": timezone.now()}
    run = Run.objects.create(**usual | {"status": Status.RUNNING} | facts)
    state_of_settings().run(str(run.pk)).mkdir(parents=True)
    return run


def state_of_settings() -> StateDirectory:
    state = StateDirectory.of(AdminManagementSettings.load().checkout)
    state.create()
    return state


def journal_of(run: Run) -> Journal:
    return Journal(state_of_settings().journal(str(run.pk)))


@pytest.fixture
def held(checkout: Checkout) -> Any:
    """The lock, held as by a runner that is alive."""
    lock = Lock.try_acquire(state_of_settings().lock)
    assert lock is not None
    yield lock
    lock.release()


def test_a_request_is_written_down_with_who_why_and_from_where(alice: User) -> None:
    requester = Requester(name="alice", user_id=alice.pk, address="192.0.2.7")
    run, is_new = ask(trigger=Trigger.API, requester=requester, reason="new logo", force=True)
    run.refresh_from_db()
    assert is_new
    assert (run.status, run.trigger, run.actor, run.actor_name) == ("queued", "api", alice, "alice")
    assert (run.reason, run.address, run.force) == ("new logo", "192.0.2.7", True)


def test_a_second_request_joins_the_run_that_waits() -> None:
    first, _ = ask()
    second, is_new = ask(requester=Requester(name="bob"))
    assert (second.pk, is_new) == (first.pk, False)
    assert Run.objects.count() == 1


def test_both_requests_are_in_the_audit_log_without_a_gap() -> None:
    ask()
    ask(requester=Requester(name="bob"), reason="me too")
    events = [json.loads(event.text) for event in AuditEvent.objects.all()]
    assert [(e["seq"], e["kind"], e["actor"]) for e in events] == [
        (1, "requested", "alice"),
        (2, "coalesced", "bob"),
    ]
    assert events[1]["facts"]["reason"] == "me too"
    # Whoever joins is held as long as the run is, which is not for them to tell.
    assert ["hold" in event["facts"] for event in events] == [True, False]


@pytest.mark.django_db(transaction=True)
def test_what_accompanies_a_request_takes_it_back_when_it_fails(spawned: list[Plan]) -> None:
    def fail(_: object, key: UUID) -> None:
        assert Run.objects.filter(pk=key).exists()
        raise ZeroDivisionError

    with transaction.atomic():
        with pytest.raises(ZeroDivisionError):
            ask(alongside=fail)
        assert not Run.objects.exists()
        assert not AuditEvent.objects.exists()
    assert spawned == []


def test_a_delivery_that_asks_is_told_beside_the_request_and_alone_if_it_joins() -> None:
    run, _ = ask(alongside=lambda *_: {"delivery": "1"})
    ask(requester=Requester(name="bob"), alongside=lambda *_: {"delivery": "2"})
    events = AuditEvent.objects.all()
    assert [(each.kind, each.run_id) for each in events] == [
        ("requested", run.pk),
        ("delivery_accepted", run.pk),
        ("delivery_accepted", run.pk),
    ]
    _, beside, alone = (json.loads(each.text) for each in events)
    assert (beside["actor"], beside["facts"]["joined"]) == ("alice", False)
    assert (alone["actor"], alone["facts"]["joined"]) == ("bob", True)
    address = {"address": None}
    assert alone["facts"] == {"delivery": "2", "joined": True, "run": str(run.pk)} | address


def test_a_delivery_that_joins_and_wishes_for_something_is_told_with_its_wish() -> None:
    ask()
    ask(force=True, alongside=lambda *_: {"delivery": "1"})
    *_, asked, delivered = AuditEvent.objects.all()
    assert (asked.kind, delivered.kind) == ("coalesced", "delivery_accepted")
    assert json.loads(asked.text)["facts"]["force"] is True


def test_a_forced_request_that_joins_makes_the_waiting_run_forced() -> None:
    run, _ = ask()
    ask(force=True)
    run.refresh_from_db()
    assert run.force


def test_what_a_request_wishes_for_is_in_the_log_and_in_the_plan(
    checkout: Checkout, spawned: list[Plan]
) -> None:
    ask()
    ask(accept_rewritten=True)
    start_next()
    (plan,) = spawned
    assert (plan.force, plan.accept_rewritten, plan.target) == (False, True, "")
    requested, joined = (json.loads(event.text)["facts"] for event in AuditEvent.objects.all())
    assert (requested["accept_rewritten"], joined["accept_rewritten"]) == (False, True)


def test_what_the_requester_expects_stays_until_the_run_has_looked(
    checkout: Checkout, spawned: list[Plan]
) -> None:
    run, _ = ask(expected="a" * 40)
    start_next()
    journal_of(run).event("finished", status="failed", message="local changes")
    settle()
    run.refresh_from_db()
    assert (run.status, run.to_revision) == ("failed", "a" * 40)


def test_a_request_while_one_runs_waits_behind_it(held: Lock, spawned: list[Plan]) -> None:
    running_run()
    run, is_new = ask()
    start_next()
    run.refresh_from_db()
    assert is_new
    assert run.status == Status.QUEUED
    assert spawned == []


def test_nothing_is_started_when_the_transaction_is_rolled_back(
    checkout: Checkout, spawned: list[Plan], django_capture_on_commit_callbacks: Commit
) -> None:
    def ask_in_a_transaction_that_fails() -> None:
        with transaction.atomic():
            ask()
            raise ZeroDivisionError

    with django_capture_on_commit_callbacks(execute=True), pytest.raises(ZeroDivisionError):
        ask_in_a_transaction_that_fails()
    assert spawned == []
    assert not Run.objects.exists()


def test_a_runner_is_started_after_the_commit(
    checkout: Checkout, spawned: list[Plan], django_capture_on_commit_callbacks: Commit
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        run, _ = ask()
        assert spawned == []
    run.refresh_from_db()
    assert run.status == Status.RUNNING
    assert run.started_at is not None
    assert [plan.run for plan in spawned] == [str(run.pk)]


def test_the_files_of_a_run_are_for_its_owner_only(checkout: Checkout, spawned: list[Plan]) -> None:
    ask()
    start_next()
    folder = state_of_settings().run(spawned[0].run)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (folder, *folder.iterdir())}
    assert modes == {folder.name: 0o700, "plan.json": 0o600, "restart_server.sh": 0o700}


def test_a_checkout_that_is_not_a_git_work_tree_fails_the_run_with_a_sentence(
    tmp_path: Path, settings: Any
) -> None:
    settings.ADMIN_MANAGEMENT = {"CHECKOUT": tmp_path}
    run, _ = ask()
    start_next()
    run.refresh_from_db()
    assert run.status == Status.FAILED
    assert "is not inside a git work tree" in run.message
    assert settle() == 0


def test_a_git_directory_that_has_gone_meanwhile_fails_the_run_too(
    checkout: Checkout, spawned: list[Plan]
) -> None:
    start_next()
    (checkout.path / ".git").rename(checkout.path / "elsewhere")
    run, _ = ask()
    start_next()
    run.refresh_from_db()
    assert spawned == []
    assert (run.status, "not inside a git work tree" in run.message) == (Status.FAILED, True)


def test_a_git_directory_that_has_moved_is_found_again(
    checkout: Checkout, spawned: list[Plan]
) -> None:
    start_next()
    checkout.git("init", "--quiet", "--separate-git-dir", str(checkout.path.parent / "elsewhere"))
    ask()
    start_next()
    assert len(spawned) == 1


def test_a_lock_that_somebody_else_owns_now_fails_the_run_with_a_sentence(
    checkout: Checkout, spawned: list[Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    start_next()

    def refuse(path: Path) -> Lock | None:
        raise PermissionError  # as root, who may run these tests, nobody is refused

    monkeypatch.setattr(Lock, "try_acquire", refuse)
    monkeypatch.setattr("admin_management.launcher.os.geteuid", lambda: 12345)
    run, _ = ask()
    start_next()
    run.refresh_from_db()
    assert (run.status, "Do it as that user" in run.message) == (Status.FAILED, True)


@pytest.mark.django_db(transaction=True)
def test_a_log_that_fails_keeps_no_run_from_being_started(
    checkout: Checkout,
    spawned: list[Plan],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    failed: list[str] = []

    def fail(record: logging.LogRecord) -> bool:
        failed.append(record.msg)
        raise ZeroDivisionError

    caplog.set_level(logging.INFO, launcher.logger.name)
    monkeypatch.setattr(launcher.logger, "filters", [fail])
    ask()
    assert (len(failed), len(spawned)) == (1, 1)


def test_a_run_waits_for_the_one_before_it_even_where_the_work_tree_is_gone(
    tmp_path: Path, settings: Any
) -> None:
    settings.ADMIN_MANAGEMENT = {"CHECKOUT": tmp_path}
    Run.objects.create(node=node(), trigger=Trigger.COMMAND, status=Status.RUNNING)
    run, _ = ask()
    start_next()
    run.refresh_from_db()
    assert run.status == Status.QUEUED


def test_a_runner_that_cannot_be_started_fails_the_run_and_frees_the_lock(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    run, _ = ask()
    start_next()
    run.refresh_from_db()
    assert run.status == Status.FAILED
    assert "could not be started" in run.message
    lock = Lock.try_acquire(state_of_settings().lock)
    assert lock is not None
    lock.release()


def test_a_site_without_our_addresses_fails_the_run_and_says_so(
    checkout: Checkout, settings: Any
) -> None:
    settings.ROOT_URLCONF = "webhooks.urls"
    run, _ = ask()
    start_next()
    run.refresh_from_db()
    assert run.status == Status.FAILED
    assert 'The site does not include "admin_management.urls"' in run.message


def test_a_finished_journal_becomes_rows_once(checkout: Checkout) -> None:
    run = running_run(actor_name="alice")
    journal = journal_of(run)
    journal.event("started", run=str(run.pk))
    journal.event("revisions", from_revision="a" * 40, to_revision="b" * 40)
    journal.event("step_started", step=0, name="fetch", argv=["git", "fetch"])
    journal.output(0, "fetched\n")
    journal.event("step_finished", step=0, status="succeeded", exit_code=0, output_bytes=8)
    journal.event("finished", status="succeeded", message="Updated")
    assert settle() == 1
    assert settle() == 0
    run.refresh_from_db()
    assert (run.status, run.message, run.to_revision) == ("succeeded", "Updated", "b" * 40)
    step = StepRun.objects.get()
    assert (step.name, step.status, step.exit_code, step.output) == (
        "fetch",
        "succeeded",
        0,
        "fetched\n",
    )
    kinds = list(AuditEvent.objects.values_list("kind", flat=True))
    assert kinds == [Kind.STARTED, Kind.STEP_FINISHED, Kind.FINISHED]


def test_a_finished_journal_is_settled_while_its_runner_is_still_leaving(
    checkout: Checkout, held: Lock
) -> None:
    run = running_run()
    journal_of(run).event("finished", status="failed", message="no")
    assert settle() == 1


def test_a_run_that_somebody_else_settles_meanwhile_is_settled_once(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = running_run()
    journal_of(run).event("finished", status="succeeded")

    def replay_slowly(path: Path) -> Progress:
        progress = replay(path)
        Run.objects.get().record(progress)
        return progress

    monkeypatch.setattr(launcher, "replay", replay_slowly)
    assert settle() == 0
    kinds = list(AuditEvent.objects.values_list("kind", flat=True))
    assert kinds == [Kind.STARTED, Kind.FINISHED]


def test_a_run_whose_runner_lives_is_left_alone(held: Lock) -> None:
    run = running_run()
    journal_of(run).event("started")
    assert settle() == 0
    run.refresh_from_db()
    assert run.status == Status.RUNNING


def test_a_run_whose_runner_died_becomes_interrupted_in_its_last_step(checkout: Checkout) -> None:
    run = running_run()
    journal = journal_of(run)
    journal.event("step_started", step=0, name="fetch", argv=[])
    journal.event("step_finished", step=0, status="succeeded")
    journal.event("step_started", step=1, name="pull", argv=[])
    settle()
    run.refresh_from_db()
    assert (run.status, run.failed_step) == (Status.INTERRUPTED, "pull")
    assert "died" in run.message
    assert [step.status for step in run.steps.all()] == [
        StepStatus.SUCCEEDED,
        StepStatus.INTERRUPTED,
    ]


def test_a_dead_run_that_had_changed_something_is_handed_to_a_recovery(
    checkout: Checkout,
) -> None:
    run = running_run()
    journal = journal_of(run)
    journal.event("checkpoint", revision="1" * 40)
    assert settle() == 0
    # The recovery holds the lock until it has ended: here it has no plan to go by.
    with open(state_of_settings().lock) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
    settle()
    run.refresh_from_db()
    assert run.status == Status.ROLLBACK_FAILED
    assert "Its plan cannot be read" in run.message


def test_a_dead_run_is_settled_by_the_next_request_although_updates_are_held(
    checkout: Checkout,
) -> None:
    run = running_run()
    hold_updates(requester=Requester(name="alice"), reason="exams")
    start_next()
    run.refresh_from_db()
    assert run.status == Status.INTERRUPTED


def test_a_run_that_was_claimed_but_never_begun_becomes_interrupted(checkout: Checkout) -> None:
    run = running_run()
    settle()
    run.refresh_from_db()
    assert run.status == Status.INTERRUPTED


def test_what_a_dead_runner_had_started_is_ended(checkout: Checkout) -> None:
    orphan = subprocess.Popen(["/bin/sleep", "600"], start_new_session=True)
    journal = journal_of(running_run())
    journal.event("step_started", step=0, name="migrations", argv=[])
    journal.event("child", step=0, process=orphan.pid, process_start=start_time(orphan.pid))
    settle()
    assert orphan.wait(timeout=10) < 0


def test_the_waiting_run_starts_once_the_dead_one_is_settled(
    checkout: Checkout, spawned: list[Plan]
) -> None:
    dead = running_run()
    waiting, _ = ask()
    settle()
    dead.refresh_from_db()
    waiting.refresh_from_db()
    assert (dead.status, waiting.status) == (Status.INTERRUPTED, Status.RUNNING)
    assert [plan.run for plan in spawned] == [str(waiting.pk)]


def test_runs_of_another_machine_are_not_touched(checkout: Checkout, spawned: list[Plan]) -> None:
    run = running_run(node="another-machine")
    Run.objects.create(node="another-machine", trigger=Trigger.API)
    assert settle() == 0
    run.refresh_from_db()
    assert run.status == Status.RUNNING
    assert spawned == []


def test_the_steps_of_a_living_run_come_from_its_journal(held: Lock) -> None:
    run = running_run()
    journal_of(run).event("step_started", step=0, name="fetch", argv=[])
    steps = run.steps_of(launcher.progress_now(run))
    assert [(step.name, step.status) for step in steps] == [("fetch", "running")]
    assert not StepRun.objects.exists()


def test_the_journal_and_the_lock_of_a_run_can_be_found(checkout: Checkout) -> None:
    run = Run(node="here")
    journal, lock = launcher.files_of(run)
    assert journal.parent.name == str(run.pk)
    assert lock.name == "lock"


ASK_SEVERAL_TIMES = """
import sys, django
django.setup()
from admin_management.conf import AdminManagementSettings
from admin_management.machine import node
from admin_management.launcher import Requester, request_update
from admin_management.models import Trigger
sys.stdin.read()  # all processes begin together, when the parent closes their input
for number in range(7):
    key, _ = request_update(trigger=Trigger.API, requester=Requester(name=f"{number}"))
    print(key)
"""

PREPARE = """
import django
from django.core.management import call_command
django.setup()
call_command("migrate", verbosity=0)
from admin_management.machine import node
from admin_management.models import Run, Trigger
Run.objects.create(node=node(), trigger=Trigger.API, status="running")
"""

COUNT = """
import django
django.setup()
from admin_management.models import AuditEvent, Run
print(sorted(Run.objects.values_list("status", flat=True)))
print(list(AuditEvent.objects.values_list("seq", flat=True)) == list(range(1, 57)))
"""


def test_56_requests_from_8_processes_make_one_waiting_run(tmp_path: Path, held: Lock) -> None:
    """On a database file of its own (or PostgreSQL, when the suite runs there)."""
    environ = os.environ | {
        "DJANGO_SETTINGS_MODULE": "tests.settings_of_a_checkout",
        "TEST_CHECKOUT": str(AdminManagementSettings.load().checkout),
        "TEST_SQLITE_FILE": str(tmp_path / "db.sqlite3"),
    }

    def start(script: str) -> subprocess.Popen[str]:
        argv = [sys.executable, "-W", "error", "-c", script]
        return subprocess.Popen(
            argv, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    prepared = start(PREPARE)
    prepared.communicate()
    assert prepared.returncode == 0
    processes = [start(ASK_SEVERAL_TIMES) for _ in range(8)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
    answers = [process.communicate()[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0] * 8
    assert len({run for answer in answers for run in answer}) == 1
    counted, _ = start(COUNT).communicate()
    assert counted.splitlines() == ["['queued', 'running']", "True"]


def test_a_checkout_of_another_user_fails_the_run_with_a_sentence(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("admin_management.launcher.os.geteuid", lambda: 12345)
    run, _ = ask()
    start_next()
    run.refresh_from_db()
    assert run.status == Status.FAILED
    assert "and this is run by 12345. Do it as that user" in run.message


def test_a_reason_is_kept_as_every_database_can_keep_it(checkout: Checkout) -> None:
    run, _ = ask(reason="a\0b\udcff" + "x" * 600)
    run.refresh_from_db()
    assert run.reason.startswith("a\N{REPLACEMENT CHARACTER}b?xxx")
    assert len(run.reason) == 500


def test_a_wish_that_came_just_before_the_claim_is_in_the_plan(
    checkout: Checkout, spawned: list[Plan]
) -> None:
    run, _ = ask()
    Run.objects.filter(pk=run.pk).update(force=True)
    assert run.claim()
    assert run.force


def test_the_files_of_old_runs_are_deleted(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher, "KEPT_RUNS", 1)
    state = state_of_settings()
    old = Run.objects.create(node=node(), trigger="api", status=Status.FAILED)
    state.run(str(old.pk)).mkdir()
    os.utime(state.run(str(old.pk)), (0, 0))
    run = running_run()
    journal = journal_of(run)
    journal.event("started")
    journal.event("finished", status="succeeded", message="Updated")
    journal.close()
    settle()
    assert not state.run(str(old.pk)).exists()
    assert state.run(str(run.pk)).exists()
