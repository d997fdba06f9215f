"""Refusals are counted within bounds, and too many of them close the door to one sender."""

import json
import re
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection
from django.db.models import F
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from webhooks import models
from webhooks.exceptions import Reason
from webhooks.models import (
    MOST_REFUSALS,
    NEWEST,
    PATIENCE,
    WINDOW,
    Delivery,
    Outcome,
    Refusal,
    RefusalQuerySet,
    Refused,
)
from webhooks.tally import TALLY

from .payloads import AFTER, JSON, SECRET, as_json, ping, push, signature
from .test_views import REFUSED, URL, Sender, nothing_is_stored, raw, said

pytestmark = pytest.mark.django_db

STRANGER = "192.0.2.7"
GITHUB = "140.82.115.1"
PROXY = "127.0.0.1"


def send(address: str, *, secret: str = SECRET, delivery: str = "1", after: str = AFTER) -> Any:
    body = as_json(push(after=after))
    return raw(
        BytesIO(body),
        CONTENT_LENGTH=str(len(body)),
        REMOTE_ADDR=address,
        HTTP_X_HUB_SIGNATURE_256=signature(body, secret),
        HTTP_X_GITHUB_DELIVERY=delivery,
    )


def counted() -> dict[tuple[str, str], int]:
    """By sender and reason: a minute may begin in the midst of a test."""
    total: Counter[tuple[str, str]] = Counter()
    for row in Refusal.objects.all():
        total[row.address, row.reason] += row.count
    return dict(total)


def refuse(address: str, times: int, reason: Reason = Reason.SIGNATURE) -> None:
    for _ in range(times):
        TALLY.count(address, reason)


# Counted.


def test_refusals_are_counted_by_minute_sender_and_reason() -> None:
    for _ in range(3):
        send(STRANGER, secret="not our secret at all")
    send("2001:db8::1", secret="not our secret at all")
    send("2001:db8::2", secret="not our secret at all")
    raw(Sender(), CONTENT_LENGTH="999999999", REMOTE_ADDR=STRANGER)
    raw(BytesIO(b""), HTTP_X_HUB_SIGNATURE_256=signature(b""), REMOTE_ADDR="unix:")
    assert counted() == {
        (STRANGER, "signature"): 3,
        ("2001:db8::/64", "signature"): 2,
        (STRANGER, "too_large"): 1,
        ("", "malformed"): 1,
    }
    assert all(row.minute.second == 0 for row in Refusal.objects.all())
    assert nothing_is_stored()


def test_another_minute_is_another_row() -> None:
    refuse(STRANGER, 1)
    Refusal.objects.update(minute=timezone.now().replace(second=0) - timedelta(minutes=5))
    refuse(STRANGER, 1)
    assert [row.count for row in Refusal.objects.all()] == [1, 1]


def test_the_table_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST_REFUSALS == 1000
    monkeypatch.setattr(models, "MOST_REFUSALS", 20)
    for each in range(30):
        refuse(f"198.51.100.{each}", 1)
    assert set(counted()) == {(f"198.51.100.{each}", "signature") for each in range(10, 30)}


def test_who_is_refused_often_is_not_forgotten_for_many_who_were_refused_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(models, "MOST_REFUSALS", 20)
    refuse(STRANGER, PATIENCE)
    for each in range(30):
        refuse(f"2001:db8:0:{each:x}::1", 1)
    assert Refusal.objects.count() == 20
    assert TALLY.too_many_from(STRANGER)


def test_what_is_older_than_a_day_goes() -> None:
    refuse(STRANGER, 1)
    Refusal.objects.update(minute=timezone.now() - timedelta(hours=25))
    refuse(GITHUB, 1)
    assert list(counted()) == [(GITHUB, "signature")]


def test_two_processes_at_once_count_into_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    real = RefusalQuerySet._add_to
    others: list[bool] = []

    def add_to(self: RefusalQuerySet, refused: Refused, count: int) -> bool:
        if others:
            return real(self, refused, count)
        others.append(True)
        address, reason, minute = refused
        # between our look and our insert
        Refusal.objects.create(address=address, reason=reason, minute=minute)
        return False

    monkeypatch.setattr(RefusalQuerySet, "_add_to", add_to)
    refuse(STRANGER, 1)
    assert counted() == {(STRANGER, "signature"): 2}


@pytest.mark.parametrize("failing", ["_add_to", "create", "delete"])
def test_a_refusal_that_cannot_be_counted_is_still_that_refusal(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, failing: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OperationalError("database is locked")

    monkeypatch.setattr(RefusalQuerySet, failing, fail)
    response = send(STRANGER, secret="not our secret at all")
    assert (response.status_code, said(response)) == (403, REFUSED)
    assert "database is locked" in caplog.text


def test_who_has_sent_too_much_is_looked_up_or_let_in(caplog: pytest.LogCaptureFixture) -> None:
    def fail(execute: Callable[..., Any], sql: str, *more: object) -> Any:
        if Refusal._meta.db_table in sql:
            raise OperationalError("database is locked")
        return execute(sql, *more)

    with connection.execute_wrapper(fail):
        assert send(STRANGER).status_code == 202
    assert "could not be looked up" in caplog.text


# Too many.


def test_too_many_from_one_sender_are_429_without_reading() -> None:
    for _ in range(PATIENCE):
        assert send(STRANGER, secret="not our secret at all").status_code == 403
    sender = Sender()
    right = {"CONTENT_LENGTH": "10", "HTTP_X_HUB_SIGNATURE_256": signature(b"")}
    response = raw(sender, REMOTE_ADDR=STRANGER, **right)
    assert response.status_code == 429
    assert response["Retry-After"] == "600"
    assert sender.taken == 0
    assert send(STRANGER).status_code == 429
    assert nothing_is_stored()
    assert send("192.0.2.8").status_code == 202


def test_a_whole_ipv6_network_is_one_sender() -> None:
    for each in range(PATIENCE):
        TALLY.count(f"2001:db8::{each:x}", Reason.SIGNATURE)
    assert send("2001:db8::ffff").status_code == 429
    assert send("2001:db8:0:1::1").status_code == 202


def test_it_is_over_when_the_window_is_over_however_often_it_was_tried() -> None:
    refuse(STRANGER, PATIENCE)
    assert send(STRANGER).status_code == 429
    # Each by itself: a minute may have begun in the midst of it.
    Refusal.objects.filter(reason="signature").update(minute=F("minute") - WINDOW)
    refuse(STRANGER, PATIENCE, Reason.TOO_MANY)
    assert send(STRANGER).status_code == 202


def test_who_knows_the_secret_is_not_kept_out_by_mistakes() -> None:
    refuse(STRANGER, PATIENCE, Reason.MALFORMED)
    refuse(STRANGER, PATIENCE, Reason.DISABLED)
    assert send(STRANGER).status_code == 202


def test_behind_a_proxy_a_stranger_cannot_keep_github_out() -> None:
    refuse(PROXY, PATIENCE * 10)
    assert send(PROXY).status_code == 202


def test_the_documented_middleware_tells_apart_who_comes_through_a_proxy(
    client: Client, settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    operations = (Path(__file__).parents[2] / "docs/operations.md").read_text(encoding="utf-8")
    (recipe,) = re.findall(r"```python\n(class RealAddress.*?)```", operations, re.DOTALL)
    (tmp_path / "documented.py").write_text(recipe, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    settings.MIDDLEWARE = ["documented.RealAddress", *settings.MIDDLEWARE]

    def forge(**headers: str) -> int:
        forged = {"X-Hub-Signature-256": signature(b"another body"), **headers}
        return client.post(URL, b"{}", content_type=JSON, headers=forged).status_code

    for _ in range(PATIENCE):
        assert forge(**{"X-Real-IP": STRANGER}) == 403
    assert forge(**{"X-Real-IP": STRANGER}) == 429
    assert forge(**{"X-Real-IP": "192.0.2.8"}) == 403
    assert forge() == 403
    assert counted()[PROXY, "signature"] == 1


def test_where_verified_deliveries_came_from_a_stranger_cannot_keep_github_out() -> None:
    """Anybody can make a webhook on GitHub that leads here, with a secret of their own."""
    assert send(GITHUB).status_code == 202
    refuse(GITHUB, PATIENCE * 10)
    assert send(GITHUB, secret="not our secret at all").status_code == 403
    assert send(GITHUB, delivery="2", after="c" * 40).status_code == 202


def test_where_none_of_the_newest_deliveries_came_from_one_is_a_stranger_again() -> None:
    assert send(GITHUB).status_code == 202
    refuse(GITHUB, PATIENCE)
    others = [
        Delivery(
            delivery_id=f"of another {each}",
            body_sha256=f"{each:064}",
            address=STRANGER,
            outcome=Outcome.IGNORED,
        )
        for each in range(NEWEST)
    ]
    Delivery.objects.bulk_create(others[:-1])
    assert not TALLY.too_many_from(GITHUB)
    Delivery.objects.bulk_create(others[-1:])
    assert TALLY.too_many_from(GITHUB)


def test_nor_who_replays_one_of_its_deliveries_again_and_again() -> None:
    assert send(GITHUB).status_code == 202
    for each in range(NEWEST + 1):
        assert send(STRANGER, delivery=f"replay-{each}").status_code == 200
    refuse(GITHUB, PATIENCE)
    assert not TALLY.too_many_from(GITHUB)
    assert send(STRANGER, delivery="1").status_code == 200
    refuse(STRANGER, PATIENCE)
    assert TALLY.too_many_from(STRANGER)


# From allowed networks only.


def test_other_networks_are_answered_like_a_wrong_signature(settings: Any) -> None:
    settings.WEBHOOKS = {"SECRET": SECRET, "ALLOWED_NETWORKS": ["140.82.112.0/20"]}
    sender = Sender()
    response = raw(sender, CONTENT_LENGTH="10", REMOTE_ADDR=STRANGER)
    assert (response.status_code, said(response)) == (403, REFUSED)
    assert sender.taken == 0
    assert counted() == {(STRANGER, "network"): 1}
    assert raw(Sender(), CONTENT_LENGTH="10", REMOTE_ADDR="unix:").status_code == 403
    assert send(GITHUB).status_code == 202


# Shown.


def test_the_dashboard_says_how_many_were_refused_to_whom(client: Client, alice: User) -> None:
    refuse(STRANGER, 40)
    Refusal.objects.update(minute=timezone.now() - timedelta(minutes=30))
    refuse(STRANGER, 2)
    refuse("198.51.100.9", 7)
    Refusal.objects.filter(address="198.51.100.9").update(
        minute=timezone.now() - timedelta(hours=2)
    )
    client.force_login(alice)
    page = " ".join(client.get(reverse("admin_management:dashboard")).content.decode().split())
    assert f"42 with a missing or wrong signature, from <code>{STRANGER}</code>" in page
    assert "198.51.100.9" not in page


@pytest.mark.parametrize("reason", list(Reason))
def test_each_reason_has_its_words_on_the_dashboard(
    client: Client, alice: User, reason: Reason
) -> None:
    refuse(STRANGER, 3, reason)
    client.force_login(alice)
    assert "Refused in the last hour" in client.get("/admin/dashboard/").content.decode()


def test_a_verified_delivery_is_no_refusal() -> None:
    send(STRANGER)
    assert counted() == {}
    assert Delivery.objects.get().address == STRANGER


def test_a_ping_of_a_stranger_is_counted_and_not_kept() -> None:
    body = json.dumps(ping()).encode()
    raw(BytesIO(body), CONTENT_LENGTH=str(len(body)), REMOTE_ADDR=STRANGER)
    assert counted() == {(STRANGER, "signature"): 1}
    assert nothing_is_stored()
