"""Updates are held: nothing starts, everything waits, and who, why and until when is told."""

import io
import json
import re
from argparse import ArgumentTypeError
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction
from django.test import Client
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from admin_management.exceptions import ConflictError, ReasonMissingError
from admin_management.launcher import (
    Requester,
    hold_updates,
    release_updates,
    request_update,
    settle,
    start_next,
)
from admin_management.machine import node
from admin_management.management.commands.hold_updates import duration
from admin_management.models import AuditEvent, Hold, HoldManager, Run, Trigger
from admin_management.runner.plan import Plan
from admin_management.serializers import LATEST
from admin_management.status import read_status
from admin_management.summary import summary
from tests.conftest import Checkout

pytestmark = pytest.mark.django_db

ALICE = Requester(name="alice")
HOLD = "/admin/hold/"
DASHBOARD = "/admin/dashboard/"


@pytest.fixture
def staff(client: Client, alice: User, checkout: Checkout) -> Client:
    client.force_login(alice)
    return client


@pytest.fixture
def commit(django_capture_on_commit_callbacks: Any) -> Any:
    """What happens inside is committed after it."""
    return lambda: django_capture_on_commit_callbacks(execute=True)


def ask(**facts: Any) -> Run:
    who: dict[str, Any] = {"trigger": Trigger.COMMAND, "requester": ALICE}
    return Run.objects.get(pk=request_update(**who | facts)[0])


def hold(**facts: Any) -> Hold:
    who: dict[str, Any] = {"requester": ALICE, "reason": "exams"}
    return hold_updates(**who | facts)


def expire(hold: Hold) -> None:
    Hold.objects.filter(pk=hold.pk).update(expires_at=timezone.now() - timedelta(seconds=1))


def post(client: Client, path: str, body: object) -> Any:
    return client.post(path, json.dumps(body), content_type="application/json")


def told() -> list[tuple[str, str, dict[str, Any]]]:
    events = [json.loads(event.text) for event in AuditEvent.objects.all()]
    return [(event["kind"], event["actor"], event["facts"]) for event in events]


class TestWhatWaits:
    @pytest.mark.parametrize("trigger", list(Trigger))
    def test_is_whatever_is_asked_for(
        self, trigger: Trigger, checkout: Checkout, spawned: list[Plan], commit: Any
    ) -> None:
        hold()
        with commit():
            run = ask(trigger=trigger)
        run.refresh_from_db()
        assert (run.status, spawned) == ("queued", [])
        assert str(run.hold) == "Updates are held by alice: exams"

    def test_is_remembered_as_held(self) -> None:
        held = hold()
        ask()
        assert told()[1][2]["hold"] == held.pk

    def test_starts_when_it_is_released(
        self, checkout: Checkout, spawned: list[Plan], commit: Any
    ) -> None:
        hold()
        run = ask()
        with commit():
            release_updates(requester=Requester(name="bob"))
        assert [plan.run for plan in spawned] == [str(run.pk)]

    def test_starts_when_the_hold_has_expired_and_somebody_settles(
        self, checkout: Checkout, spawned: list[Plan]
    ) -> None:
        held = hold(expires_at=timezone.now() + timedelta(hours=1))
        run = ask()
        settle()
        assert spawned == []
        expire(held)
        settle()
        assert [plan.run for plan in spawned] == [str(run.pk)]
        held.refresh_from_db()
        assert (held.released_at is not None, held.released_by) == (True, "")
        assert [(kind, actor) for kind, actor, _ in told()] == [
            ("held", "alice"),
            ("requested", "alice"),
            ("released", ""),
        ]

    def test_waits_on_its_own_machine_only(self, checkout: Checkout, spawned: list[Plan]) -> None:
        Hold.objects.create(node="another machine", reason="exams")
        run = ask()
        start_next()
        assert [plan.run for plan in spawned] == [str(run.pk)]

    def test_is_not_what_runs_already(self) -> None:
        run = Run.objects.create(node=node(), trigger=Trigger.API, status="running")
        hold()
        assert run.hold is None


class TestAHold:
    def test_is_told_with_who_why_and_until_when(self, alice: User) -> None:
        until = timezone.now().replace(year=2100, month=1, day=2, hour=3, minute=4)
        requester = Requester(name="alice", user_id=alice.pk, address="192.0.2.7")
        held = hold(requester=requester, expires_at=until)
        assert str(held) == "Updates are held by alice until 2100-01-02 03:04 UTC: exams"
        assert held.actor == alice
        ((kind, actor, facts),) = told()
        assert (kind, actor) == ("held", "alice")
        assert (facts["reason"], facts["address"]) == ("exams", "192.0.2.7")
        assert facts["expires_at"] == until.isoformat()

    def test_is_the_only_one_of_its_machine(self) -> None:
        hold()
        with pytest.raises(ConflictError, match="Updates are held by alice: exams"):
            hold(reason="another")
        with pytest.raises(IntegrityError), transaction.atomic():
            Hold.objects.create(node=node(), reason="another")
        Hold.objects.create(node="another machine", reason="exams")
        assert Hold.objects.filter(node=node()).count() == 1

    def test_that_was_released_in_the_meantime_is_said(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hold()
        monkeypatch.setattr(HoldManager, "in_force", lambda self: None)
        with pytest.raises(ConflictError, match="try again"):
            hold()

    def test_can_follow_one_that_has_expired(self) -> None:
        expire(hold())
        assert Hold.objects.in_force() is None
        assert hold(reason="again") == Hold.objects.in_force()

    def test_is_released_once(self) -> None:
        held = hold()
        assert held.release("bob")
        assert not held.release("carol")
        assert [kind for kind, _, _ in told()] == ["held", "released"]
        with pytest.raises(ConflictError, match="not held"):
            release_updates(requester=ALICE)

    def test_is_part_of_the_status(self, checkout: Checkout) -> None:
        assert read_status()["hold"] is None
        hold()
        status = read_status()
        assert (status["hold"]["actor"], status["hold"]["reason"]) == ("alice", "exams")
        assert "held      by alice: exams\n" in summary(status)


class TestTheGlass:
    def test_is_broken_with_a_reason_and_on_the_record(
        self, checkout: Checkout, spawned: list[Plan], commit: Any
    ) -> None:
        held = hold()
        with commit():
            run = ask(override_hold=True, reason="the site is down")
        assert [plan.run for plan in spawned] == [str(run.pk)]
        kind, actor, facts = told()[-1]
        assert (kind, actor) == ("hold_overridden", "alice")
        assert (facts["hold"], facts["run"]) == (held.pk, str(run.pk))
        assert facts["reason"] == "the site is down"
        assert Hold.objects.in_force() == held

    def test_is_broken_for_the_run_that_waits_already(
        self, checkout: Checkout, spawned: list[Plan], commit: Any
    ) -> None:
        hold()
        waiting = ask()
        with commit():
            ask(override_hold=True, reason="the site is down")
        assert [plan.run for plan in spawned] == [str(waiting.pk)]

    def test_is_not_broken_without_a_reason(self) -> None:
        with pytest.raises(ReasonMissingError):
            ask(override_hold=True, reason="  ")
        assert not Run.objects.exists()

    def test_need_not_be_broken_when_nothing_is_held(self) -> None:
        ask(override_hold=True, reason="to be sure")
        assert [kind for kind, _, _ in told()] == ["requested"]


@pytest.mark.usefixtures("no_runner")
class TestTheApi:
    def test_holds_shows_and_releases(self, staff: Client) -> None:
        answer = post(staff, HOLD, {"reason": "exams", "expires_at": "2100-01-01T00:00:00Z"})
        assert answer.status_code == 201
        shown = answer.json()
        assert (shown["actor"], shown["reason"]) == ("alice", "exams")
        assert shown["expires_at"] == "2100-01-01T00:00:00Z"
        assert staff.get(HOLD).json() == shown
        assert post(staff, "/admin/update/", {}).json()["hold"] == shown
        assert staff.get("/admin/status/").json()["hold"] == shown
        assert staff.delete(HOLD).status_code == 204
        for answer in (staff.get(HOLD), staff.delete(HOLD)):
            assert answer.status_code == 404
            assert answer.json() == {"detail": "Updates are not held."}

    def test_says_who_holds_them_already(self, staff: Client) -> None:
        hold(requester=Requester(name="bob"))
        answer = post(staff, HOLD, {"reason": "mine"})
        assert answer.status_code == 409
        assert answer.json() == {"detail": "Updates are held by bob: exams"}

    @pytest.mark.parametrize(
        ("body", "name"),
        [
            ({}, "reason"),
            ({"reason": " "}, "reason"),
            ({"reason": "x" * 501}, "reason"),
            ({"reason": "x", "expires_at": "2001-01-01T00:00:00Z"}, "expires_at"),
            ({"reason": "x", "expires_at": "9999-12-31T23:59:59Z"}, "expires_at"),
            ({"reason": "x", "expires_at": "tomorrow"}, "expires_at"),
            ({"reason": "x", "hours": 2}, "hours"),
        ],
    )
    def test_names_what_is_wrong(self, staff: Client, body: object, name: str) -> None:
        answer = post(staff, HOLD, body)
        assert (answer.status_code, list(answer.json())) == (400, [name])
        assert not Hold.objects.exists()

    def test_can_be_shown_in_each_time_zone_until_its_latest_end(
        self, staff: Client, settings: Any
    ) -> None:
        settings.TIME_ZONE = "Pacific/Kiritimati"
        answer = post(staff, HOLD, {"reason": "exams", "expires_at": LATEST.isoformat()})
        assert answer.status_code == 201
        assert staff.get("/admin/dashboard/").status_code == 200

    def test_is_for_staff(self, client: Client, bob: User) -> None:
        hold()
        client.force_login(bob)
        for answer in (client.get(HOLD), post(client, HOLD, {}), client.delete(HOLD)):
            assert answer.status_code == 403
        assert [kind for kind, _, _ in told()] == ["held", "refused"]

    def test_is_not_for_the_pages_of_other_sites(self, staff: Client) -> None:
        hold()
        assert staff.delete(HOLD, headers={"Origin": "https://evil.example"}).status_code == 403
        assert Hold.objects.in_force()

    def test_overrides_a_hold_for_a_reason(self, staff: Client) -> None:
        answer = post(staff, "/admin/update/", {"override_hold": True})
        assert (answer.status_code, list(answer.json())) == (400, ["reason"])
        answer = post(staff, "/admin/update/", {"override_hold": True, "reason": "down"})
        assert answer.status_code == 202
        assert (answer.json()["override_hold"], answer.json()["hold"]) == (True, None)


@pytest.mark.usefixtures("no_runner")
class TestTheDashboard:
    @pytest.fixture
    def page(self, staff: Client) -> Callable[[], str]:
        def page() -> str:
            return staff.get(DASHBOARD).content.decode()

        return page

    def test_has_a_form_and_then_a_banner_with_a_button(self, staff: Client, page: Any) -> None:
        assert "Hold updates" in page()
        answer = staff.post(f"{DASHBOARD}hold/", {"reason": "<exams>", "hours": "4"})
        assert answer.headers["Location"] == DASHBOARD
        held = Hold.objects.get()
        assert held.expires_at is not None
        assert held.expires_at - held.held_at == pytest.approx(
            timedelta(hours=4), abs=timedelta(minutes=1)
        )
        shown = page()
        assert "Updates are held by alice:</strong> &lt;exams&gt;" in shown
        assert "Hold updates" not in shown
        assert "start although updates are held" in shown
        staff.post(f"{DASHBOARD}release/")
        held.refresh_from_db()
        assert held.released_by == "alice"
        assert "Updates are held" not in page()

    def test_holds_until_somebody_releases(self, staff: Client, page: Any) -> None:
        staff.post(f"{DASHBOARD}hold/", {"reason": "exams", "hours": ""})
        assert Hold.objects.get().expires_at is None
        assert "until somebody releases them" in page()

    def test_tells_what_waits_that_it_is_held(self, staff: Client, page: Any) -> None:
        hold()
        staff.post(DASHBOARD)
        assert "It begins when updates are released: Updates are held by alice" in page()

    def test_says_what_is_not_possible(self, staff: Client) -> None:
        for path, data, said in (
            ("hold/", {"reason": ""}, "Say why updates are held"),
            ("release/", {}, "Updates are not held."),
        ):
            answer = staff.post(f"{DASHBOARD}{path}", data, follow=True)
            assert said in answer.content.decode()

    def test_overrides_a_hold_for_a_reason(self, staff: Client) -> None:
        answer = staff.post(DASHBOARD, {"override_hold": "on"})
        assert answer.status_code == 400
        assert "Say why" in answer.content.decode()
        staff.post(DASHBOARD, {"override_hold": "on", "reason": "down"})
        run = Run.objects.get()
        assert run.override_hold
        assert "overridden" in staff.get(run.get_absolute_url()).content.decode()

    def test_changes_nothing_by_a_link(self, staff: Client) -> None:
        assert staff.get(f"{DASHBOARD}hold/").status_code == 405
        assert staff.get(f"{DASHBOARD}release/").status_code == 405


@pytest.mark.usefixtures("no_runner")
class TestTheCommands:
    def run(self, *argv: str) -> str:
        output = io.StringIO()
        call_command(*argv, stdout=output)
        return output.getvalue()

    @pytest.mark.parametrize(
        ("words", "expected"),
        [
            ((), None),
            (("--for", "30m"), timedelta(minutes=30)),
            (("--for", "2h"), timedelta(hours=2)),
            (("--for", "7d"), timedelta(days=7)),
        ],
    )
    def test_hold_and_release(self, words: tuple[str, ...], expected: timedelta | None) -> None:
        said = self.run("hold_updates", "--reason", "exams", *words)
        held = Hold.objects.get()
        assert said == f"{held}\n"
        length = held.expires_at and held.expires_at - held.held_at
        assert length == (expected and pytest.approx(expected, abs=timedelta(minutes=1)))
        assert self.run("release_updates").startswith("Updates go on.")
        held.refresh_from_db()
        assert held.released_by == held.actor_name != ""

    @pytest.mark.parametrize("word", ["2", "h", "0h", "2 weeks", "-1h", "999999d"])
    def test_know_a_time_when_they_see_one(self, word: str) -> None:
        with pytest.raises(CommandError, match="not a time like 30m"):
            self.run("hold_updates", "--reason", "exams", f"--for={word}")

    def test_fail_when_there_is_nothing_to_do(self) -> None:
        with pytest.raises(CommandError, match="not held"):
            self.run("release_updates")
        self.run("hold_updates", "--reason", "exams")
        with pytest.raises(CommandError, match="Updates are held by"):
            self.run("hold_updates", "--reason", "exams")

    def test_update_server_says_that_it_is_held(self) -> None:
        hold()
        assert "Updates are held by alice: exams. It starts when" in self.run("update_server")
        with pytest.raises(CommandError, match="not waited for"):
            self.run("update_server", "--wait")

    def test_update_server_overrides_a_hold_for_a_reason(self) -> None:
        with pytest.raises(CommandError, match="Say why"):
            self.run("update_server", "--override-hold")
        self.run("update_server", "--override-hold", "--reason", "down")
        assert Run.objects.get().override_hold


@given(st.integers(1, 99_999), st.sampled_from(["minutes", "hours", "days"]))
def test_a_time_on_the_command_line_is_as_long_as_it_says(number: int, unit: str) -> None:
    assert duration(f"{number}{unit[0]}") == timedelta(**{unit: number})


@given(st.text() | st.from_regex(r"[0-9]\d{0,6}[mhds]", fullmatch=True))
def test_any_other_text_is_no_time(text: str) -> None:
    if re.fullmatch("[1-9][0-9]{0,4}[mhd]", text):
        assert timedelta(0) < duration(text) <= timedelta(days=99_999)
    else:
        with pytest.raises(ArgumentTypeError, match="30m, 2h or 7d"):
            duration(text)
