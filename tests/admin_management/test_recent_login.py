"""Going back and forcing need a login that is not long ago, where the site says so."""

import time
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from admin_management import authentication
from admin_management.machine import node
from admin_management.models import ApiToken, Run
from tests.conftest import Checkout, permit

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_runner")]

UPDATE = "/admin/update/"
DASHBOARD = "/admin/dashboard/"


@pytest.fixture
def staff(client: Client, alice: User, checkout: Checkout, settings: Any) -> Client:
    settings.ADMIN_MANAGEMENT = settings.ADMIN_MANAGEMENT | {"RECENT_LOGIN": 900}
    client.login(username="alice", password="secret-of-alice")
    return client


@pytest.fixture
def earlier(checkout: Checkout) -> Run:
    """A run that can be gone back to."""
    run = Run.objects.create(
        node=node(), trigger="api", status="succeeded", to_revision=checkout.revision()
    )
    checkout.commit({"version.txt": "2\n"})
    checkout.git("pull", "--quiet")
    return run


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    at = time.time() + seconds
    monkeypatch.setattr("admin_management.authentication.time.time", lambda: at)


def sensitive(client: Client, earlier: Run) -> list[Any]:
    body = {"reason": "slow"}
    return [
        client.post(UPDATE, {"force": True}, content_type="application/json"),
        client.post(DASHBOARD, {"force": "on"}),
        client.post(f"{UPDATE}{earlier.pk}/rollback/", body, content_type="application/json"),
        client.post(f"{DASHBOARD}{earlier.pk}/rollback/", body),
    ]


def test_long_after_the_login_they_are_refused(
    staff: Client, earlier: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    later(monkeypatch, 901)
    for answer in sensitive(staff, earlier):
        assert answer.status_code == 403
        assert "needs a recent login" in answer.content.decode()
    assert Run.objects.get() == earlier


def test_soon_after_the_login_they_are_not(
    staff: Client, earlier: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    later(monkeypatch, 890)
    # The second way back waits behind the first, which is told and not refused.
    assert [answer.status_code for answer in sensitive(staff, earlier)] == [202, 302, 202, 302]


def test_a_plain_update_needs_none(staff: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    later(monkeypatch, 86_400)
    assert staff.post(UPDATE, content_type="application/json").status_code == 202
    assert staff.post(DASHBOARD).status_code == 302


def test_a_login_of_the_same_user_elsewhere_does_not_count(
    staff: Client, earlier: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    later(monkeypatch, 901)
    Client().login(username="alice", password="secret-of-alice")
    assert {answer.status_code for answer in sensitive(staff, earlier)} == {403}


def test_logging_in_again_helps(
    staff: Client, earlier: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    later(monkeypatch, 901)
    staff.logout()
    staff.login(username="alice", password="secret-of-alice")
    assert 403 not in {answer.status_code for answer in sensitive(staff, earlier)}


def test_a_session_that_does_not_know_its_login_is_old(staff: Client, earlier: Run) -> None:
    session = staff.session
    del session[authentication.LOGIN_AT]
    session.save()
    assert {answer.status_code for answer in sensitive(staff, earlier)} == {403}


def test_a_token_is_not_asked(staff: Client, alice: User) -> None:
    token = ApiToken(user=alice, name="ci", scope="update")
    token.issue(by="alice", days=1)
    client = Client(HTTP_AUTHORIZATION=f"Bearer {token.value}")
    answer = client.post(UPDATE, {"force": True}, content_type="application/json")
    assert answer.status_code == 202


def test_an_old_session_cannot_make_one(
    staff: Client, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    permit(alice, "add_apitoken")
    address = reverse("admin:admin_management_apitoken_add")
    wished = {"name": "ci", "scope": "update", "days": "90"}
    later(monkeypatch, 901)
    assert staff.post(address, wished).status_code == 403
    assert not ApiToken.objects.exists()
    later(monkeypatch, -12)
    assert staff.post(address, wished).status_code == 200
    assert ApiToken.objects.get().name == "ci"


def test_it_is_off_unless_it_is_set(
    staff: Client, earlier: Run, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ADMIN_MANAGEMENT = settings.ADMIN_MANAGEMENT | {"RECENT_LOGIN": 0}
    later(monkeypatch, 86_400)
    assert 403 not in {answer.status_code for answer in sensitive(staff, earlier)}


def test_a_login_without_a_session_is_no_error(alice: User) -> None:
    authentication.remember_login(None)
