"""The dashboard's panel: does GitHub reach us, how, and what is to be changed."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import ProgrammingError
from django.test import Client
from django.utils.html import conditional_escape

from webhooks.models import Delivery, DeliveryManager, Secret
from webhooks.panel import Panel, SourcePanel, doubts, facts, read_panel
from webhooks.sources import Source

from .conftest import Deliver
from .payloads import SECRET, as_json, ping, push, signature

pytestmark = pytest.mark.django_db


@pytest.fixture
def page(client: Client, alice: User) -> Any:
    """What Alice reads, each time she looks."""
    client.force_login(alice)

    def look() -> str:
        response = client.get("/admin/dashboard/")
        assert response.status_code == 200
        return " ".join(response.content.decode().split())

    return look


def hook(**config: str) -> dict[str, Any]:
    payload = ping()
    return payload | {"hook": payload["hook"] | {"config": payload["hook"]["config"] | config}}


def test_before_the_first_ping_it_says_how_to_get_one(page: Any) -> None:
    assert "GitHub has not sent a ping yet" in page()


def test_a_good_ping_is_shown_and_nothing_is_to_be_changed(page: Any, deliver: Deliver) -> None:
    deliver(ping(), event="ping")
    text = page()
    assert "The last ping of GitHub came" in text
    assert "signed with <code>settings</code>, for <code>octocat/site</code>" in text
    assert "Content type json; SSL verification on." in text
    assert read_panel().sources[0].faults == ()


def test_what_is_not_good_is_said_with_what_to_do(page: Any, deliver: Deliver) -> None:
    payload = hook(insecure_ssl="1", content_type="form")
    payload["hook"]["events"] = ["issues"]
    deliver(payload, event="ping")
    text = page()
    assert "SSL verification off." in text
    assert "SSL verification is off: enable it" in text
    assert "does not send pushes: choose the push event" in text
    assert "The content type is a form" in text


def test_the_doctor_doubts_what_is_wrong_with_the_last_ping(
    deliver: Deliver, settings: Any
) -> None:
    assert list(doubts()) == [
        "GitHub has not sent a ping yet: make the webhook there, or choose Redeliver at its ping.",
    ]
    deliver(hook(content_type="form"), event="ping")
    assert list(doubts()) == []
    deliver(hook(insecure_ssl="1"), event="ping", X_GitHub_Delivery="2")
    assert list(doubts()) == [
        "SSL verification is off: enable it in the webhook's settings on GitHub."
    ]
    source = {"SECRET": SECRET, "REPOSITORY": "octocat/site"}
    settings.WEBHOOKS = {"SOURCES": {"site": source}}
    assert list(doubts()) == [
        "GitHub has not sent a ping yet for site: make the webhook there, or choose Redeliver at "
        "its ping."
    ]
    settings.WEBHOOKS = {"SECERT": "x"}
    assert "unknown key 'SECERT'" in str(list(doubts()))


def test_the_doctor_is_told_when_the_last_ping_of_each_source_came(
    deliver: Deliver, settings: Any
) -> None:
    assert list(facts()) == []
    deliver(ping(), event="ping")
    Delivery.objects.update(received_at=datetime(2026, 11, 27, 20, 41, 59, tzinfo=UTC))
    assert list(facts()) == ["GitHub's last ping came 2026-11-27 20:41 UTC."]
    source = {"SECRET": SECRET, "REPOSITORY": "octocat/site"}
    settings.WEBHOOKS = {"SOURCES": {"site": source, "docs": source | {"SECRET": SECRET[::-1]}}}
    assert list(facts()) == []
    Delivery.objects.update(source="docs")
    assert list(facts()) == ["GitHub's last ping for docs came 2026-11-27 20:41 UTC."]


def test_the_last_ping_is_told_in_utc_whatever_the_database_tells(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    in_tokyo = datetime(2026, 11, 28, 5, 41, tzinfo=timezone(timedelta(hours=9)))
    source = SourcePanel(source=Source(branch="master"), ping=Delivery(received_at=in_tokyo))
    monkeypatch.setattr("webhooks.panel.read_panel", lambda: Panel(sources=(source,)))
    assert list(facts()) == ["GitHub's last ping came 2026-11-27 20:41 UTC."]


def test_a_ping_by_a_secret_that_is_gone_proves_nothing_any_more(
    deliver: Deliver, settings: Any
) -> None:
    settings.WEBHOOKS = {}
    old, old_value = Secret.objects.make(created_by="alice")
    signed = signature(as_json(ping()), old_value)
    deliver(ping(), event="ping", X_Hub_Signature_256=signed)
    _, new_value = Secret.objects.make(created_by="alice")
    assert list(doubts()) == []
    old.retire(by="alice")
    [doubt] = doubts()
    assert "choose Redeliver at the ping" in doubt
    deliver(push(), X_Hub_Signature_256=signature(as_json(push()), new_value))
    assert list(doubts()) == []


def test_the_secret_of_the_settings_was_used_last_by_the_newest_delivery(
    page: Any, deliver: Deliver
) -> None:
    assert "never used" in page()
    deliver(ping(), event="ping", X_GitHub_Delivery="1")
    deliver(push(), X_GitHub_Delivery="2")
    assert "last used <time" in page()
    newest = Delivery.objects.get(delivery_id="2")
    assert read_panel().sources[0].last_used_at == newest.received_at
    deliver(ping(), event="ping", X_GitHub_Delivery="1")
    again = Delivery.objects.get(delivery_id="1")
    assert again.received_at > newest.received_at
    assert read_panel().sources[0].last_used_at == again.received_at


def test_a_ping_of_another_repository_is_said(deliver: Deliver, settings: Any) -> None:
    deliver(ping(), event="ping")
    settings.WEBHOOKS = {"SECRET": SECRET, "REPOSITORY": "OctoCat/Site"}
    assert read_panel().sources[0].faults == ()
    settings.WEBHOOKS = {"SECRET": SECRET, "REPOSITORY": "octocat/other"}
    [fault] = read_panel().sources[0].faults
    assert "octocat/site" in fault


def test_a_ping_that_tells_nothing_is_shown_as_one(page: Any, deliver: Deliver) -> None:
    deliver({"zen": "Design for failure."}, event="ping")
    assert "Content type not told; SSL verification not told." in page()
    assert read_panel().sources[0].faults == ()


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({}, "make a secret here, or with manage.py webhook_secret new"),
        ({"SECRET": "short"}, "is too short"),
        ({"SECRETS": "x"}, "unknown key"),
        ({"SECRET": SECRET}, ""),
    ],
)
def test_it_says_why_no_delivery_is_accepted(
    page: Any, settings: Any, given: dict[str, str], problem: str
) -> None:
    settings.WEBHOOKS = given
    panel = read_panel()
    told = panel.problem or panel.sources[0].problem
    assert problem in told
    assert bool(problem) == bool(told)
    assert conditional_escape(told) in page()
    assert 'id="am-webhook"' in page()


def test_a_table_that_is_not_there_is_said_and_no_error_page(
    page: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ProgrammingError("no such table: canary")

    monkeypatch.setattr(DeliveryManager, "filter", fail)
    text = page()
    assert "tables cannot be read" in text
    assert "canary" not in text


def test_what_a_ping_says_is_escaped(page: Any, deliver: Deliver) -> None:
    payload = ping() | {"repository": {"full_name": "<script>alert(1)</script>"}}
    deliver(payload, event="ping")
    assert "<script>alert" not in page()
