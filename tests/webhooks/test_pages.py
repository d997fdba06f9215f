"""Webhook secrets on the dashboard: a button makes one, shows it once, and another retires it."""

import re
from datetime import UTC, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from admin_management.models import AuditEvent
from tests.conftest import permit
from webhooks.models import OVERLAP, Secret

from .conftest import Deliver
from .payloads import as_json, push, signature

pytestmark = pytest.mark.django_db

NEW = "/admin/dashboard/webhook-secrets/"


@pytest.fixture(autouse=True)
def no_secret_in_the_settings(settings: Any) -> None:
    settings.WEBHOOKS = {}


@pytest.fixture
def alices(client: Client, alice: User) -> Client:
    permit(alice, "manage_secrets")
    client.force_login(alice)
    return client


def page(client: Client) -> str:
    return " ".join(client.get("/admin/dashboard/").content.decode().split())


def retire(client: Client, secret: Secret) -> Any:
    return client.post(f"{NEW}{secret}/retire/", follow=True)


def test_a_new_secret_is_shown_once_and_verifies(alices: Client, deliver: Deliver) -> None:
    assert "Make a secret</button>" in page(alices)
    answer = alices.post(NEW, {"source": ""})
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    found = re.search(r"\b[0-9a-f]{64}\b", answer.content.decode())
    assert found is not None
    secret = Secret.objects.get()
    assert secret.created_by == "alice"
    assert secret.reveal() == found[0]
    body = as_json(push())
    assert deliver(push(), X_Hub_Signature_256=signature(body, found[0])).status_code == 202
    assert found[0] not in page(alices)
    assert str(secret) in page(alices)
    assert found[0] not in str([*AuditEvent.objects.values()])


def test_the_one_before_it_stays_good_for_a_week_and_a_third_is_refused(alices: Client) -> None:
    alices.post(NEW)
    older = Secret.objects.get()
    assert "Make a new secret</button>" in page(alices)
    text = alices.post(NEW).content.decode()
    assert f"The one before it, <code>{older}</code>, is accepted until" in text
    assert "secret</button>" not in page(alices)
    text = alices.post(NEW, follow=True).content.decode()
    assert "retire one of them first" in text
    assert Secret.objects.count() == 2


@pytest.mark.parametrize(
    ("overlap", "stays"),
    [("", OVERLAP), ("24", timedelta(days=1)), ("1", timedelta(hours=1)), ("0", timedelta(0))],
)
def test_how_long_the_one_before_it_stays_good_is_chosen(
    alices: Client, overlap: str, stays: timedelta
) -> None:
    assert "stays good" not in page(alices)
    alices.post(NEW)
    older = Secret.objects.get()
    assert "the old one is retired at once" in page(alices)
    alices.post(NEW, {"overlap": overlap})
    newer = Secret.objects.exclude(pk=older.pk).get()
    older.refresh_from_db()
    assert older.retires_at == newer.created_at + stays
    assert older.is_active == bool(stays)
    (told,) = AuditEvent.objects.filter(kind="secret_retired")
    assert f'"secret":"{older}"' in told.text
    assert f'"accepted_until":"{older.retires_at.astimezone(UTC).isoformat()}"' in told.text


@pytest.mark.parametrize("overlap", ["-1", "9999", "a week", "\0"])
def test_what_is_not_on_the_list_makes_no_secret(alices: Client, overlap: str) -> None:
    told = alices.post(NEW, {"overlap": overlap}, follow=True).content.decode()
    assert "Choose from the list how long the old secret stays good." in told
    assert not Secret.objects.exists()


def test_one_is_retired_at_once(alices: Client) -> None:
    alices.post(NEW)
    secret = Secret.objects.get()
    assert f"{NEW}{secret}/retire/" in page(alices)
    assert f"{secret} is accepted no longer." in retire(alices, secret).content.decode()
    assert not Secret.objects.active().exists()
    events = [event.text for event in AuditEvent.objects.all()]
    assert any("secret_retired" in text and "alice" in text for text in events)
    told = retire(alices, secret).content.decode()
    assert f"No secret that is accepted is called {secret}." in told


def test_who_may_not_manage_secrets_sees_no_button_and_is_refused(
    client: Client, alice: User
) -> None:
    secret, _ = Secret.objects.make(created_by="bob")
    client.force_login(alice)
    text = page(client)
    assert str(secret) in text
    assert "webhook-secrets" not in text
    for answer in (client.post(NEW), client.post(f"{NEW}{secret}/retire/")):
        assert answer.status_code == 403
        assert "github_webhooks.manage_secrets" in answer.content.decode()
    assert [each.is_active for each in Secret.objects.all()] == [True]


def test_a_secret_in_the_settings_leaves_nothing_to_make(alices: Client, settings: Any) -> None:
    settings.WEBHOOKS = {"SECRET": "a secret of the settings"}
    text = page(alices)
    assert "secret</button>" not in text
    assert "a secret of the settings" not in text


def test_a_source_is_chosen_by_its_name(alices: Client, settings: Any) -> None:
    theme = {"REPOSITORY": "octocat/theme"}
    settings.WEBHOOKS = {"SOURCES": {"theme": theme}}
    text = alices.post(NEW, {"source": "theme"}).content.decode()
    assert "of <code>octocat/theme</code>" in text
    assert Secret.objects.get().source == "theme"
    text = alices.post(NEW, {"source": "<b>"}, follow=True).content.decode()
    assert "names no source &#x27;&lt;b&gt;&#x27;" in text
    assert Secret.objects.count() == 1


def test_a_key_that_is_wrong_is_said_and_nothing_is_made(alices: Client, settings: Any) -> None:
    settings.WEBHOOKS = {"ENCRYPTION_KEY": "short"}
    assert "ENCRYPTION_KEY" in alices.post(NEW, follow=True).content.decode()
    assert not Secret.objects.exists()
