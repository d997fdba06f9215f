"""Whatever is answered at an address of ours is not cached, not framed and not guessed at."""

from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from admin_management.conf import node
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
