"""Who asks too often is told when to come back; who does nothing wrong is never in their way."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from admin_management.models import ApiToken
from admin_management.throttling import ChangeThrottle, FetchThrottle, WrongTokenThrottle

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_runner", "checkout")]

UPDATE = "/admin/update/"
DASHBOARD = "/admin/dashboard/"
STATUS = "/admin/status/"
CHANGES, WRONG_TOKENS, FETCHES = 30, 20, 6


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the throttles take for the time, in seconds."""
    now = [1_000_000.0]
    for throttle in (ChangeThrottle, FetchThrottle, WrongTokenThrottle):
        monkeypatch.setattr(throttle, "timer", staticmethod(lambda: now[0]))
    return now


@pytest.fixture
def staff(client: Client, alice: User) -> Client:
    client.force_login(alice)
    return client


def post(client: Client, **headers: str) -> Any:
    return client.post(UPDATE, "{}", content_type="application/json", headers=headers)


def statuses(times: int, ask: Callable[[], Any]) -> set[int]:
    return {ask().status_code for _ in range(times)}


def test_too_many_changes_are_refused_until_a_minute_is_over(
    staff: Client, clock: list[float]
) -> None:
    assert statuses(CHANGES, lambda: post(staff)) == {202}
    clock[0] += 20
    answer = post(staff)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "40")
    clock[0] += 40
    assert post(staff).status_code == 202


def test_the_form_counts_as_the_api_does(staff: Client, clock: list[float]) -> None:
    assert statuses(CHANGES, lambda: post(staff)) == {202}
    answer = staff.post(DASHBOARD)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "60")
    assert "try again in 60 s" in answer.content.decode()
    clock[0] += 60
    assert staff.post(DASHBOARD).status_code == 302


def test_reading_goes_on(staff: Client) -> None:
    statuses(CHANGES + 1, lambda: post(staff))
    assert statuses(CHANGES + 1, lambda: staff.get(UPDATE)) == {200}
    assert staff.get(DASHBOARD).status_code == 200


def test_the_remote_is_not_asked_without_end(staff: Client, clock: list[float]) -> None:
    assert statuses(FETCHES, lambda: staff.get(f"{STATUS}?fetch=1")) == {200}
    answer = staff.get(f"{STATUS}?fetch=1")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "60")
    assert staff.get(STATUS).status_code == staff.get(f"{STATUS}?fetch=0").status_code == 200
    assert post(staff).status_code == 202
    clock[0] += 60
    assert staff.get(f"{STATUS}?fetch=1").status_code == 200


@pytest.mark.parametrize("yes", ["True", "TRUE", "on", "Yes", "t"])
def test_the_remote_is_not_asked_without_end_in_other_words(staff: Client, yes: str) -> None:
    assert statuses(FETCHES, lambda: staff.get(f"{STATUS}?fetch={yes}")) == {200}
    assert staff.get(f"{STATUS}?fetch={yes}").status_code == 429


def test_each_token_and_each_user_has_a_count_of_its_own(staff: Client, alice: User) -> None:
    statuses(CHANGES + 1, lambda: post(staff))
    for name in ("one", "two"):
        token = ApiToken(user=alice, name=name, scope="update")
        token.issue(by="alice", days=1)
        header = f"Bearer {token.value}"
        asked = [post(Client(), Authorization=header).status_code for _ in range(CHANGES + 1)]
        assert asked == [202] * CHANGES + [429]


def test_what_is_refused_for_want_of_permission_is_not_counted(client: Client, carol: User) -> None:
    client.force_login(carol)
    assert statuses(CHANGES + 1, lambda: post(client)) == {403}


def test_wrong_tokens_are_counted_by_address(clock: list[float]) -> None:
    def guess(address: str) -> Any:
        return Client(REMOTE_ADDR=address).get(UPDATE, headers={"Authorization": "Bearer dam_x"})

    assert statuses(WRONG_TOKENS, lambda: guess("192.0.2.7")) == {401}
    answer = guess("192.0.2.7")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "60")
    assert guess("192.0.2.8").status_code == 401
    clock[0] += 60
    assert guess("192.0.2.7").status_code == 401


def test_a_good_token_gets_through_from_an_address_of_wrong_ones(alice: User) -> None:
    token = ApiToken(user=alice, name="ci")
    token.issue(by="alice", days=1)
    for value in ("dam_x",) * (WRONG_TOKENS + 1):
        last = Client().get(UPDATE, headers={"Authorization": f"Bearer {value}"})
    assert last.status_code == 429
    assert Client().get(UPDATE, headers={"Authorization": f"Bearer {token.value}"}).json()


def test_no_cache_of_the_site_is_needed(staff: Client, settings: Any) -> None:
    dummy = {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}
    settings.CACHES = {"default": dummy}
    answers = [post(staff).status_code for _ in range(CHANGES + 1)]
    assert answers[-1] == 429
    assert json.loads(post(staff).content)["detail"].startswith("Request was throttled.")
