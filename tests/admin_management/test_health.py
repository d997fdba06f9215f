"""The health address, and the same asked without a socket."""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core.handlers.wsgi import WSGIHandler
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.sqlite3.base import DatabaseWrapper
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import include, path, set_script_prefix

from admin_management.exceptions import DatabaseDownError, NotHealthyError
from admin_management.health import Release, answer_in_process
from admin_management.runner.process import start_time
from admin_management.runner.state import StateDirectory
from tests.conftest import Checkout

OURS = path("admin/", include("admin_management.urls"))
HEALTH = "/admin/health/"


@pytest.fixture
def token(checkout: Checkout) -> str:
    """What the runner knows."""
    state = StateDirectory.of(checkout.path)
    state.create()
    return state.health_token()


@pytest.fixture
def database_down(django_db_blocker: Any, tmp_path: Path) -> Iterator[None]:
    """A database that cannot be opened, as the site's own views would find it."""
    usual = connections[DEFAULT_DB_ALIAS]
    settings = usual.settings_dict | {"NAME": str(tmp_path / "no such folder" / "db.sqlite3")}
    connections[DEFAULT_DB_ALIAS] = DatabaseWrapper(settings, DEFAULT_DB_ALIAS)
    with django_db_blocker.unblock():
        yield
    connections[DEFAULT_DB_ALIAS] = usual


class TestTheAddress:
    def test_tells_anybody_no_more_than_that_the_site_is_well(
        self, db: None, token: str, client: Client
    ) -> None:
        answer = client.get(HEALTH)
        assert (answer.status_code, answer.json()) == (200, {"ok": True})

    def test_is_never_kept(self, db: None, client: Client) -> None:
        assert "no-store" in client.get(HEALTH)["Cache-Control"]

    def test_asks_for_no_session(
        self, db: None, client: Client, django_assert_num_queries: Any
    ) -> None:
        client.cookies["sessionid"] = "x" * 32
        with django_assert_num_queries(1):
            answer = client.get(HEALTH)
        assert not answer.cookies

    def test_asks_for_no_login_where_all_else_does(
        self, db: None, client: Client, settings: Any
    ) -> None:
        login = "django.contrib.auth.middleware.LoginRequiredMiddleware"
        settings.MIDDLEWARE = [*settings.MIDDLEWARE, login]
        assert client.get(HEALTH).status_code == 200

    def test_only_reads(self, db: None, client: Client) -> None:
        assert client.post(HEALTH).status_code == 405
        assert client.head(HEALTH).status_code == 200

    def test_says_that_the_database_is_down(
        self, database_down: None, token: str, client: Client
    ) -> None:
        answer = client.get(HEALTH)
        assert (answer.status_code, answer.json()) == (503, {"ok": False, "problem": "database"})
        answer = client.get(HEALTH, headers={"X-Health-Token": token})
        assert answer.json() | {"ok": False, "pid": os.getpid()} == answer.json()


class TestTheIdentity:
    def test_is_told_to_the_holder_of_the_token(
        self, db: None, token: str, client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        began = datetime(2026, 11, 25, 12, 30, tzinfo=UTC)
        config = apps.get_app_config("admin_management")
        monkeypatch.setattr(config, "release", Release("1" * 40, began))
        answer = client.get(HEALTH, headers={"X-Health-Token": token}).json()
        assert answer == {
            "ok": True,
            "revision": "1" * 40,
            "started_at": "2026-11-25T12:30:00Z",
            "pid": os.getpid(),
            "boot_ticks": start_time(os.getpid()),
        }

    @pytest.mark.parametrize("given", ["", "wrong", "\xff", "0" * 64])
    def test_is_told_to_nobody_else(self, db: None, token: str, client: Client, given: str) -> None:
        answer = client.get(HEALTH, headers={"X-Health-Token": given})
        assert (answer.status_code, answer.json()) == (200, {"ok": True})

    @pytest.mark.parametrize("given", ["", "None"])
    def test_is_told_to_nobody_before_there_is_a_token(
        self, db: None, checkout: Checkout, client: Client, given: str
    ) -> None:
        answer = client.get(HEALTH, headers={"X-Health-Token": given})
        assert answer.json() == {"ok": True}
        assert not StateDirectory.of(checkout.path).path.exists()

    def test_is_told_to_nobody_outside_of_a_checkout(
        self, db: None, tmp_path: Path, settings: Any, client: Client
    ) -> None:
        for wrong in ({"CHECKOUT": tmp_path}, {"CHECKUOT": tmp_path}):
            settings.ADMIN_MANAGEMENT = wrong
            answer = client.get(HEALTH, headers={"X-Health-Token": "x"})
            assert answer.json() == {"ok": True}

    def test_was_read_when_the_application_was_made(self) -> None:
        release = apps.get_app_config("admin_management").release  # type: ignore[attr-defined]
        assert timedelta(0) < datetime.now(UTC) - release.started_at < timedelta(hours=2)

    def test_is_the_commit_that_was_on_disk(self, checkout: Checkout) -> None:
        release = Release.on_disk()
        checkout.git("commit", "--quiet", "--allow-empty", "--message", "Later")
        assert release.revision != checkout.revision() == Release.on_disk().revision

    def test_of_a_site_that_is_no_checkout_is_unknown(self, tmp_path: Path, settings: Any) -> None:
        settings.ADMIN_MANAGEMENT = {"CHECKOUT": tmp_path}
        assert Release.on_disk().revision is None
        settings.ADMIN_MANAGEMENT = {"CHECKUOT": tmp_path}
        assert Release.on_disk().revision is None


def site_of(settings: Any, *views: Callable[[HttpRequest], HttpResponse]) -> WSGIHandler:
    """An application of ours and of these views, each at an address of its name."""
    settings.ROOT_URLCONF = (OURS, *(path(f"{view.__name__}/", view) for view in views))
    return WSGIHandler()


class TestInProcess:
    def test_a_healthy_site_passes(self, transactional_db: None, settings: Any) -> None:
        answer_in_process(site_of(settings))

    def test_a_database_that_is_down_is_an_error_of_its_own(
        self, database_down: None, settings: Any
    ) -> None:
        with pytest.raises(DatabaseDownError, match="/admin/health/ answered 503"):
            answer_in_process(site_of(settings))

    def test_a_site_that_requires_https_is_asked_over_it(
        self, transactional_db: None, settings: Any
    ) -> None:
        settings.SECURE_SSL_REDIRECT = True
        answer_in_process(site_of(settings))
        settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
        answer_in_process(site_of(settings))

    @pytest.mark.parametrize(
        ("allowed", "host"),
        [
            ([], "localhost"),
            (["*"], "localhost"),
            (["*", ".example.com"], "example.com"),
            (["school.example", "localhost"], "school.example"),
            (["[::1]"], "[::1]"),
        ],
    )
    def test_the_host_is_one_that_is_allowed(
        self, transactional_db: None, settings: Any, allowed: list[str], host: str
    ) -> None:
        hosts: list[str] = []

        def own(request: HttpRequest) -> HttpResponse:
            hosts.append(request.get_host())
            return HttpResponse()

        settings.DEBUG = True
        settings.ALLOWED_HOSTS = allowed
        settings.ADMIN_MANAGEMENT = {"HEALTH_URL": "/own/"}
        answer_in_process(site_of(settings, own))
        assert hosts == [host]

    def test_a_site_that_prepends_www_is_asked_with_it(
        self, transactional_db: None, settings: Any
    ) -> None:
        settings.PREPEND_WWW = True
        settings.ALLOWED_HOSTS = [".example.com"]
        answer_in_process(site_of(settings))
        settings.ALLOWED_HOSTS = ["www.example.com"]
        answer_in_process(site_of(settings))

    def test_a_site_below_a_prefix_is_asked_there(
        self, transactional_db: None, settings: Any
    ) -> None:
        settings.FORCE_SCRIPT_NAME = "/app"
        set_script_prefix("/app/")
        try:
            answer_in_process(site_of(settings))
        finally:
            set_script_prefix("/")

    def test_a_site_that_does_not_include_us_is_told_so(self, settings: Any) -> None:
        settings.ROOT_URLCONF = ()
        with pytest.raises(NotHealthyError, match=r'does not include "admin_management\.urls"'):
            answer_in_process(WSGIHandler())

    def test_addresses_that_cannot_be_imported_are_not_healthy(self, settings: Any) -> None:
        settings.ROOT_URLCONF = "tests.no_such_urls"
        with pytest.raises(
            NotHealthyError, match=r"imported \(ModuleNotFoundError: .*no_such_urls"
        ):
            answer_in_process(WSGIHandler())

    def test_an_error_in_the_middleware_is_named(
        self, transactional_db: None, settings: Any
    ) -> None:
        settings.MIDDLEWARE = [f"{__name__}.broken_middleware"]
        with pytest.raises(NotHealthyError) as raised:
            answer_in_process(site_of(settings))
        assert "answered 500 Internal Server Error (KeyError: 'tenant')" in str(raised.value)
        assert not isinstance(raised.value, DatabaseDownError)

    def test_an_application_that_raises_answers_nothing(self, settings: Any) -> None:
        def application(environ: Any, start_response: Any) -> Iterable[bytes]:
            raise OSError("no cache server")

        site_of(settings)
        with pytest.raises(NotHealthyError, match=r"answered nothing \(OSError: no cache server"):
            answer_in_process(application)

    @pytest.mark.parametrize(
        "body", [b"down for maintenance", b"[]", b'{"problem": "disk"}', b"5", b"{}"]
    )
    def test_another_503_says_nothing_of_the_database(self, settings: Any, body: bytes) -> None:
        closed: list[bool] = []

        class Chunks(list[bytes]):
            def close(self) -> None:
                closed.append(True)

        def application(environ: Any, start_response: Any) -> Iterable[bytes]:
            start_response("503 Service Unavailable", [])
            return Chunks([body])

        site_of(settings)
        with pytest.raises(NotHealthyError, match="answered 503") as raised:
            answer_in_process(application)
        assert not isinstance(raised.value, DatabaseDownError)
        assert closed == [True]


class TestTheSitesOwnAddress:
    @pytest.mark.parametrize(
        ("url", "asked"),
        [
            ("/own/?deep=1", "/own/?deep=1"),
            ("http://127.0.0.1:8000/own/", "/own/"),
            ("https://localhost/own/?a=b&c=d", "/own/?a=b&c=d"),
            ("/%6Fwn/", "/own/"),
        ],
    )
    def test_is_asked_too(
        self, transactional_db: None, settings: Any, url: str, asked: str
    ) -> None:
        requests: list[str] = []

        def own(request: HttpRequest) -> HttpResponse:
            requests.append(request.get_full_path())
            return HttpResponse(status=204)

        settings.ADMIN_MANAGEMENT = {"HEALTH_URL": url}
        answer_in_process(site_of(settings, own))
        assert requests == [asked]

    def test_of_a_host_alone_is_its_first_page(self, transactional_db: None, settings: Any) -> None:
        settings.ADMIN_MANAGEMENT = {"HEALTH_URL": "http://localhost"}
        with pytest.raises(NotHealthyError, match=r"^/ answered 404 Not Found"):
            answer_in_process(site_of(settings))

    def test_must_not_fail(self, transactional_db: None, settings: Any) -> None:
        def own(request: HttpRequest) -> HttpResponse:
            raise ZeroDivisionError("of the new release")

        settings.ADMIN_MANAGEMENT = {"HEALTH_URL": "/own/"}
        with pytest.raises(NotHealthyError) as raised:
            answer_in_process(site_of(settings, own))
        assert str(raised.value) == (
            "/own/ answered 500 Internal Server Error (ZeroDivisionError: of the new release)"
        )

    def test_that_leads_elsewhere_is_named_with_where(
        self, transactional_db: None, settings: Any
    ) -> None:
        settings.ADMIN_MANAGEMENT = {"HEALTH_URL": "/own"}
        with pytest.raises(NotHealthyError, match="/own answered 301 Moved Permanently to /own/"):
            answer_in_process(site_of(settings, lambda_view()))

    def test_with_503_is_not_taken_for_our_database(
        self, transactional_db: None, settings: Any
    ) -> None:
        def own(request: HttpRequest) -> HttpResponse:
            return HttpResponse(json.dumps({"problem": "database"}), status=503)

        settings.ADMIN_MANAGEMENT = {"HEALTH_URL": "/own/"}
        with pytest.raises(NotHealthyError) as raised:
            answer_in_process(site_of(settings, own))
        assert not isinstance(raised.value, DatabaseDownError)


def lambda_view() -> Callable[[HttpRequest], HttpResponse]:
    def own(request: HttpRequest) -> HttpResponse:
        raise AssertionError("it is never asked")

    return own


def broken_middleware(get_response: Callable[[HttpRequest], HttpResponse]) -> Any:
    def middleware(request: HttpRequest) -> HttpResponse:
        raise KeyError("tenant")

    return middleware
