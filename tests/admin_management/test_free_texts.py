"""What people write is stored as it came or refused with a sentence, and shown as text."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client

from admin_management.models import ApiToken, AuditEvent, Hold, IdempotencyKey, Run
from tests.conftest import Checkout
from tests.webhooks.fuzzing import HOSTILE_TEXTS

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.parametrize(
        "text", [*HOSTILE_TEXTS, "x" * 1_000_000], ids=lambda text: ascii(text)[:30]
    ),
]


@pytest.fixture
def staff(client: Client, alice: User, checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("admin_management.launcher.start_next", lambda: None)
    client.force_login(alice)
    return client


def post(client: Client, path: str, body: object, **headers: str) -> int:
    response = client.post(path, body, content_type="application/json", headers=headers)
    if response.status_code >= 400:
        assert response.json()
    return response.status_code


def shown(client: Client) -> str:
    pages = [client.get("/admin/dashboard/"), client.get("/admin/status/")]
    assert [page.status_code for page in pages] == [200, 200]
    return pages[0].content.decode()


@pytest.mark.parametrize("path", ["/admin/update/", "/admin/hold/"])
def test_a_reason(staff: Client, text: str, path: str) -> None:
    status = post(staff, path, {"reason": text})
    rows = [*Run.objects.values_list("reason"), *Hold.objects.values_list("reason")]
    if status in (201, 202):
        assert rows == [(text.strip(),)]
    else:
        assert (status, rows) in ((400, []), (413, []))
    assert "<script>alert" not in shown(staff)


def test_a_reason_to_cancel(staff: Client, text: str) -> None:
    assert post(staff, "/admin/update/", {}) == 202
    run = Run.objects.get()
    assert post(staff, f"/admin/update/{run.pk}/cancel/", {"reason": text}) in (200, 202, 400, 413)
    assert "<script>alert" not in shown(staff)


def test_a_key(staff: Client, text: str) -> None:
    status = post(staff, "/admin/update/", {}, **{"Idempotency-Key": text})
    assert status in (202, 400)
    assert status == 202 or not IdempotencyKey.objects.exists()


def test_the_name_of_a_token(staff: Client, alice: User, text: str) -> None:
    try:
        call_command("api_token", "new", "--", alice.username, text)
    except CommandError:
        assert not ApiToken.objects.exists()
    else:
        assert ApiToken.objects.get().name == text
        assert AuditEvent.objects.exists()
