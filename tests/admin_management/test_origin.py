"""Whether it arrives where a request comes from: the self-test, and what can be required."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.test import Client
from playwright.sync_api import expect

from admin_management.models import ApiToken, AuditEvent, Run
from tests.conftest import Checkout, permit
from tests.end_to_end.chromium import address, browser, in_chromium, visit

__all__ = ("address", "browser", "visit")

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_runner")]

ORIGIN = "/admin/origin/"
UPDATE = "/admin/update/"
DASHBOARD = "/admin/dashboard/"


def proxy(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[..., HttpResponse]:
    """A middleware in the place of a proxy that lets neither header through."""

    def answer(request: HttpRequest) -> HttpResponse:
        request.META.pop("HTTP_ORIGIN", None)
        request.META.pop("HTTP_SEC_FETCH_SITE", None)
        return get_response(request)

    return answer


@pytest.fixture
def staff(client: Client, alice: User, checkout: Checkout) -> Client:
    client.force_login(alice)
    return client


@pytest.fixture
def required(staff: Client, settings: Any) -> None:
    settings.ADMIN_MANAGEMENT = settings.ADMIN_MANAGEMENT | {"REQUIRE_ORIGIN": True}


def ask(client: Client, path: str, **headers: str) -> Any:
    return client.post(path, content_type="application/json", headers=headers)


class TestTheSelfTest:
    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"Origin": "http://testserver"},
            {"Sec-Fetch-Site": "same-origin"},
            {"Origin": "http://testserver", "Sec-Fetch-Site": "same-origin"},
        ],
    )
    def test_tells_what_has_arrived(self, staff: Client, headers: dict[str, str]) -> None:
        answer = ask(staff, ORIGIN, **headers)
        assert answer.status_code == 200
        assert answer.json() == {"seen": list(headers)}

    def test_needs_no_permission_but_to_be_staff(
        self, client: Client, bob: User, carol: User
    ) -> None:
        for user, status in ((carol, 200), (bob, 403)):
            client.force_login(user)
            assert ask(client, ORIGIN).status_code == status

    def test_is_not_throttled(self, staff: Client) -> None:
        assert {ask(staff, ORIGIN).status_code for _ in range(50)} == {200}

    def test_its_line_waits_hidden_on_the_dashboard(self, staff: Client) -> None:
        page = staff.get(DASHBOARD).content.decode()
        assert f'role="alert" data-ask="{ORIGIN}" hidden>' in page
        assert "admin_management/origin.js" in page


class TestWhatIsRequired:
    pytestmark = pytest.mark.usefixtures("required")

    @pytest.mark.parametrize("headers", [{}, {"Referer": "http://testserver/admin/dashboard/"}])
    def test_a_change_without_either_header_is_refused(
        self, staff: Client, headers: dict[str, str]
    ) -> None:
        for path in (UPDATE, ORIGIN):
            answer = ask(staff, path, **headers)
            assert answer.status_code == 403
            assert "neither with Origin nor with Sec-Fetch-Site" in answer.json()["detail"]
        page = staff.post(DASHBOARD, headers=headers)
        assert page.status_code == 403
        assert "neither with Origin nor with Sec-Fetch-Site" in page.content.decode()
        assert not Run.objects.exists()

    @pytest.mark.parametrize(
        "headers", [{"Origin": "http://testserver"}, {"Sec-Fetch-Site": "same-origin"}]
    )
    def test_one_of_them_is_enough(self, staff: Client, headers: dict[str, str]) -> None:
        assert ask(staff, UPDATE, **headers).status_code == 202
        assert staff.post(DASHBOARD, headers=headers).status_code == 302

    def test_another_site_is_still_refused(self, staff: Client) -> None:
        assert ask(staff, UPDATE, Origin="https://evil.example").status_code == 403

    def test_a_token_needs_neither(self, alice: User) -> None:
        token = ApiToken(user=alice, name="ci", scope="update")
        token.issue(by="alice", days=1)
        answer = ask(Client(), UPDATE, Authorization=f"Bearer {token.value}")
        assert answer.status_code == 202

    def test_reading_needs_neither(self, staff: Client) -> None:
        assert staff.get(UPDATE).status_code == 200
        assert staff.get(DASHBOARD).status_code == 200


def test_what_is_logged_of_a_refused_address_no_terminal_obeys(
    staff: Client, caplog: pytest.LogCaptureFixture
) -> None:
    path = "/admin/admin_management/apitoken/1%0D%1b]0;live%07%1b[2K/change/"
    response = staff.post(path, headers={"Sec-Fetch-Site": "cross-site"})
    assert response.status_code == 403
    assert [message for message in caplog.messages if "apitoken" in message]
    assert all(message.isprintable() for message in caplog.messages)


class TestInABrowser:
    pytestmark = [*in_chromium, pytest.mark.django_db(transaction=True)]

    def test_the_line_stays_hidden_where_all_is_well(self, visit: Any) -> None:
        alices = visit()
        address = alices.page.url
        # Or the answer that is awaited might be the first page's, and go away with it.
        alices.page.goto("about:blank")
        with alices.page.expect_response(f"**{ORIGIN}") as answer:
            alices.page.goto(address)
        assert set(answer.value.json()["seen"]) == {"Origin", "Sec-Fetch-Site"}
        expect(alices.page.locator(".am-origin")).to_be_hidden()
        assert alices.complaints == []

    @pytest.mark.parametrize("is_required", [False, True])
    def test_the_line_shows_behind_a_proxy_that_removes_both(
        self, settings: Any, request: pytest.FixtureRequest, *, is_required: bool
    ) -> None:
        settings.MIDDLEWARE = [f"{__name__}.proxy", *settings.MIDDLEWARE]
        # The site is started only now, with that middleware.
        begin = request.getfixturevalue("visit")
        settings.ADMIN_MANAGEMENT = settings.ADMIN_MANAGEMENT | {"REQUIRE_ORIGIN": is_required}
        line = begin().page.locator(".am-origin")
        expect(line).to_be_visible()
        expect(line).to_contain_text("let the proxy in front of it pass on Origin")


FOREIGN = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Referer": "http://evil.example/"},
    {"Origin": "http://evil.example"},
]


class TestAForm:
    """Of one who knows even the token of Django's forms, as a sibling subdomain may."""

    @pytest.fixture
    def browser_of_alice(self, alice: User, checkout: Checkout) -> Client:
        permit(alice, "add_apitoken", "revoke_apitoken", "manage_secrets")
        client = Client(enforce_csrf_checks=True)
        client.force_login(alice)
        client.get(DASHBOARD)
        return client

    def send(self, client: Client, path: str, headers: dict[str, str], **fields: str) -> int:
        token = client.cookies["csrftoken"].value
        form = {"csrfmiddlewaretoken": token, **fields}
        return int(client.post(path, form, headers=headers).status_code)

    @pytest.mark.parametrize("headers", FOREIGN, ids=str)
    @pytest.mark.parametrize("name", ["", "hold/", "release/", "webhook-secrets/"])
    def test_with_the_token_of_a_form_is_refused_to_other_sites(
        self, browser_of_alice: Client, headers: dict[str, str], name: str
    ) -> None:
        path = f"{DASHBOARD}{name}"
        assert self.send(browser_of_alice, path, headers, reason="why not") == 403
        assert not Run.objects.exists()
        assert not AuditEvent.objects.exists()
        assert self.send(browser_of_alice, path, {}, reason="why not") in (200, 302)

    @pytest.mark.parametrize("headers", FOREIGN, ids=str)
    def test_no_other_site_has_a_token_made_or_revoked(
        self, browser_of_alice: Client, headers: dict[str, str]
    ) -> None:
        admin, form = "/admin/admin_management/apitoken/", {"name": "ci", "days": "1"}
        making = {**form, "scope": "update"}
        assert self.send(browser_of_alice, f"{admin}add/", headers, **making) == 403
        assert not ApiToken.objects.exists()
        assert self.send(browser_of_alice, f"{admin}add/", {}, **making) == 200
        token = ApiToken.objects.get()
        revoking = {"action": "revoke", "_selected_action": str(token.pk)}
        assert self.send(browser_of_alice, admin, headers, **revoking) == 403
        assert self.send(browser_of_alice, admin, {}, **revoking) == 302
        assert not ApiToken.objects.usable().exists()

    def test_with_an_origin_required_a_token_is_not_made_without_one(
        self, browser_of_alice: Client, settings: Any
    ) -> None:
        settings.ADMIN_MANAGEMENT = settings.ADMIN_MANAGEMENT | {"REQUIRE_ORIGIN": True}
        path, form = "/admin/admin_management/apitoken/add/", {"name": "ci", "days": "1"}
        assert self.send(browser_of_alice, path, {}, scope="read", **form) == 403
        own = {"Origin": "http://testserver"}
        assert self.send(browser_of_alice, path, own, scope="read", **form) == 200
