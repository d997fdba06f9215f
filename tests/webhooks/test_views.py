"""The door itself: what each delivery is answered, and what it leaves behind."""

import itertools
import json
import logging
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.handlers.wsgi import WSGIRequest
from django.db import OperationalError, connection
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.utils import timezone

from admin_management import launcher
from admin_management.exceptions import ConflictError, SettingsError
from admin_management.launcher import start_next
from admin_management.models import AuditEvent, Run, Trigger
from tests.conftest import Checkout
from webhooks import views
from webhooks.body import MAX_SIZE
from webhooks.models import Delivery, DeliveryManager, Outcome, Refusal, Said

from . import payloads
from .conftest import Deliver
from .payloads import AFTER, BEFORE, FORM, JSON, SECRET, as_form, as_json, push, signature

pytestmark = pytest.mark.django_db

URL = "/webhooks/github/"
REFUSED = {"error": "The signature is missing or wrong."}
PATIENCE = 120.0


class Sender:
    """A body as a server hands it over. ``taken`` counts what was read of it."""

    taken = 0

    def read(self, size: int) -> bytes:
        self.taken += size
        return b"x" * size

    readline = read


class BrokenSender(Sender):
    """A body that ends with the connection."""

    def read(self, size: int) -> bytes:
        raise OSError("connection reset")


def raw(stream: Any, **environ: Any) -> Any:
    """The answer to a request whose WSGI environment is given to the letter."""
    base = RequestFactory().post(URL, content_type=JSON).META
    base = {name: value for name, value in base.items() if name != "CONTENT_LENGTH"}
    given = {
        "HTTP_X_GITHUB_EVENT": "push",
        "HTTP_X_GITHUB_DELIVERY": "1",
        "HTTP_X_HUB_SIGNATURE_256": signature(b""),
        "wsgi.input": stream,
    }
    return views.receive(WSGIRequest(base | given | environ))


def said(response: Any) -> Any:
    assert response["Content-Type"] == JSON
    return json.loads(response.content)


def nothing_is_stored() -> bool:
    return not (Delivery.objects.exists() or Run.objects.exists() or AuditEvent.objects.exists())


# What is accepted.


@pytest.mark.parametrize(("encode", "content_type"), [(as_json, JSON), (as_form, FORM)])
def test_a_push_to_the_branch_requests_a_run(
    deliver: Deliver, encode: Any, content_type: str
) -> None:
    response = deliver(None, body=encode(push()), content_type=content_type)
    run = Run.objects.get()
    assert response.status_code == 202
    assert said(response) == {"outcome": "requested", "reason": "", "run": str(run.pk)}
    assert (run.trigger, run.actor, run.actor_name) == (Trigger.WEBHOOK, None, "GitHub: octocat")
    assert run.reason == f"push of {AFTER[:7]} to master by octocat"
    assert run.address == "127.0.0.1"
    assert not run.force
    delivery = Delivery.objects.get()
    assert (delivery.run, delivery.outcome) == (run, Outcome.REQUESTED)
    assert (delivery.before, delivery.after, delivery.sender) == (BEFORE, AFTER, "octocat")


def test_a_push_without_a_sender_is_github_s(deliver: Deliver) -> None:
    deliver(push(sender=None))
    run = Run.objects.get()
    assert (run.actor_name, run.reason) == ("GitHub", f"push of {AFTER[:7]} to master")


def test_the_longest_names_fit_into_the_run(deliver: Deliver, settings: Any) -> None:
    branch = "b" * 244
    settings.WEBHOOKS = {"SECRET": SECRET, "BRANCH": branch}
    deliver(push(ref=f"refs/heads/{branch}", sender={"login": "🚀" * 150}))
    Run.objects.get().full_clean()


def test_a_new_branch_without_commits_is_a_push_too(deliver: Deliver) -> None:
    assert said(deliver(payloads.push_that_creates()))["outcome"] == "requested"


def test_the_audit_log_has_the_request_and_the_delivery(deliver: Deliver) -> None:
    deliver(push(), X_GitHub_Delivery="some-id")
    kinds = [event.kind for event in AuditEvent.objects.all()]
    assert kinds == ["requested", "delivery_accepted"]
    facts = json.loads(AuditEvent.objects.get(kind="delivery_accepted").text)["facts"]
    assert (facts["delivery"], facts["run"]) == ("some-id", str(Run.objects.get().pk))
    assert (facts["joined"], facts["address"]) == (False, "127.0.0.1")


def test_a_second_push_joins_the_run_that_waits(deliver: Deliver) -> None:
    first, second = deliver(push()), deliver(push(after=BEFORE))
    assert said(first) == said(second)
    assert [each.run for each in Delivery.objects.all()] == [Run.objects.get()] * 2


def test_a_push_that_joins_is_still_the_pusher_s_in_the_audit_log(deliver: Deliver) -> None:
    launcher.request_update(trigger=Trigger.DASHBOARD, requester=launcher.Requester(name="alice"))
    deliver(push())
    assert Run.objects.get().actor_name == "alice"
    actors = [json.loads(event.text)["actor"] for event in AuditEvent.objects.all()]
    assert actors == ["alice", "GitHub: octocat"]


@pytest.mark.django_db(transaction=True)
def test_a_push_is_logged_with_its_run_once_it_is_accepted(
    deliver: Deliver, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher, "start_next", lambda: None)
    caplog.set_level(logging.INFO)
    deliver(push(), X_GitHub_Delivery="1")
    run = str(Run.objects.get().pk)
    told = [
        (each.getMessage(), vars(each)["run"])
        for each in caplog.records
        if each.name in ("webhooks", "admin_management")
    ]
    assert told == [
        ("Delivery 1 accepted", run),
        ("Update requested by GitHub: octocat", run),
    ]
    caplog.clear()
    deliver(push(), X_GitHub_Delivery="1")
    assert "accepted" not in caplog.text
    assert "by GitHub" not in caplog.text


@pytest.mark.django_db(transaction=True)
def test_a_push_after_which_the_queue_cannot_be_looked_at_is_stored_and_logged_and_503(
    deliver: Deliver, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise OSError("disk full")

    monkeypatch.setattr(launcher, "start_next", fail)
    caplog.set_level(logging.INFO)
    assert deliver(push(), X_GitHub_Delivery="1").status_code == 503
    assert Delivery.objects.get().run == Run.objects.get()
    assert "Delivery 1 accepted" in caplog.messages
    assert "disk full" in caplog.text


@pytest.mark.django_db(transaction=True)
def test_a_log_that_fails_keeps_no_push_from_its_run(
    deliver: Deliver, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(record: logging.LogRecord) -> bool:
        raise ZeroDivisionError

    started: list[bool] = []
    monkeypatch.setattr(launcher, "start_next", lambda: started.append(True))
    caplog.set_level(logging.INFO, views.logger.name)
    monkeypatch.setattr(views.logger, "filters", [fail])
    assert deliver(push()).status_code == 202
    assert started == [True]


def test_a_runner_is_let_go_after_the_commit(
    deliver: Deliver, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    started: list[bool] = []
    monkeypatch.setattr(launcher, "start_next", lambda: started.append(True))
    with django_capture_on_commit_callbacks(execute=True):
        deliver(push())
        assert started == []
    assert started == [True]


def test_a_ping_is_answered_200_and_recorded(deliver: Deliver) -> None:
    response = deliver(payloads.ping(), event="ping")
    assert response.status_code == 200
    assert said(response)["outcome"] == "ping"
    assert Delivery.objects.get().outcome == Outcome.PING
    assert not Run.objects.exists()


@pytest.mark.parametrize(
    ("event", "payload", "reason"),
    [
        ("push", push(ref="refs/heads/dev"), "refs/heads/dev is not the branch that is live"),
        ("push", payloads.push_of_a_tag(), "refs/tags/v1 is not the branch that is live"),
        ("push", payloads.push_that_deletes(), "refs/heads/master was deleted"),
        ("issues", {"action": "opened"}, "issues asks for no update"),
        ("event_of_the_future", push(), "event_of_the_future asks for no update"),
    ],
)
def test_everything_else_signed_is_recorded_as_ignored(
    deliver: Deliver, event: str, payload: object, reason: str
) -> None:
    response = deliver(payload, event=event)
    assert response.status_code == 202
    assert said(response) == {"outcome": "ignored", "reason": reason, "run": None}
    delivery = Delivery.objects.get()
    assert (delivery.outcome, delivery.reason, delivery.run) == (Outcome.IGNORED, reason, None)
    assert not Run.objects.exists()
    assert not AuditEvent.objects.exists()


def test_a_push_to_another_repository_is_ignored(deliver: Deliver, settings: Any) -> None:
    settings.WEBHOOKS = {"SECRET": SECRET, "REPOSITORY": "octocat/other"}
    assert said(deliver(push()))["reason"] == "a push to another repository"
    settings.WEBHOOKS = {"SECRET": SECRET, "REPOSITORY": "octocat/site"}
    assert said(deliver(push()))["outcome"] == "requested"


def test_no_answer_names_what_is_configured(deliver: Deliver, settings: Any) -> None:
    settings.WEBHOOKS = {"SECRET": SECRET, "REPOSITORY": "canary/owner", "BRANCH": "canary"}
    answers = [
        deliver(push()),
        deliver(push(repository={"full_name": "canary/owner"})),
        deliver(push(), X_Hub_Signature_256=None),
        deliver(None, body=b"{"),
    ]
    assert [each.status_code for each in answers] == [202, 202, 403, 400]
    for word in ("canary", SECRET):
        assert all(word.encode() not in each.content for each in answers)


def test_both_addresses_work_without_a_redirect(client: Client) -> None:
    body = as_json(payloads.ping())
    for url in ("/webhooks/github/", "/webhooks/github"):
        response = client.generic(
            "POST",
            url,
            body,
            content_type=JSON,
            headers={
                "X-GitHub-Event": "ping",
                "X-GitHub-Delivery": "1",
                "X-Hub-Signature-256": signature(body),
            },
        )
        assert response.status_code == 200


def test_no_csrf_token_is_needed(settings: Any) -> None:
    body = as_json(payloads.ping())
    headers = {
        "X-GitHub-Event": "ping",
        "X-GitHub-Delivery": "1",
        "X-Hub-Signature-256": signature(body),
    }
    strict = Client(enforce_csrf_checks=True)
    response = strict.post(URL, body, content_type=JSON, headers=headers)
    assert response.status_code == 200


def test_a_body_longer_than_djangos_own_limit_is_read(deliver: Deliver, settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    payload = push(commits=[payloads.commit()] * 20)
    assert deliver(payload).status_code == 202
    form = deliver(None, body=as_form(payload), content_type=FORM)
    assert form.status_code == 202


def test_a_chunked_body_is_read(deliver: Deliver) -> None:
    body = as_json(push())
    sent = {"HTTP_X_HUB_SIGNATURE_256": signature(body), "wsgi.input_terminated": True}
    assert raw(BytesIO(body), **sent).status_code == 202


def test_a_stream_of_unknown_end_is_not_waited_for() -> None:
    sender = Sender()
    assert raw(sender).status_code == 400
    assert sender.taken == 0


@pytest.mark.parametrize("address", ["", "unix:", "not an address"])
def test_without_an_address_the_run_has_none(address: str) -> None:
    body = as_json(push())
    sent = {"HTTP_X_HUB_SIGNATURE_256": signature(body), "wsgi.input_terminated": True}
    assert raw(BytesIO(body), REMOTE_ADDR=address, **sent).status_code == 202
    assert Run.objects.get().address is None


def test_a_scoped_address_is_kept_without_its_scope() -> None:
    body = as_json(push())
    sent = {"HTTP_X_HUB_SIGNATURE_256": signature(body), "wsgi.input_terminated": True}
    raw(BytesIO(body), REMOTE_ADDR="fe80::1%eth0", **sent)
    assert Run.objects.get().address == "fe80::1"
    requested = AuditEvent.objects.get(kind="requested")
    assert json.loads(requested.text)["facts"]["address"] == "fe80::1"


# The same delivery again.


def test_the_same_delivery_again_is_answered_200_with_its_run(deliver: Deliver) -> None:
    first = deliver(push(), X_GitHub_Delivery="1")
    again = deliver(push(), X_GitHub_Delivery="1")
    assert (first.status_code, again.status_code) == (202, 200)
    assert said(first) == said(again)
    assert Delivery.objects.count() == 1
    assert AuditEvent.objects.count() == 2


def test_a_repeated_delivery_starts_nothing_after_its_run_has_ended(deliver: Deliver) -> None:
    deliver(push(), X_GitHub_Delivery="1")
    run = Run.objects.get()
    Run.objects.update(status="failed", started_at=timezone.now())
    assert said(deliver(push(), X_GitHub_Delivery="1"))["run"] == str(run.pk)
    Run.objects.all().delete()
    assert said(deliver(push(), X_GitHub_Delivery="1")) == {
        "outcome": "requested",
        "reason": "",
        "run": None,
    }
    assert not Run.objects.exists()


def test_a_delivery_that_led_to_no_run_may_try_again(deliver: Deliver, settings: Any) -> None:
    settings.WEBHOOKS = {"SECRET": SECRET, "BRANCH": "live"}
    first = deliver(push(), X_GitHub_Delivery="1")
    again = deliver(push(), X_GitHub_Delivery="1")
    assert (first.status_code, again.status_code) == (202, 202)
    assert said(first)["outcome"] == said(again)["outcome"] == "ignored"
    settings.WEBHOOKS = {"SECRET": SECRET}
    response = deliver(push(), X_GitHub_Delivery="1")
    assert response.status_code == 202
    assert said(response)["run"] == str(Run.objects.get().pk)
    assert (Delivery.objects.get().outcome, Delivery.objects.get().reason) == ("requested", "")


def test_a_delivery_whose_run_never_began_may_try_again(deliver: Deliver) -> None:
    deliver(push(), X_GitHub_Delivery="1")
    first = Run.objects.get()
    assert deliver(push(), X_GitHub_Delivery="1").status_code == 200
    assert first.cancel("Cancelled by alice.", actor="alice", reason="", address=None)
    response = deliver(push(), X_GitHub_Delivery="1")
    second = Run.objects.get(status="queued")
    assert (response.status_code, said(response)["run"]) == (202, str(second.pk))
    assert Delivery.objects.get().run == second
    assert said(deliver(push(), X_GitHub_Delivery="2"))["outcome"] == "replayed"


def test_a_delivery_whose_run_could_not_be_started_may_try_again(
    deliver: Deliver, checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(push(), X_GitHub_Delivery="1")
    with monkeypatch.context() as broken:
        broken.setattr(sys, "executable", "/nonexistent/python")
        start_next()
    first = Run.objects.get()
    assert (first.status, first.started_at) == ("failed", None)
    response = deliver(push(), X_GitHub_Delivery="1")
    second = Run.objects.get(status="queued")
    assert (response.status_code, said(response)["run"]) == (202, str(second.pk))


def test_a_ping_again_is_200_again(deliver: Deliver) -> None:
    for _ in range(2):
        response = deliver(payloads.ping(), event="ping", X_GitHub_Delivery="1")
        assert response.status_code == 200


def test_the_same_delivery_twice_at_this_moment_is_one_row_and_one_request(
    deliver: Deliver, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = DeliveryManager.find
    first = deliver(push(), X_GitHub_Delivery="1").json()

    def blind(self: DeliveryManager, *arguments: str) -> tuple[None, None]:
        # The other one comes between our look and our insert.
        monkeypatch.setattr(DeliveryManager, "find", real)
        return None, None

    monkeypatch.setattr(DeliveryManager, "find", blind)
    again = deliver(push(), X_GitHub_Delivery="1")
    assert (again.status_code, again.json()) == (200, first)
    assert Delivery.objects.count() == 1
    assert AuditEvent.objects.count() == 2


def deliver_eight_times_at_once(deliver: Deliver) -> list[int]:
    """The answers to one and the same delivery, in order."""

    def send(_: int) -> int:
        try:
            return int(deliver(push(), X_GitHub_Delivery="1").status_code)
        finally:
            connection.close()

    # SQLite in memory has room for one at a time; PostgreSQL shows the race.
    threads = 8 if connection.vendor == "postgresql" else 1
    with ThreadPoolExecutor(threads) as pool:
        return sorted(pool.map(send, range(8)))


@pytest.mark.django_db(transaction=True)
def test_the_same_delivery_eight_times_at_once_is_one_row_and_one_run(
    deliver: Deliver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher, "start_next", lambda: None)
    assert deliver_eight_times_at_once(deliver) == [200] * 7 + [202]
    assert (Delivery.objects.count(), Run.objects.count()) == (1, 1)
    assert AuditEvent.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_a_delivery_whose_run_never_began_eight_times_at_once_asks_once_more(
    deliver: Deliver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher, "start_next", lambda: None)
    deliver(push(), X_GitHub_Delivery="1")
    Run.objects.get().cancel("Cancelled by alice.", actor="alice", reason="", address=None)
    assert deliver_eight_times_at_once(deliver) == [200] * 7 + [202]
    assert AuditEvent.objects.filter(kind="delivery_accepted").count() == 2


def test_a_body_that_led_to_a_run_between_our_look_and_our_insert_is_a_replay(
    deliver: Deliver, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = DeliveryManager.find
    deliver(push(), X_GitHub_Delivery="1")

    def blind(self: DeliveryManager, *arguments: str) -> tuple[None, None]:
        monkeypatch.setattr(DeliveryManager, "find", real)
        return None, None

    monkeypatch.setattr(DeliveryManager, "find", blind)
    again = deliver(push(), X_GitHub_Delivery="2")
    assert (again.status_code, again.json()["outcome"], again.json()["run"]) == (
        200,
        "replayed",
        None,
    )
    assert Delivery.objects.get(delivery_id="2").run is None
    assert AuditEvent.objects.count() == 2


# What is refused.


def test_no_refusal_sends_the_admins_a_mail(
    deliver: Deliver, settings: Any, mailoutbox: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    settings.ADMINS = [("Alice", "alice@example.com")]
    settings.WEBHOOKS = {}
    with caplog.at_level("WARNING"):
        assert deliver(push()).status_code == 503
    assert "not configured" in caplog.text
    assert [each for each in caplog.records if each.name == "django.request"] == []
    assert mailoutbox == []


def test_what_has_not_the_shape_of_a_signature_causes_no_look_for_secrets(
    deliver: Deliver, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.WEBHOOKS = {}
    asked: list[object] = []
    monkeypatch.setattr(views, "keys_of", asked.append)
    assert deliver(push(), X_Hub_Signature_256="sha256=short").status_code == 403
    assert asked == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_only_post_is_answered(client: Client, method: str) -> None:
    response = client.generic(method, URL)
    assert response.status_code == 405
    assert response["Allow"] == "POST"
    assert nothing_is_stored()
    assert Refusal.objects.get().reason == "method"


@pytest.mark.parametrize("blank", [None, "", "   "])
def test_without_a_secret_everything_is_503(
    deliver: Deliver, settings: Any, blank: str | None
) -> None:
    settings.WEBHOOKS = {"SECRET": blank}
    for key in ("", "   ", SECRET):
        response = deliver(push(), X_Hub_Signature_256=signature(as_json(push()), key))
        assert response.status_code == 503
        assert said(response) == {"error": "Webhooks are not configured here."}
    assert nothing_is_stored()


def test_a_wrong_setting_closes_the_door(
    deliver: Deliver, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.WEBHOOKS = {"SECRET": SECRET, "SECRETS": "a"}
    response = deliver(push())
    assert response.status_code == 503
    assert said(response) == {"error": "Webhooks are not configured here."}
    assert "SECRETS" in caplog.text


@pytest.mark.parametrize("size", [MAX_SIZE + 1, 10**12])
@pytest.mark.parametrize("signed", ["sha256=" + "0" * 64, "no signature at all", ""])
def test_more_than_25_mb_declared_is_413_without_reading(size: int, signed: str) -> None:
    sender = Sender()
    response = raw(sender, CONTENT_LENGTH=str(size), HTTP_X_HUB_SIGNATURE_256=signed)
    assert response.status_code == 413
    assert sender.taken == 0
    assert nothing_is_stored()


def test_more_than_25_mb_in_chunks_is_413_soon_after() -> None:
    sender = Sender()
    response = raw(sender, **{"wsgi.input_terminated": True})
    assert response.status_code == 413
    assert sender.taken < MAX_SIZE + 1024 * 1024
    assert nothing_is_stored()


def test_a_body_longer_than_it_declares_is_cut_and_refused() -> None:
    body = as_json(push())
    sent = {"HTTP_X_HUB_SIGNATURE_256": signature(body), "wsgi.input_terminated": True}
    assert raw(BytesIO(body), CONTENT_LENGTH="10", **sent).status_code == 403


@pytest.mark.parametrize("length", ["ten", "-1", "0x10", "9" * 5000])
def test_a_length_that_is_no_number_is_no_length(length: str) -> None:
    sender = Sender()
    assert raw(sender, CONTENT_LENGTH=length).status_code == 400
    assert sender.taken == 0


def test_a_body_that_breaks_off_is_400() -> None:
    response = raw(BrokenSender(), CONTENT_LENGTH="10")
    assert response.status_code == 400
    assert said(response) == {"error": "The body could not be read to its end."}
    assert nothing_is_stored()


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        "",
        "sha256=",
        "sha1=" + "0" * 40,
        "sha256=" + "0" * 63,
        "sha256=" + "\u00e9" * 64,
        "sha256=" + "0" * 10_000,
    ],
)
def test_a_missing_or_misshapen_signature_is_403_without_reading(wrong: str | None) -> None:
    sender = Sender()
    response = raw(sender, CONTENT_LENGTH="10", HTTP_X_HUB_SIGNATURE_256=wrong or "")
    assert sender.taken == 0
    assert response.status_code == 403
    assert said(response) == REFUSED


def test_a_wrong_signature_is_403_and_nothing_is_parsed_or_stored(
    deliver: Deliver, monkeypatch: pytest.MonkeyPatch, settled: list[bool]
) -> None:
    def parse(**_: object) -> None:
        raise AssertionError("An unsigned body was parsed.")

    monkeypatch.setattr(views, "parse", parse)
    for wrong in (signature(as_json(push()), "another secret"), signature(b"another body"), None):
        response = deliver(push(), X_Hub_Signature_256=wrong)
        assert response.status_code == 403
        assert said(response) == REFUSED
    assert nothing_is_stored()
    assert settled == []


def test_a_sha1_signature_is_not_enough(deliver: Deliver) -> None:
    response = deliver(push(), X_Hub_Signature="sha1=" + "0" * 40, X_Hub_Signature_256=None)
    assert response.status_code == 403


def test_every_flipped_bit_of_a_signature_is_403(deliver: Deliver) -> None:
    right = int(signature(as_json(push())).removeprefix("sha256="), 16)
    for bit in range(256):
        wrong = f"sha256={right ^ 1 << bit:064x}"
        assert deliver(push(), X_Hub_Signature_256=wrong).status_code == 403
    assert nothing_is_stored()


def test_a_staff_session_does_not_replace_a_signature(client: Client, alice: User) -> None:
    client.force_login(alice)
    assert client.post(URL, push(), content_type=JSON).status_code == 403


@pytest.mark.parametrize(
    ("body", "content_type"),
    [(b"", JSON), (b"{", JSON), (b"[]", JSON), (b"{}", JSON), (b"{}", FORM), (b"{}", "text/plain")],
)
def test_signed_but_malformed_is_400(deliver: Deliver, body: bytes, content_type: str) -> None:
    assert deliver(None, body=body, content_type=content_type).status_code == 400
    assert nothing_is_stored()


@pytest.mark.parametrize("name", ["X_GitHub_Delivery", "X_GitHub_Event"])
@pytest.mark.parametrize("wrong", [None, "", "a b", "a,b", "x" * 65, "\u00e9", "a/b", "<b>"])
def test_a_missing_or_malformed_header_is_400(
    deliver: Deliver, name: str, wrong: str | None
) -> None:
    header: dict[str, Any] = {name: wrong}
    response = deliver(push(), **header)
    assert response.status_code == 400
    assert name.replace("_", "-") in said(response)["error"]
    assert nothing_is_stored()


def test_a_refusal_is_logged_without_a_word_of_the_sender(
    deliver: Deliver, caplog: pytest.LogCaptureFixture
) -> None:
    deliver(push(), X_Hub_Signature_256="sha256=canary", X_GitHub_Delivery="canary")
    messages = [each.getMessage() for each in caplog.records if each.name == "webhooks"]
    assert messages == ["Delivery refused: The signature is missing or wrong."]


def test_no_header_is_kept(deliver: Deliver) -> None:
    deliver(push(), X_Github_Encoded_Secret="canary", User_Agent="canary", X_Other="canary")
    rows = [*Delivery.objects.values(), *Run.objects.values(), *AuditEvent.objects.values()]
    assert "canary" not in str(rows)


# When something else is broken.


@pytest.mark.parametrize(
    "error",
    [
        OperationalError("database is locked"),
        OSError("disk full"),
        SettingsError("CHECKOUT is gone", hint="Mend it."),
        ConflictError("The queue changed too fast"),
    ],
)
def test_what_could_not_be_recorded_is_503_so_that_a_person_can_redeliver(
    deliver: Deliver,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    settings: Any,
    error: Exception,
) -> None:
    def fail(**_: object) -> None:
        raise error

    settings.DEBUG = True
    monkeypatch.setattr(views, "request_update", fail)
    response = deliver(push())
    assert response.status_code == 503
    assert response["Retry-After"] == "60"
    assert said(response) == {"error": "Try again later."}
    assert nothing_is_stored()
    assert str(error) in caplog.text


@pytest.mark.parametrize(
    "what", ["webhooks.models.insert_delivery", "admin_management.models.insert_event"]
)
def test_a_failure_after_the_request_leaves_neither_delivery_nor_run(
    deliver: Deliver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OperationalError("disk I/O error")

    caplog.set_level(logging.INFO)
    monkeypatch.setattr(what, fail)
    assert deliver(push()).status_code == 503
    assert nothing_is_stored()
    assert "accepted" not in caplog.text


class Turn:
    """A lock that tells when a second thread asks for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._askers = itertools.count(1)
        self.somebody_waits = threading.Event()

    def acquire(self, timeout: float) -> bool:
        if next(self._askers) == 2:
            self.somebody_waits.set()
        return self._lock.acquire(timeout=timeout)

    def release(self) -> None:
        self._lock.release()


on_sqlite = pytest.mark.skipif(connection.vendor != "sqlite", reason="others let several write")


@on_sqlite
def test_threads_write_one_after_the_other(
    deliver: Deliver, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn = Turn()
    written: list[str] = []

    def accept(_: object, push: Said) -> HttpResponse:
        written.append(f"{push['delivery_id']} begins")
        assert turn.somebody_waits.wait(PATIENCE)
        written.append(f"{push['delivery_id']} ends")
        return HttpResponse()

    monkeypatch.setattr(views, "TURN", turn)
    monkeypatch.setattr(views, "LONGEST_WAIT", PATIENCE)
    monkeypatch.setattr(views, "_accept", accept)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda name: deliver(push(), X_GitHub_Delivery=name), ("1", "2")))
    first, second = (line.split()[0] for line in written[::2])
    assert written == [f"{each} {what}" for each in (first, second) for what in ("begins", "ends")]


def test_whose_turn_does_not_come_writes_all_the_same(
    deliver: Deliver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "LONGEST_WAIT", 0)
    with views.TURN:
        assert deliver(push()).status_code == 202
        assert views.TURN.locked()
    assert deliver(push()).status_code == 200
    assert not views.TURN.locked()


def test_only_what_has_led_to_a_run_before_settles(deliver: Deliver, settled: list[bool]) -> None:
    deliver(payloads.ping(), event="ping")
    deliver(push(ref="refs/heads/dev"))
    deliver(push(), X_GitHub_Delivery="1")  # the launcher does it when the request is committed
    assert len(settled) == 0
    deliver(push(), X_GitHub_Delivery="1")
    assert len(settled) == 1
    deliver(push(), X_GitHub_Delivery="2")
    assert len(settled) == 2


def test_a_delivery_is_accepted_even_if_settling_fails(
    deliver: Deliver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(views, "settle", fail)
    deliver(push())
    assert deliver(push()).status_code == 200
    assert "Runs could not be settled" in caplog.text


@pytest.fixture
def atomic_requests() -> Iterator[None]:
    connection.settings_dict["ATOMIC_REQUESTS"] = True
    yield
    connection.settings_dict["ATOMIC_REQUESTS"] = False


@pytest.mark.django_db(transaction=True)
def test_a_run_is_started_before_the_answer_where_requests_are_transactions(
    deliver: Deliver, atomic_requests: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_transaction: list[bool] = []

    def start() -> None:
        in_transaction.append(connection.in_atomic_block)

    monkeypatch.setattr(launcher, "start_next", start)
    monkeypatch.setattr(views, "settle", start)
    deliver(push())
    deliver(push())
    assert in_transaction == [False, False]


def test_a_dead_run_is_settled_when_its_push_comes_again(
    checkout: Checkout, deliver: Deliver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "settle", launcher.settle)
    deliver(push())
    Run.objects.get().claim()
    deliver(push())
    assert Run.objects.get().status == "interrupted"
