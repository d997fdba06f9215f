"""The API as a client meets it."""

import json
from base64 import b64encode
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client, modify_settings
from django.urls import resolve
from django.utils import timezone

from admin_management import asking
from admin_management.audit import Kind
from admin_management.machine import node
from admin_management.models import AuditEvent, Run
from admin_management.rest import LARGEST_BODY
from admin_management.runner.status import Status
from tests.conftest import Checkout

from .conftest import LiveRun

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_runner")]

UPDATE = "/admin/update/"


@pytest.fixture
def staff(client: Client, alice: User) -> Client:
    client.force_login(alice)
    return client


def post(client: Client, body: object = None, **headers: str) -> Any:
    data = body if isinstance(body, bytes | str) else "" if body is None else json.dumps(body)
    return client.post(UPDATE, data, content_type="application/json", headers=headers)


class TestAskingForAnUpdate:
    def test_it_is_accepted_with_the_run_and_where_to_follow_it(self, staff: Client) -> None:
        answer = post(staff, {"reason": "new logo", "force": True}, Accept="application/json")
        run = Run.objects.get()
        assert answer.status_code == 202
        assert answer.headers["Location"] == f"/admin/update/{run.pk}/"
        told = answer.json()
        assert (told["id"], told["status"], told["coalesced"]) == (str(run.pk), "queued", False)
        assert (run.trigger, run.reason, run.force) == ("api", "new logo", True)
        assert (run.actor_name, run.address) == ("alice", "127.0.0.1")

    def test_the_body_may_be_empty_and_of_no_type(self, staff: Client) -> None:
        assert staff.generic("POST", UPDATE).status_code == 202

    def test_a_second_request_joins_the_first(self, staff: Client) -> None:
        first = post(staff).json()
        second = post(staff).json()
        assert (second["id"], second["coalesced"]) == (first["id"], True)

    @pytest.mark.parametrize(
        "body",
        [
            *("{", "[]", '"text"', "null", "NaN", '{"reason": NaN}', '{"reason": "\\ud800"}'),
            *(b"\xff\xfe{\x00}\x00", b'{"reason": "\xff"}', "[" * 20_000, '{"\\ud800": 1}'),
            "1" * 5000,
        ],
    )
    def test_a_body_that_is_no_json_object_is_a_plain_400(
        self, staff: Client, body: str | bytes
    ) -> None:
        answer = post(staff, body)
        assert answer.status_code == 400
        assert "JSON" in answer.json()["detail"]
        assert not Run.objects.exists()

    def test_an_unknown_field_is_named(self, staff: Client) -> None:
        answer = post(staff, {"forse": True})
        assert answer.status_code == 400
        assert list(answer.json()) == ["forse"]

    def test_a_large_body_is_not_read(self, staff: Client) -> None:
        assert post(staff, "x" * (LARGEST_BODY + 1)).status_code == 413

    @pytest.mark.parametrize("type_of_body", ["text/plain", "application/x-www-form-urlencoded"])
    def test_only_json_is_taken(self, staff: Client, type_of_body: str) -> None:
        answer = staff.post(UPDATE, "reason=x", content_type=type_of_body)
        assert answer.status_code == 415

    def test_other_methods_are_refused(self, staff: Client) -> None:
        assert staff.put(UPDATE).status_code == 405
        assert staff.delete(UPDATE).status_code == 405


class TestDoors:
    PATHS = (UPDATE, "/admin/status/")

    @pytest.mark.parametrize("path", PATHS)
    def test_anonymous_visitors_are_refused(self, client: Client, path: str) -> None:
        assert client.get(path).status_code == 401
        assert client.post(path).status_code == 401
        assert not AuditEvent.objects.exists()

    @pytest.mark.parametrize("path", PATHS)
    def test_users_who_are_not_staff_are_refused(
        self, client: Client, bob: User, path: str
    ) -> None:
        client.force_login(bob)
        assert client.get(path).status_code == 403
        assert client.get(path, headers={"Accept": "text/html"}).status_code == 403
        assert not AuditEvent.objects.exists()

    def test_a_user_who_is_not_staff_and_asks_for_an_update_is_remembered(
        self, client: Client, bob: User
    ) -> None:
        client.force_login(bob)
        assert post(client).status_code == 403
        event = AuditEvent.objects.get()
        assert event.kind == Kind.REFUSED
        assert '"actor":"bob"' in event.text

    def test_a_demoted_member_of_the_staff_is_out_at_once(self, staff: Client, alice: User) -> None:
        User.objects.filter(pk=alice.pk).update(is_staff=False)
        assert post(staff).status_code == 403

    @pytest.mark.parametrize("site", ["cross-site", "same-site"])
    def test_a_page_of_another_site_has_nobody_ask_the_remote(
        self, staff: Client, checkout: Checkout, site: str
    ) -> None:
        checkout.commit({"version.txt": "2\n"})
        headers = {"Sec-Fetch-Site": site}
        assert staff.get("/admin/status/?fetch=1", headers=headers).status_code == 403
        told = staff.get("/admin/status/", headers=headers).json()
        assert (told["fetched"], told["pending"]) == (False, [])
        told = staff.get("/admin/status/?fetch=1", headers={"Sec-Fetch-Site": "none"}).json()
        assert (told["fetched"], len(told["pending"])) == (True, 1)

    @pytest.mark.parametrize("path", PATHS)
    def test_answers_are_not_cached_framed_or_guessed_at(self, staff: Client, path: str) -> None:
        headers = staff.get(path).headers
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]

    @pytest.mark.parametrize("path", [*PATHS, "/admin/dashboard/"])
    def test_no_transaction_of_the_host_is_around_the_request(self, path: str) -> None:
        view: Any = resolve(path).func
        assert view._non_atomic_requests == {transaction.get_connection().alias}


class TestListing:
    @pytest.fixture
    def runs(self) -> list[Run]:
        now = timezone.now()
        return [
            Run.objects.create(
                node=node(),
                trigger="webhook" if age % 2 else "api",
                status=Status.FAILED if age < 3 else Status.SUCCEEDED,
                requested_at=now - timedelta(hours=age),
            )
            for age in range(60)
        ]

    def test_runs_come_in_pages_newest_first(self, staff: Client, runs: list[Run]) -> None:
        first = staff.get(UPDATE).json()
        assert first["previous"] is None
        assert first["next"].startswith("/admin/update/?cursor=")
        second = staff.get(first["next"]).json()
        assert second["next"] is None
        told = [each["id"] for page in (first, second) for each in page["results"]]
        assert told == [str(run.pk) for run in runs]
        assert staff.get(second["previous"]).json()["results"] == first["results"]

    def test_a_page_may_begin_at_any_time_of_any_zone(self, staff: Client, runs: list[Run]) -> None:
        noon = b64encode(b"p=2000-01-01T12:00:00%2B16:00").decode()
        answer = staff.get(UPDATE, {"cursor": noon})
        assert (answer.status_code, answer.json()["results"]) == (200, [])

    def test_they_can_be_filtered(self, staff: Client, runs: list[Run]) -> None:
        since = (timezone.now() - timedelta(hours=1, minutes=30)).isoformat()
        answer = staff.get(UPDATE, {"status": "failed", "trigger": "webhook", "since": since})
        assert [each["id"] for each in answer.json()["results"]] == [str(runs[1].pk)]

    @pytest.mark.parametrize(
        "query",
        [
            {"status": "x"},
            {"trigger": "x"},
            {"since": "x"},
            {"since": ""},
            {"status": ""},
            {"limit": "1"},
            {"cursor": "not base64!"},
            {"cursor": "cD1hYmM="},
            {"cursor": "cD0wMDAxLTAxLTAxVDAwOjAwOjAwKzE0OjAw"},
        ],
    )
    def test_a_wrong_parameter_is_named(self, staff: Client, query: dict[str, str]) -> None:
        answer = staff.get(UPDATE, query)
        assert answer.status_code == 400
        assert list(answer.json()) == list(query)


class TestOneRun:
    def test_a_run_that_goes_on_is_told_from_its_journal(
        self, staff: Client, live_run: LiveRun
    ) -> None:
        live_run.journal.event("revisions", from_revision="a" * 40, to_revision="b" * 40)
        live_run.begin("fetch")
        told = staff.get(f"{UPDATE}{live_run.run.pk}/").json()
        assert (told["status"], told["to_revision"]) == ("running", "b" * 40)
        assert [(step["name"], step["status"]) for step in told["steps"]] == [("fetch", "running")]

    def test_its_log_grows_and_an_offset_stays_valid(
        self, staff: Client, live_run: LiveRun
    ) -> None:
        address = f"{UPDATE}{live_run.run.pk}/log/"
        live_run.begin("fetch")
        live_run.say("€ first\n")
        first = staff.get(address).json()
        assert first == {
            "status": "running",
            "output": "── git fetch\n€ first\n",
            "next": f"{address}?offset=21",
        }
        live_run.say("second\n")
        second = staff.get(first["next"]).json()
        assert second["output"] == "second\n"
        live_run.finish()
        third = staff.get(second["next"]).json()
        assert third["output"].startswith("✓ git fetch succeeded")
        assert (third["status"], third["next"]) == ("succeeded", None)
        whole = staff.get(address).json()["output"]
        assert whole == first["output"] + second["output"] + third["output"]

    def test_a_finished_run_is_told_from_the_database(
        self, staff: Client, live_run: LiveRun
    ) -> None:
        live_run.begin("fetch")
        live_run.finish()
        told = staff.get(f"{UPDATE}{live_run.run.pk}/").json()
        assert told["status"] == "succeeded"
        assert [step["exit_code"] for step in told["steps"]] == [0]
        assert "output" not in told["steps"][0]

    def test_a_long_log_comes_in_pieces(
        self, staff: Client, live_run: LiveRun, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(asking, "LARGEST_PIECE", 100)
        live_run.begin("fetch")
        live_run.say("line\n" * 50)
        live_run.finish()
        address, pieces = f"{UPDATE}{live_run.run.pk}/log/", []
        while address:
            answer = staff.get(address).json()
            pieces.append(answer["output"])
            address = answer["next"]
        assert len(pieces) == 3
        assert "".join(pieces).startswith("── git fetch\nline\n")
        assert "".join(pieces).endswith("\n\n")

    def test_an_offset_beyond_the_end_waits_for_the_log(
        self, staff: Client, live_run: LiveRun
    ) -> None:
        address = f"{UPDATE}{live_run.run.pk}/log/?offset=1000"
        assert staff.get(address).json() == {"status": "running", "output": "", "next": address}

    def test_a_wrong_offset_is_named(self, staff: Client, live_run: LiveRun) -> None:
        answer = staff.get(f"{UPDATE}{live_run.run.pk}/log/?offset=-1")
        assert answer.status_code == 400
        assert list(answer.json()) == ["offset"]

    def test_an_unknown_run_is_not_found(self, staff: Client) -> None:
        address = f"{UPDATE}00000000-0000-4000-8000-000000000000/"
        assert staff.get(address).status_code == 404
        assert staff.get(f"{address}log/").status_code == 404

    def test_a_journal_that_cannot_be_read_leaves_the_rest(
        self, staff: Client, live_run: LiveRun, checkout: Checkout, settings: Any, caplog: Any
    ) -> None:
        settings.ADMIN_MANAGEMENT = {"CHECKOUT": checkout.path.parent}
        told = staff.get(f"{UPDATE}{live_run.run.pk}/").json()
        assert (told["status"], told["steps"]) == ("running", [])
        assert caplog.records[-1].run == str(live_run.run.pk)


class TestSettling:
    @pytest.mark.parametrize("path", [UPDATE, "/admin/status/", "/admin/dashboard/"])
    def test_a_page_settles_what_has_ended(
        self, staff: Client, live_run: LiveRun, path: str
    ) -> None:
        live_run.finish()
        staff.get(path)
        live_run.run.refresh_from_db()
        assert live_run.run.status == Status.SUCCEEDED

    @pytest.mark.parametrize("path", [UPDATE, "/admin/status/", "/admin/dashboard/"])
    def test_a_page_does_not_fail_because_settling_does(
        self,
        staff: Client,
        checkout: Checkout,
        path: str,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        def fail() -> int:
            raise OSError("the disk is full")

        monkeypatch.setattr("admin_management.launcher.settle", fail)
        assert staff.get(path).status_code == 200
        assert "could not be settled" in caplog.text


class TestBrowsablePages:
    HTML = {"Accept": "text/html"}

    def test_a_browser_gets_a_page_with_a_form_that_is_filled_in(self, staff: Client) -> None:
        page = staff.get(UPDATE, headers=self.HTML).content.decode()
        assert "Updates" in page
        assert "&quot;reason&quot;: &quot;&quot;" in page
        assert "<style>" not in page

    def test_a_script_gets_json(self, staff: Client) -> None:
        assert staff.get(UPDATE).headers["Content-Type"] == "application/json"

    @modify_settings(INSTALLED_APPS={"remove": ["rest_framework"]})
    def test_without_the_app_everybody_gets_json(self, staff: Client) -> None:
        answer = staff.get(UPDATE, headers={"Accept": "text/html, */*"})
        assert answer.headers["Content-Type"] == "application/json"
