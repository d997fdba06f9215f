"""Whatever is answered at an address of ours is not cached, not framed and not guessed at."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib.auth.models import User
from django.test import Client, override_settings
from hypothesis import given
from hypothesis import strategies as st

from admin_management.headers import content_security_policy
from admin_management.machine import node
from admin_management.models import Run
from tests.conftest import Checkout

from .addresses import ROUTES, address

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_runner")]

METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE")


def assert_protected(answer: Any) -> None:
    request, headers = answer.request, answer.headers
    told = f"{request['REQUEST_METHOD']} {request['PATH_INFO']} {answer.status_code}"
    assert headers["Cache-Control"] == "no-store", told
    assert headers["X-Content-Type-Options"] == "nosniff", told
    assert headers["X-Frame-Options"] == "DENY", told
    policy = headers["Content-Security-Policy"].split("; ")
    assert policy[0] in ("default-src 'self'", "default-src 'none'"), told
    assert {"frame-ancestors 'none'", "base-uri 'none'"} <= set(policy), told
    assert "unsafe" not in headers["Content-Security-Policy"], told


@pytest.mark.parametrize("name", ROUTES)
def test_pages_and_refusals_alike(
    name: str, alice: User, bob: User, carol: User, checkout: Checkout
) -> None:
    run = Run.objects.create(node=node(), trigger="api", status="failed")
    places = {address(name), address(name, str(run.pk))}
    for user in (None, bob, carol, alice):
        client = Client()
        if user:
            client.force_login(user)
        for place in places:
            for method in METHODS:
                assert_protected(client.generic(method, place))
            assert_protected(client.get(place, headers={"Accept": "text/html"}))


@pytest.mark.parametrize("is_global", [True, False])
def test_a_form_without_its_token(alice: User, settings: Any, is_global: bool) -> None:
    if not is_global:
        settings.MIDDLEWARE = [each for each in settings.MIDDLEWARE if "Csrf" not in each]
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    for name in ("dashboard", "hold", "release", "cancel", "rollback", "new_webhook_secret"):
        answer = client.post(address(name))
        assert answer.status_code == 403, name
        assert_protected(answer)
    assert not Run.objects.exists()


HOSTS = st.from_regex(r"[a-z][a-z0-9.-]{0,20}(:[0-9]{2,5})?", fullmatch=True)


@given(st.sampled_from(["https://", "http://", "//"]), HOSTS, st.text(max_size=20))
def test_the_policy_names_the_host_of_the_static_files_and_no_other_word(
    scheme: str, host: str, folder: str
) -> None:
    url = f"{scheme}{host}/{quote(folder, safe='')}/"
    with override_settings(STATIC_URL=url):
        policy = content_security_policy()
    sources = f"{scheme.removeprefix('//')}{host}"
    assert policy.split("; ") == [
        f"default-src 'self' {sources}",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "object-src 'none'",
    ]


@given(st.text(max_size=20))
def test_the_policy_of_a_site_that_serves_its_own_is_always_the_same(folder: str) -> None:
    with override_settings(STATIC_URL=f"/{quote(folder, safe='')}/"):
        assert content_security_policy().startswith("default-src 'self'; base-uri 'none'; ")


def test_a_body_that_is_refused_and_a_page_of_another_site(client: Client, alice: User) -> None:
    client.force_login(alice)
    for body, headers, status in (
        ("{", {}, 400),
        ("x" * 70_000, {}, 413),
        ("{}", {"Origin": "https://evil.example"}, 403),
        ("{}", {"Accept": "image/png"}, 406),
        ("{}", {"Authorization": "Bearer x"}, 401),
        ("{}", {"Idempotency-Key": "x" * 256}, 400),
    ):
        answer = client.post(
            "/admin/update/", body, content_type="application/json", headers=headers
        )
        assert answer.status_code == status
        assert_protected(answer)


def test_too_many_changes(client: Client, alice: User) -> None:
    client.force_login(alice)
    for path in ("/admin/update/", "/admin/dashboard/"):
        while (answer := client.post(path, content_type="application/json")).status_code != 429:
            assert_protected(answer)
        assert_protected(answer)


def test_an_update_that_is_not_there_is_told_on_a_page_of_ours(client: Client, alice: User) -> None:
    client.force_login(alice)
    page = client.get(address("run"))
    assert page.status_code == 404
    assert "There is no such update." in page.content.decode()
    assert "<style" not in page.content.decode()


def test_an_answer_needs_no_collected_files(
    client: Client, alice: User, settings: Any, tmp_path: Path
) -> None:
    storage = "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"
    settings.STORAGES = {**settings.STORAGES, "staticfiles": {"BACKEND": storage}}
    settings.STATIC_ROOT = str(tmp_path)
    for status in (401, 200):
        answer = client.get(address("update-list"), headers={"Accept": "application/json"})
        assert answer.status_code == status
        assert_protected(answer)
        client.force_login(alice)
