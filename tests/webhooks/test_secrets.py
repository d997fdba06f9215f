"""Stored secrets: made, used, changed over, retired; and what nobody gets to see."""

import json
from datetime import UTC, timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.db.models import QuerySet
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from admin_management.exceptions import ConflictError
from admin_management.models import AuditEvent
from webhooks.conf import WebhooksSettings
from webhooks.exceptions import DisabledError
from webhooks.keyring import Key, keys_of
from webhooks.models import Delivery, Secret
from webhooks.sealing import seal
from webhooks.sources import Source

from .conftest import Deliver
from .payloads import SECRET, as_json, ping, push, signature

pytestmark = pytest.mark.django_db

WEEK = timedelta(days=7)


@pytest.fixture(autouse=True)
def no_secret_in_the_settings(settings: Any) -> None:
    settings.WEBHOOKS = {}


def make() -> tuple[Secret, str]:
    return Secret.objects.make(created_by="alice", overlap=WEEK)


def signed(deliver: Deliver, secret: str) -> Any:
    return deliver(push(), X_Hub_Signature_256=signature(as_json(push()), secret))


def run(*arguments: str) -> tuple[list[str], str]:
    """What the command prints, and what it tells beside that."""
    out, err = StringIO(), StringIO()
    call_command("webhook_secret", *arguments, stdout=out, stderr=err)
    return out.getvalue().splitlines(), err.getvalue()


# Made and kept.


def test_a_new_secret_verifies_and_is_nowhere_in_the_clear(deliver: Deliver) -> None:
    lines, _ = run("new")
    [value] = lines
    assert len(bytes.fromhex(value)) == 32
    assert signed(deliver, value).status_code == 202
    rows = [*Secret.objects.values(), *AuditEvent.objects.values(), *Delivery.objects.values()]
    assert value not in str(rows)
    assert Secret.objects.get().reveal() == value


def test_it_is_shown_once(capsys: pytest.CaptureFixture[str]) -> None:
    [value], told = run("new")
    fingerprint = str(Secret.objects.get())
    assert fingerprint in told
    assert value not in told
    listed, _ = run("list")
    assert fingerprint in listed[0]
    assert value not in str(listed)
    assert value not in repr(keys_of(WebhooksSettings.load()))


def test_who_has_made_and_retired_it_is_in_the_audit_log() -> None:
    secret, _ = make()
    secret.retire(by="bob")
    made, retired = (json.loads(event.text) for event in AuditEvent.objects.all())
    assert (made["kind"], made["actor"]) == ("secret_made", "alice")
    assert made["facts"] == {"secret": str(secret)}
    assert (retired["kind"], retired["actor"]) == ("secret_retired", "bob")
    assert secret.retires_at is not None
    until = secret.retires_at.astimezone(UTC).isoformat()
    assert retired["facts"] == {"secret": str(secret), "accepted_until": until}


def test_until_when_the_one_before_it_is_accepted_is_in_the_audit_log() -> None:
    (older, _), (newer, _) = make(), make()
    older.refresh_from_db()
    facts = json.loads(AuditEvent.objects.filter(kind="secret_retired").get().text)["facts"]
    assert older.retires_at == newer.created_at + WEEK
    assert facts == {
        "secret": str(older),
        "accepted_until": older.retires_at.astimezone(UTC).isoformat(),
    }


# Two at once.


def test_both_are_accepted_until_the_older_one_retires(deliver: Deliver) -> None:
    (older, first), (_, second) = make(), make()
    assert signed(deliver, first).status_code == 202
    assert signed(deliver, second).status_code == 200
    older.refresh_from_db()
    assert older.retires_at is not None
    assert abs(older.retires_at - timezone.now() - WEEK) < timedelta(minutes=1)
    Secret.objects.filter(pk=older.pk).update(retires_at=timezone.now())
    assert signed(deliver, first).status_code == 403
    assert signed(deliver, second).status_code == 200


def test_the_overlap_is_chosen_by_who_makes_the_next() -> None:
    run("new")
    _, told = run("new", "--overlap", "2h")
    newer, older = Secret.objects.all()
    assert newer.retires_at is None
    assert older.retires_at == newer.created_at + timedelta(hours=2)
    assert f"The one before it, {older}, is accepted until" in told


def test_a_third_is_refused_until_a_person_says_which_one_goes() -> None:
    (first, _), (second, _) = make(), make()
    with pytest.raises(ConflictError, match=f"{second} and {first}"):
        make()
    with pytest.raises(CommandError, match="retire one of them"):
        run("new")
    assert AuditEvent.objects.filter(kind="secret_made").count() == 2, (
        "what was refused is not written down as made"
    )
    run("retire", str(first))
    assert len(run("new")[0]) == 1


def test_one_is_retired_by_hand_at_once(deliver: Deliver) -> None:
    secret, value = make()
    lines, _ = run("retire", str(secret))
    assert lines == [f"{secret} is accepted no longer."]
    assert signed(deliver, value).status_code == 503
    with pytest.raises(CommandError, match="No secret"):
        run("retire", str(secret))
    assert "retired" in run("list")[0][0]


def test_a_time_to_retire_is_never_put_off() -> None:
    secret, _ = make()
    soon = timezone.now() + timedelta(hours=1)
    secret.retire(by="alice", at=soon)
    secret.retire(by="alice", at=soon + WEEK)
    secret.refresh_from_db()
    assert secret.retires_at == soon


# Used.


def test_the_use_of_each_is_remembered_to_the_minute(
    deliver: Deliver,
) -> None:
    (older, _), (newer, second) = make(), make()
    signed(deliver, second)
    for each in (older, newer):
        each.refresh_from_db()
    assert older.last_used_at is None
    assert newer.last_used_at is not None
    before = newer.last_used_at
    signed(deliver, second)
    newer.refresh_from_db()
    assert newer.last_used_at == before
    Secret.objects.filter(pk=newer.pk).update(last_used_at=before - timedelta(minutes=2))
    signed(deliver, second)
    newer.refresh_from_db()
    assert newer.last_used_at > before
    assert {each.secret for each in Delivery.objects.all()} == {str(newer)}


def test_a_wrong_signature_is_no_use(deliver: Deliver) -> None:
    make()
    assert signed(deliver, "some other secret").status_code == 403
    assert Secret.objects.get().last_used_at is None


def test_a_delivery_is_accepted_though_the_use_could_not_be_written(
    deliver: Deliver, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret, value = make()
    real = QuerySet.update

    def fail(self: QuerySet[Any], **facts: Any) -> int:
        if "last_used_at" in facts:
            raise OperationalError("database is locked")
        return real(self, **facts)

    monkeypatch.setattr(QuerySet, "update", fail)
    assert signed(deliver, value).status_code == 202
    secret.refresh_from_db()
    assert secret.last_used_at is None


def test_a_wrong_setting_is_told_by_the_command(settings: Any) -> None:
    settings.WEBHOOKS = {"ENCRYPTION_KEY": "short"}
    with pytest.raises(CommandError, match=r"ENCRYPTION_KEY.* Make one"):
        run("new")
    assert not Secret.objects.exists()


# The setting wins.


def test_the_setting_wins_and_is_not_stored(deliver: Deliver, settings: Any) -> None:
    _, value = make()
    settings.WEBHOOKS = {"SECRET": SECRET}
    assert signed(deliver, value).status_code == 403
    assert signed(deliver, SECRET).status_code == 202
    assert Secret.objects.count() == 1
    assert Delivery.objects.get().secret == "settings"
    assert "wins" in run("list")[1]


def test_a_setting_that_is_too_short_closes_the_door(deliver: Deliver, settings: Any) -> None:
    _, value = make()
    settings.WEBHOOKS = {"SECRET": "x" * 15}
    for secret in ("x" * 15, value, ""):
        assert signed(deliver, secret).status_code == 503


@pytest.mark.parametrize("value", ["", " " * 32, "x" * 15])
def test_a_stored_one_that_is_too_short_is_as_good_as_none(deliver: Deliver, value: str) -> None:
    Secret.objects.create(fingerprint="by-hand", sealed=seal(value))
    assert signed(deliver, value).status_code == 503


def test_nothing_is_accepted_without_any() -> None:
    with pytest.raises(DisabledError):
        keys_of(WebhooksSettings.load())
    assert (
        repr(Key(name="settings", value="canary", source=Source(branch="master")))
        == "<Key settings>"
    )


# Not to be read any more.


def test_a_secret_that_cannot_be_decrypted_is_as_good_as_none(
    deliver: Deliver, settings: Any
) -> None:
    _, value = make()
    settings.SECRET_KEY = "another one"
    response = signed(deliver, value)
    assert response.status_code == 503
    assert response.json() == {"error": "Webhooks are not configured here."}
    _, second = make()
    assert signed(deliver, value).status_code == 403
    assert signed(deliver, second).status_code == 202
    assert "cannot be decrypted" in run("list")[0][1]


# What people see.


def url(page: str, *arguments: object) -> str:
    return reverse(f"admin:github_webhooks_secret_{page}", args=arguments)


def test_a_superuser_sees_fingerprint_and_times_in_the_admin(client: Client) -> None:
    secret, value = make()
    client.force_login(User.objects.create_superuser("root"))
    for address in (url("changelist"), url("change", secret.pk)):
        page = client.get(address).content.decode()
        assert str(secret) in page
        assert secret.sealed not in page
        assert value not in page
    assert client.post(url("delete", secret.pk), {"post": "yes"}).status_code == 403
    assert client.post(url("change", secret.pk), {"created_by": "x"}).status_code == 403


def test_nobody_else_sees_secrets_in_the_admin_whatever_they_are_permitted(
    client: Client, alice: User
) -> None:
    secret, _ = make()
    alice.user_permissions.set(Permission.objects.all())
    client.force_login(alice)
    for address in (url("changelist"), url("change", secret.pk), url("add")):
        assert client.get(address).status_code == 403
    assert url("changelist") not in client.get(reverse("admin:index")).content.decode()


def test_the_dashboard_says_which_secret_was_used_when(
    deliver: Deliver, client: Client, alice: User
) -> None:
    (older, first), (newer, value) = make(), make()
    body = as_json(ping())
    deliver(ping(), event="ping", X_Hub_Signature_256=signature(body, first))
    client.force_login(alice)
    page = client.get(reverse("admin_management:dashboard")).content.decode()
    assert str(older) in page
    assert str(newer) in page
    assert "never used" in page
    assert "GitHub still signs with the older secret" in page
    assert value not in page
    assert newer.sealed not in page


def test_the_dashboard_shows_what_cannot_be_decrypted(
    client: Client, alice: User, settings: Any
) -> None:
    make()
    settings.SECRET_KEY = "another one"
    client.force_login(alice)
    response = client.get(reverse("admin_management:dashboard"))
    assert response.status_code == 200
    assert '<strong class="am-problem">It cannot be decrypted' in response.content.decode()
