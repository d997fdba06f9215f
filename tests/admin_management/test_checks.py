"""Everything a site can get wrong is a check with an id that stays."""

import json
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.core.checks import CheckMessage, run_checks
from django.db import DEFAULT_DB_ALIAS
from django.db.backends.sqlite3.base import DatabaseWrapper
from django.http import HttpRequest, HttpResponse
from django.urls import include, path, set_script_prefix

import webhooks.checks
from admin_management import checks

OURS = path("admin/", include("admin_management.urls"))
ADMIN = path("admin/", admin.site.urls)


def ids(messages: list[CheckMessage]) -> list[str | None]:
    return [message.id for message in messages]


def sqlite(monkeypatch: pytest.MonkeyPatch, name: str, options: dict[str, Any]) -> None:
    """Let the checks see this database, which nobody opens."""
    settings = {"ENGINE": "django.db.backends.sqlite3", "NAME": name, "OPTIONS": options}
    connections = {DEFAULT_DB_ALIAS: DatabaseWrapper(settings)}
    monkeypatch.setattr(checks, "connections", connections)


@pytest.mark.django_db
def test_a_site_as_the_readme_describes_it_is_silent() -> None:
    ours = [message for message in run_checks() if "admin_management" in str(message.id)]
    assert ours == []


@pytest.mark.django_db
def test_every_check_is_registered(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.ADMIN_MANAGEMENT = {"BRANHC": "main"}
    settings.ROOT_URLCONF = (ADMIN, OURS)
    sqlite(monkeypatch, "/srv/db.sqlite3", {})
    monkeypatch.setattr(apps, "is_installed", lambda name: False)
    found = {
        *ids(checks.check_settings()),
        *ids(checks.check_apps()),
        *ids(checks.check_database()),
        *ids(checks.check_urls()),
    }
    assert {each for each in ids(run_checks()) if "admin_management" in str(each)} >= found
    assert found == {
        "admin_management.E001",
        "admin_management.E002",
        "admin_management.E003",
        "admin_management.I001",
        "admin_management.W001",
    }


def test_e001_a_setting_is_wrong(settings: Any) -> None:
    settings.ADMIN_MANAGEMENT = {"BRANHC": "main"}
    (message,) = checks.check_settings()
    assert message.id == "admin_management.E001"
    assert message.is_serious()
    assert "BRANHC" in message.msg
    assert "BRANCH" in str(message.hint)


def test_e002_the_admin_is_not_installed(settings: Any) -> None:
    settings.INSTALLED_APPS = ["admin_management", "rest_framework"]
    (message,) = checks.check_apps()
    assert message.id == "admin_management.E002"
    assert message.is_serious()
    assert "django.contrib.admin" in str(message.hint)


def test_i001_there_are_no_browsable_pages(settings: Any) -> None:
    settings.INSTALLED_APPS = [each for each in settings.INSTALLED_APPS if each != "rest_framework"]
    (message,) = checks.check_apps()
    assert message.id == "admin_management.I001"
    assert not message.is_serious()
    assert "rest_framework" in str(message.hint)


class TestW001:
    @pytest.mark.parametrize(
        "options",
        [
            checks.SQLITE_OPTIONS,
            {
                "transaction_mode": "immediate",
                "init_command": "pragma synchronous=full;pragma journal_mode = wal;",
            },
        ],
    )
    def test_writers_that_wait_for_each_other_are_fine(
        self, monkeypatch: pytest.MonkeyPatch, options: dict[str, str]
    ) -> None:
        sqlite(monkeypatch, "/srv/db.sqlite3", options)
        assert checks.check_database() == []

    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"transaction_mode": None, "init_command": None},
            {"transaction_mode": "IMMEDIATE"},
            {"init_command": checks.SQLITE_OPTIONS["init_command"]},
            checks.SQLITE_OPTIONS | {"transaction_mode": "DEFERRED"},
            checks.SQLITE_OPTIONS | {"init_command": "PRAGMA journal_mode=DELETE"},
            checks.SQLITE_OPTIONS | {"init_command": "PRAGMA synchronous=NORMAL"},
        ],
    )
    def test_others_are_told_what_to_write(
        self, monkeypatch: pytest.MonkeyPatch, options: dict[str, str]
    ) -> None:
        sqlite(monkeypatch, "/srv/db.sqlite3", options)
        (message,) = checks.check_database()
        assert message.id == "admin_management.W001"
        assert 'DATABASES["default"]' in str(message.hint)
        assert (
            '"OPTIONS": {"transaction_mode": "IMMEDIATE", "init_command": '
            '"PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL"}'
        ) in str(message.hint)
        json.loads(str(message.hint).split('"OPTIONS": ')[1].rstrip("."))

    @pytest.mark.parametrize("name", [":memory:", "file:memorydb_default?mode=memory&cache=shared"])
    def test_a_database_in_memory_has_only_one_writer(
        self, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        sqlite(monkeypatch, name, {})
        assert checks.check_database() == []

    def test_another_database_needs_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        sqlite(monkeypatch, "/srv/db.sqlite3", {})
        monkeypatch.setattr(DatabaseWrapper, "vendor", "postgresql")
        assert checks.check_database() == []


class Elsewhere:
    """A router that reads from a replica."""

    def db_for_read(self, model: type, **_: object) -> str:
        return "replica"


class TestE005:
    @pytest.mark.parametrize(
        ("check", "table"),
        [
            (checks.check_router, "admin_management.Run"),
            (webhooks.checks.check_router, "github_webhooks.Delivery"),
        ],
    )
    def test_tables_that_are_read_from_a_replica_are_told(
        self, settings: Any, check: Any, table: str
    ) -> None:
        assert check() == []
        settings.DATABASE_ROUTERS = [Elsewhere()]
        (message,) = check()
        assert message.msg == f"A router of DATABASE_ROUTERS sends {table} to default, replica."
        assert 'Let it return "default"' in message.hint


class TestE003:
    def test_ours_before_the_admins_is_right(self, settings: Any) -> None:
        settings.ROOT_URLCONF = (OURS, ADMIN)
        assert checks.check_urls() == []

    def test_the_admins_before_ours_is_wrong(self, settings: Any) -> None:
        settings.ROOT_URLCONF = (ADMIN, OURS)
        (message,) = checks.check_urls()
        assert message.id == "admin_management.E003"
        assert message.is_serious()
        assert message.msg.startswith("/admin/dashboard/ is answered by admin:")
        assert 'include("admin_management.urls") before admin.site.urls' in str(message.hint)

    def test_a_view_of_the_site_at_one_of_our_addresses_is_named(self, settings: Any) -> None:
        def status(request: HttpRequest) -> HttpResponse:
            raise AssertionError("it is never asked")

        settings.ROOT_URLCONF = (path("admin/status/", status), OURS, ADMIN)
        (message,) = checks.check_urls()
        assert message.msg.startswith("/admin/status/ is answered by ")
        assert "status" in message.msg

    def test_other_places_are_right_too(self, settings: Any) -> None:
        settings.ROOT_URLCONF = (ADMIN, path("updates/", include("admin_management.urls")))
        assert checks.check_urls() == []

    def test_a_site_below_a_prefix_is_right(self, settings: Any) -> None:
        settings.ROOT_URLCONF = (OURS, ADMIN)
        set_script_prefix("/app/")
        try:
            assert checks.check_urls() == []
        finally:
            set_script_prefix("/")

    @pytest.mark.parametrize("urls", [(ADMIN,), (), None])
    def test_a_site_that_does_not_include_ours_is_let_alone(self, settings: Any, urls: Any) -> None:
        settings.ROOT_URLCONF = urls
        assert checks.check_urls() == []


def test_times_without_a_zone_are_an_error(settings: Any) -> None:
    assert checks.check_time_zone() == []
    settings.USE_TZ = False
    (found,) = checks.check_time_zone()
    assert found.id == "admin_management.E004"
