"""Cancelling: what waits ends at once, what goes on puts everything back, what is proved stays."""

import io
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client

from admin_management import launcher
from admin_management.cancelling import cancel_update
from admin_management.exceptions import ConflictError
from admin_management.launcher import Requester, progress_now, request_update, settle, start_next
from admin_management.machine import node
from admin_management.models import AuditEvent, Run, Trigger
from admin_management.runner.plan import Plan, Step
from admin_management.runner.process import start_time
from tests.conftest import Checkout
from tests.runner.awaiting import PATIENCE, Pipe
from tests.runner.served import ServedSite, whole

from .conftest import LiveRun

pytestmark = pytest.mark.django_db

ALICE = Requester(name="alice", address="192.0.2.7")


def waiting_run(**facts: Any) -> Run:
    return Run.objects.create(**{"node": node(), "trigger": Trigger.WEBHOOK} | facts)


def told() -> list[tuple[str, str]]:
    events = [json.loads(event.text) for event in AuditEvent.objects.all()]
    return [(event["kind"], event["actor"]) for event in events]


@pytest.fixture
def runner(live_run: LiveRun) -> Iterator[subprocess.Popen[bytes]]:
    """A process that the journal of ``live_run`` says is its runner."""
    with subprocess.Popen(["/bin/sleep", "600"]) as process:
        tell_runner(live_run, process.pid)
        yield process
        process.kill()


def tell_runner(live_run: LiveRun, pid: int) -> None:
    live_run.journal.event("started", pid=pid, process_start=start_time(pid))


class TestAWaitingRun:
    def test_ends_at_once_and_says_by_whom_and_why(self) -> None:
        run = waiting_run(actor_name="octocat")
        cancel_update(run, requester=ALICE, reason="wrong branch.\n")
        run.refresh_from_db()
        assert (run.status, run.message) == ("cancelled", "Cancelled by alice: wrong branch.")
        assert run.finished_at is not None
        assert told() == [("cancel_requested", "alice"), ("finished", "octocat")]
        assert json.loads(AuditEvent.objects.all()[0].text)["facts"]["address"] == "192.0.2.7"

    def test_makes_room_for_the_next_one(self) -> None:
        cancel_update(waiting_run(), requester=ALICE)
        assert waiting_run().status == "queued"

    def test_can_be_cancelled_from_any_machine(self) -> None:
        run = waiting_run(node="another machine")
        cancel_update(run, requester=ALICE)
        assert run.message == "Cancelled by alice."

    def test_is_cancelled_once(self) -> None:
        run = waiting_run()
        cancel_update(run, requester=ALICE)
        with pytest.raises(ConflictError, match="ended already: cancelled"):
            cancel_update(run, requester=Requester(name="bob"))
        assert run.message == "Cancelled by alice."


class TestARunThatGoesOn:
    def test_is_told_who_cancels_it_and_then_to_stop(
        self, live_run: LiveRun, runner: subprocess.Popen[bytes]
    ) -> None:
        cancel_update(live_run.run, requester=ALICE, reason="wrong\r\n\tbranch\x1b[31m...")
        assert runner.wait(timeout=PATIENCE) < 0
        word = live_run.folder / "cancel"
        assert word.read_text() == "by alice: wrong branch [31m"
        assert word.stat().st_mode & 0o777 == 0o600
        assert told() == [("cancel_requested", "alice")]
        live_run.run.refresh_from_db()
        assert live_run.run.status == "running"

    def test_is_cancelled_by_the_first_who_does(
        self, live_run: LiveRun, runner: subprocess.Popen[bytes]
    ) -> None:
        cancel_update(live_run.run, requester=ALICE)
        cancel_update(live_run.run, requester=Requester(name="bob"))
        assert (live_run.folder / "cancel").read_text() == "by alice"

    def test_is_left_alone_when_it_has_ended_but_is_not_settled(
        self, live_run: LiveRun, runner: subprocess.Popen[bytes]
    ) -> None:
        live_run.finish()
        with pytest.raises(ConflictError, match="ended already: succeeded"):
            cancel_update(live_run.run, requester=ALICE)
        assert runner.poll() is None

    def test_is_left_alone_when_its_new_revision_is_proved(
        self, live_run: LiveRun, runner: subprocess.Popen[bytes]
    ) -> None:
        live_run.journal.event("proved")
        with pytest.raises(ConflictError, match="too late"):
            cancel_update(live_run.run, requester=ALICE)
        assert runner.poll() is None
        assert told() == []

    def test_needs_a_runner_that_is_known(self, live_run: LiveRun) -> None:
        with pytest.raises(ConflictError, match="only just being started"):
            cancel_update(live_run.run, requester=ALICE)

    def test_needs_a_runner_that_lives(
        self, live_run: LiveRun, runner: subprocess.Popen[bytes]
    ) -> None:
        runner.kill()
        runner.wait()
        with pytest.raises(ConflictError, match="runner has died"):
            cancel_update(live_run.run, requester=ALICE)
        assert not (live_run.folder / "cancel").exists()

    def test_does_not_end_another_process_that_got_the_same_number(
        self, live_run: LiveRun, runner: subprocess.Popen[bytes]
    ) -> None:
        earlier = (start_time(runner.pid) or 0) - 1
        live_run.journal.event("started", pid=runner.pid, process_start=earlier)
        with pytest.raises(ConflictError, match="runner has died"):
            cancel_update(live_run.run, requester=ALICE)
        assert runner.poll() is None

    @pytest.mark.parametrize(
        ("error", "said"), [(ProcessLookupError, "this very moment"), (PermissionError, "as that")]
    )
    def test_may_be_out_of_reach(
        self,
        live_run: LiveRun,
        runner: subprocess.Popen[bytes],
        monkeypatch: pytest.MonkeyPatch,
        error: type[OSError],
        said: str,
    ) -> None:
        def fail(*arguments: object) -> None:
            raise error

        monkeypatch.setattr("signal.pidfd_send_signal", fail)
        with pytest.raises(ConflictError, match=said):
            cancel_update(live_run.run, requester=ALICE)

    def test_on_another_machine_is_cancelled_there(self) -> None:
        run = waiting_run(node="another machine", status="running")
        with pytest.raises(ConflictError, match="goes on at another machine"):
            cancel_update(run, requester=ALICE)


class TestARealRunner:
    """From the request to the database, with everything of the runner; a step hangs."""

    @pytest.fixture
    def site(
        self, checkout: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[ServedSite]:
        site = ServedSite(checkout, tmp_path)
        site.prepare()
        monkeypatch.setenv("PM2_HOME", str(site.pm2_home))
        with site.served():
            assert site.update(force=True).status == "succeeded"
            yield site

    @pytest.fixture
    def pipe(self, tmp_path: Path) -> Iterator[Pipe]:
        pipe = Pipe(tmp_path / "pipe")
        yield pipe
        pipe.close()

    def test_puts_back_what_it_has_changed(
        self, site: ServedSite, pipe: Pipe, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def plan(run: Run, *others: object) -> Plan:
            whole = site.plan(run=str(run.pk))
            hang = ("/bin/sh", "-c", f"echo here > {pipe.path}; exec sleep 600")
            step = Step(name="hang", argv=hang, timeout=PATIENCE)
            place = [each.name for each in whole.steps].index("restart")
            return replace(whole, steps=(*whole.steps[:place], step, *whole.steps[place:]))

        monkeypatch.setattr(launcher, "plan_of", plan)
        site.checkout.commit(site.version(2), "Version 2")
        key, _ = request_update(trigger=Trigger.API, requester=ALICE)
        run = Run.objects.get(pk=key)
        start_next()
        assert pipe.line() == "here"
        assert site.on_disk() == whole(2)
        cancel_update(run, requester=ALICE, reason="wrong branch")
        wait_until(lambda: progress_now(run).status.is_final)
        settle()
        run.refresh_from_db()
        assert (run.status, run.failed_step) == ("cancelled", "hang")
        assert run.message.startswith("Cancelled by alice: wrong branch. The site is back at ")
        assert site.on_disk() == whole(1)
        assert site.answer()["version"] == "1"


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.usefixtures("no_runner")
class TestTheDoors:
    @pytest.fixture
    def staff(self, client: Client, alice: User, checkout: Checkout) -> Client:
        client.force_login(alice)
        return client

    def post(self, client: Client, run: Run, body: object = None) -> Any:
        data = json.dumps(body or {})
        address = f"/admin/update/{run.pk}/cancel/"
        return client.post(address, data, content_type="application/json")

    def test_the_api_cancels_what_waits(self, staff: Client) -> None:
        run = waiting_run()
        answer = self.post(staff, run, {"reason": "wrong branch"})
        assert (answer.status_code, answer.json()["status"]) == (202, "cancelled")
        answer = self.post(staff, run)
        assert answer.status_code == 409
        assert answer.json() == {"detail": "It has ended already: cancelled."}

    def test_the_api_cancels_what_goes_on(
        self, staff: Client, live_run: LiveRun, runner: subprocess.Popen[bytes]
    ) -> None:
        answer = self.post(staff, live_run.run)
        assert (answer.status_code, answer.json()["status"]) == (202, "running")
        assert runner.wait(timeout=PATIENCE) < 0

    def test_the_api_is_for_staff(self, client: Client, bob: User) -> None:
        run = waiting_run()
        client.force_login(bob)
        assert self.post(client, run).status_code == 403
        assert client.get(f"/admin/update/{run.pk}/cancel/").status_code == 403
        assert told() == [("refused", "bob")]

    def test_the_dashboard_has_a_button_that_needs_no_script(self, staff: Client) -> None:
        run = waiting_run()
        shown = staff.get("/admin/dashboard/").content.decode()
        address = f"/admin/dashboard/{run.pk}/cancel/"
        assert f'action="{address}"' in shown
        answer = staff.post(address, {"reason": "wrong branch"})
        assert answer.headers["Location"] == run.get_absolute_url()
        assert (
            "Cancelled by alice: wrong branch."
            in staff.get(run.get_absolute_url()).content.decode()
        )
        assert "has ended already" in staff.post(address, follow=True).content.decode()

    def test_the_dashboard_cancels_in_spite_of_too_long_a_reason(self, staff: Client) -> None:
        run = waiting_run()
        staff.post(f"/admin/dashboard/{run.pk}/cancel/", {"reason": "x" * 501})
        run.refresh_from_db()
        assert run.message == "Cancelled by alice."

    def test_the_command_cancels_what_waits_or_what_is_named(self, checkout: Checkout) -> None:
        with pytest.raises(CommandError, match="No update goes on, and none waits"):
            call_command("cancel_update")
        for words in ((), ("NAMED",)):
            run = waiting_run()
            named = [run.short_id if word == "NAMED" else word for word in words]
            output = io.StringIO()
            call_command("cancel_update", *named, "--reason", "wrong", stdout=output)
            run.refresh_from_db()
            assert output.getvalue() == f"Update {run.pk} is cancelled\n"
            assert run.message.endswith(": wrong.")
        with pytest.raises(CommandError, match="ended already"):
            call_command("cancel_update", str(run.pk))
        with pytest.raises(CommandError, match="not exactly one"):
            call_command("cancel_update", "no-such-run")

    def test_the_command_says_that_a_running_one_needs_a_moment(
        self, live_run: LiveRun, runner: subprocess.Popen[bytes]
    ) -> None:
        output = io.StringIO()
        call_command("cancel_update", stdout=output)
        assert "is being cancelled: what it has changed is put back" in output.getvalue()
        assert runner.wait(timeout=PATIENCE) < 0
