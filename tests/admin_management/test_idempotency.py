"""A request that is sent again with its key gets what it has got, and nothing happens twice."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.utils import timezone

from admin_management.models import ApiToken, AuditEvent, IdempotencyKey, Run
from admin_management.permissions import Permission
from admin_management.runner.status import Status
from tests.conftest import permit

pytestmark = pytest.mark.django_db

UPDATE = "/admin/update/"


def claim_what_waits() -> None:
    """As a runner does: from now on nobody can join it."""
    for run in Run.objects.here().queued():
        run.claim()


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked for starts at once."""
    monkeypatch.setattr("admin_management.launcher.start_next", claim_what_waits)


@pytest.fixture
def staff(client: Client, alice: User) -> Client:
    client.force_login(alice)
    return client


def post(client: Client, key: str | None, body: object = None) -> Any:
    headers = {} if key is None else {"Idempotency-Key": key}
    text = json.dumps(body) if body else ""
    return client.post(UPDATE, text, content_type="application/json", headers=headers)


@pytest.mark.usefixtures("started")
class TestTheSameKey:
    def test_gets_the_same_run(
        self, staff: Client, django_capture_on_commit_callbacks: Any
    ) -> None:
        with django_capture_on_commit_callbacks(execute=True):
            first = post(staff, "a-key", {"reason": "new logo"})
        events = AuditEvent.objects.count()
        again = post(staff, "a-key", {"reason": "new logo"})
        assert (first.status_code, again.status_code) == (202, 202)
        assert again.headers["Location"] == first.headers["Location"]
        assert (again.json()["id"], again.json()["coalesced"]) == (first.json()["id"], False)
        # It is told as it stands by now, and nothing was asked for again.
        assert again.json()["status"] == "running"
        assert AuditEvent.objects.count() == events

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.parametrize("key", ["a-key", None])
    def test_is_told_how_it_stands_once_it_has_begun_as_without_one(
        self, staff: Client, key: str | None
    ) -> None:
        assert post(staff, key).json()["status"] == "running"

    def test_says_again_that_it_has_joined(self, staff: Client) -> None:
        waiting = post(staff, None).json()
        for _ in range(2):
            told = post(staff, "a-key").json()
            assert (told["id"], told["coalesced"]) == (waiting["id"], True)

    def test_gets_it_when_the_run_has_ended(self, staff: Client) -> None:
        first = post(staff, "a-key").json()
        Run.objects.update(status=Status.SUCCEEDED)
        assert post(staff, "a-key").json()["id"] == first["id"]
        assert Run.objects.count() == 1

    def test_without_a_body_is_as_with_an_empty_one(self, staff: Client) -> None:
        post(staff, "a-key")
        assert post(staff, "a-key", {"reason": "", "force": False}).status_code == 202

    def test_with_another_body_is_refused(self, staff: Client) -> None:
        post(staff, "a-key", {"reason": "new logo"})
        answer = post(staff, "a-key", {"reason": "old logo"})
        assert answer.status_code == 422
        assert "another body" in answer.json()["detail"]
        assert Run.objects.get().reason == "new logo"

    def test_of_another_user_is_another_key(self, staff: Client) -> None:
        first = post(staff, "a-key").json()
        Run.objects.update(status=Status.SUCCEEDED)
        staff.force_login(User.objects.create_superuser("root"))
        answer = post(staff, "a-key", {"reason": "mine"})
        assert answer.status_code == 202
        assert answer.json()["id"] != first["id"]

    def test_is_the_same_with_a_token_of_the_user(self, staff: Client, alice: User) -> None:
        first = post(staff, "a-key").json()
        token = ApiToken(user=alice, name="ci", scope="update")
        token.issue(by="alice", days=1)
        by_token = Client(HTTP_AUTHORIZATION=f"Bearer {token.value}")
        assert post(by_token, "a-key").json()["id"] == first["id"]

    def test_is_forgotten_after_a_day(self, staff: Client) -> None:
        first = post(staff, "a-key").json()
        Run.objects.update(status=Status.SUCCEEDED)
        a_day_ago = timezone.now() - timedelta(hours=24)
        IdempotencyKey.objects.update(created_at=a_day_ago + timedelta(minutes=1))
        assert post(staff, "a-key").json()["id"] == first["id"]
        IdempotencyKey.objects.update(created_at=a_day_ago)
        assert post(staff, "a-key", {"reason": "anew"}).json()["id"] != first["id"]
        assert IdempotencyKey.objects.count() == 1

    def test_gets_nothing_without_the_permission(self, staff: Client, alice: User) -> None:
        post(staff, "a-key")
        alice.user_permissions.clear()
        assert post(staff, "a-key").status_code == 403


def test_a_refused_request_uses_no_key_up(client: Client, carol: User, no_runner: None) -> None:
    permit(carol, Permission.REQUEST)
    client.force_login(carol)
    wish = {"accept_rewritten": True}
    assert post(client, "a-key", wish).status_code == 403
    permit(carol, Permission.ACCEPT_REWRITTEN)
    assert post(client, "a-key", wish).status_code == 202


@pytest.mark.parametrize("key", ["", "x" * 256, "a\0b", "a\tb", "a\x7f", "schlüssel"])
def test_what_cannot_be_a_key_is_refused(staff: Client, key: str) -> None:
    answer = Client.post(
        staff, UPDATE, "", content_type="application/json", HTTP_IDEMPOTENCY_KEY=key
    )
    assert answer.status_code == 400
    assert list(answer.json()) == ["Idempotency-Key"]
    assert not Run.objects.exists()


def test_the_longest_key_is_taken(staff: Client, no_runner: None) -> None:
    assert post(staff, "~" * 255).status_code == 202


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("started")
def test_equal_requests_at_the_same_moment_are_one_run(alice: User) -> None:
    together = Barrier(4)

    def ask(_: int) -> Any:
        try:
            client = Client()
            client.force_login(alice)
            together.wait(timeout=30)
            return post(client, "a-key").json()["id"]
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        told = set(pool.map(ask, range(4)))
    assert told == {str(Run.objects.get().pk)}
