"""Polling: a push that nobody told of is live soon, and what failed is not tried for ever."""

import io
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from admin_management.launcher import start_next
from admin_management.machine import node
from admin_management.models import Hold, Run, Trigger
from admin_management.polling import RemoteError, poll
from admin_management.runner.plan import Plan
from admin_management.runner.state import StateDirectory
from tests.conftest import Checkout

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_runner")]


def ended(status: str, to_revision: str, minutes_ago: int = 5, **facts: Any) -> Run:
    usual = {"node": node(), "trigger": Trigger.WEBHOOK, "status": status}
    finished_at = timezone.now() - timedelta(minutes=minutes_ago)
    return Run.objects.create(
        **usual | {"to_revision": to_revision, "finished_at": finished_at} | facts
    )


def polled() -> Run | None:
    return Run.objects.queued().filter(trigger="poll").first()


@pytest.fixture
def tip(checkout: Checkout) -> str:
    """A commit that the remote has, and the checkout does not know."""
    return checkout.commit({"version.txt": "2\n"})


class TestAsks:
    def test_when_the_tip_is_not_live(self, tip: str) -> None:
        said = poll()
        run = polled()
        assert run is not None
        assert said == f"{tip[:7]} is not live: update {run.pk} requested."
        assert (run.actor_name, run.to_revision) == ("poll", tip)
        assert run.reason == f"{tip[:7]} is not live"

    def test_when_the_tip_was_live_and_a_person_went_back(
        self, checkout: Checkout, tip: str
    ) -> None:
        ended("succeeded", tip)
        poll()
        assert polled()

    def test_after_the_last_run_failed_for_another_tip(self, tip: str) -> None:
        ended("failed", "a" * 40)
        ended("failed", "")
        poll()
        assert polled()

    @pytest.mark.parametrize("before", ["", "failed", "interrupted"])
    def test_once_more_after_an_interrupted_run(self, tip: str, before: str) -> None:
        if before:
            ended(before, "a" * 40, 9)
        ended("interrupted", tip)
        poll()
        assert polled()

    def test_without_regard_to_other_machines(self, tip: str) -> None:
        ended("failed", tip, node="another machine")
        Run.objects.create(node="another machine", trigger="api")
        Hold.objects.create(node="another machine", reason="exams")
        poll()
        assert polled()


class TestDoesNotAsk:
    def test_when_the_tip_is_live(self, checkout: Checkout) -> None:
        assert poll() == f"{checkout.revision()[:7]} is live."

    def test_when_the_tip_was_put_live_though_the_disk_says_otherwise(
        self, checkout: Checkout, tip: str
    ) -> None:
        state = StateDirectory.of(checkout.path)
        state.create()
        state.set_live_revision(tip)
        assert poll() == f"{tip[:7]} is live."

    @pytest.mark.parametrize("status", ["queued", "running"])
    def test_while_an_update_is_pending(self, tip: str, status: str) -> None:
        Run.objects.create(node=node(), trigger="api", status=status)
        assert f"is {status}: it looks at the remote itself" in poll()
        assert polled() is None

    def test_while_updates_are_held(self, tip: str) -> None:
        Hold.objects.place(reason="exams", actor_name="alice")
        assert poll() == "Updates are held by alice: exams"

    def test_for_what_was_rolled_back(self, checkout: Checkout, tip: str) -> None:
        state = StateDirectory.of(checkout.path)
        state.create()
        state.quarantine(tip, "0f7c2a54-0000-4000-8000-000000000000")
        assert "was rolled back by the update 0f7c2a54: waiting for a correction" in poll()

    @pytest.mark.parametrize("status", ["failed", "rolled_back", "rollback_failed", "cancelled"])
    def test_for_what_did_not_get_through(self, tip: str, status: str) -> None:
        ended("succeeded", tip, 9)
        run = ended(status, tip)
        assert f"Its update {run.short_id} ended as {status.replace('_', ' ')}" in poll()
        assert polled() is None

    @pytest.mark.parametrize("known", [True, False])
    def test_a_second_time_after_interrupted_runs(self, tip: str, known: bool) -> None:
        ended("interrupted", tip if known else "", 9)
        ended("interrupted", tip)
        assert "interrupted: it is not asked for again by itself" in poll()
        assert polled() is None

    def test_for_what_it_has_asked_for_when_that_failed_before_it_looked(
        self, checkout: Checkout, tip: str
    ) -> None:
        poll()
        run = polled()
        assert run is not None
        Run.objects.filter(pk=run.pk).update(status="failed", finished_at=timezone.now())
        assert "ended as failed" in poll()


class TestCannotAsk:
    def test_a_remote_that_is_not_there(self, checkout: Checkout) -> None:
        checkout.git("remote", "set-url", "origin", str(checkout.origin / "gone"))
        with pytest.raises(RemoteError, match="does not appear to be a git repository"):
            poll()

    def test_a_remote_whose_address_holds_a_password(self, checkout: Checkout) -> None:
        checkout.git("remote", "set-url", "origin", "https://user:secret-word@127.0.0.1:1/x.git")
        with pytest.raises(RemoteError, match="holds a password or token") as raised:
            poll()
        assert "secret-word" not in str(raised.value)

    def test_a_branch_that_is_not_there(self, checkout: Checkout, settings: Any) -> None:
        settings.ADMIN_MANAGEMENT = {"CHECKOUT": checkout.path, "BRANCH": "release"}
        with pytest.raises(RemoteError, match=r"origin has no branch release\."):
            poll()

    def test_with_wrong_settings(self, settings: Any) -> None:
        settings.ADMIN_MANAGEMENT = {"CHEKOUT": "/srv/site"}
        with pytest.raises(RemoteError, match="unknown key"):
            poll()

    def test_without_a_checkout(self, tmp_path: Any, settings: Any) -> None:
        settings.ADMIN_MANAGEMENT = {"CHECKOUT": tmp_path}
        with pytest.raises(RemoteError, match="not inside a git work tree"):
            poll()


class TestTheCommands:
    def run(self, *argv: str) -> tuple[str, str]:
        output, errors = io.StringIO(), io.StringIO()
        call_command(*argv, stdout=output, stderr=errors)
        return output.getvalue(), errors.getvalue()

    def test_poll_remote_says_in_one_line_what_it_did(self, tip: str) -> None:
        assert self.run("poll_remote")[0].endswith(" requested.\n")
        said, _ = self.run("poll_remote")
        assert "it looks at the remote itself" in said
        assert said.count("\n") == 1

    def test_poll_remote_fails_when_the_remote_cannot_be_asked(self, checkout: Checkout) -> None:
        checkout.origin.rename(checkout.origin.with_name("gone"))
        with pytest.raises(CommandError, match="The remote could not be asked"):
            self.run("poll_remote")

    def test_settle_runs_polls_when_it_is_told_to(self, tip: str) -> None:
        assert self.run("settle_runs")[0] == "0 runs settled\n"
        assert polled() is None
        assert " requested.\n" in self.run("settle_runs", "--poll")[0]

    def test_settle_runs_does_not_try_again_what_was_interrupted(self, tip: str) -> None:
        ended("interrupted", tip)
        assert "not asked for again" in self.run("settle_runs", "--poll")[0]
        assert polled() is None

    def test_settle_runs_settles_though_the_remote_cannot_be_asked(
        self, checkout: Checkout
    ) -> None:
        checkout.origin.rename(checkout.origin.with_name("gone"))
        said, errors = self.run("settle_runs", "--poll")
        assert said == "0 runs settled\n"
        assert "The remote could not be asked" in errors


def test_the_last_act_of_a_runner_polls(
    checkout: Checkout, spawned: list[Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    Run.objects.create(node=node(), trigger="api")
    start_next()
    (plan,) = spawned
    assert plan.settle[1:] == ("manage.py", "settle_runs", "--poll")
