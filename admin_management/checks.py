"""Everything a site can get wrong is a system check with a stable id and a hint what to do."""

import json
import re
from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.core import checks
from django.db import DEFAULT_DB_ALIAS, connections, router
from django.urls import NoReverseMatch, get_script_prefix, resolve, reverse

from .conf import AdminManagementSettings
from .exceptions import SettingsError

SQLITE_OPTIONS = {
    "transaction_mode": "IMMEDIATE",
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
}
"""What lets the writers of an SQLite database wait for each other instead of failing."""


def check_settings(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: object
) -> list[checks.CheckMessage]:
    """E001: ``ADMIN_MANAGEMENT`` is wrong."""
    try:
        AdminManagementSettings.load()
    except SettingsError as error:
        return [checks.Error(str(error), hint=error.hint, id="admin_management.E001")]
    return []


def check_apps(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: object
) -> list[checks.CheckMessage]:
    """E002: Django's admin is not installed. I001: there are no browsable pages of the API."""
    found: list[checks.CheckMessage] = []
    if not apps.is_installed("django.contrib.admin"):
        found.append(
            checks.Error(
                "django.contrib.admin is not installed: the dashboard is a page of it.",
                hint='Add "django.contrib.admin" to INSTALLED_APPS and its URLs to yours.',
                id="admin_management.E002",
            )
        )
    if not apps.is_installed("rest_framework"):
        found.append(
            checks.Info(
                "rest_framework is not installed: the API answers in JSON only.",
                hint='Add "rest_framework" to INSTALLED_APPS for the browsable pages.',
                id="admin_management.I001",
            )
        )
    return found


def check_time_zone(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: object
) -> list[checks.CheckMessage]:
    """E004: times without a zone are ambiguous, and differ between a journal and the database."""
    if settings.USE_TZ:
        return []
    return [
        checks.Error(
            "USE_TZ is False: the times of updates need a time zone.",
            hint="Set USE_TZ = True, Django's default.",
            id="admin_management.E004",
        )
    ]


def check_database(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: object
) -> list[checks.CheckMessage]:
    """W001: requests at the same time would find the SQLite database locked."""
    connection: Any = connections[DEFAULT_DB_ALIAS]
    if connection.vendor != "sqlite" or connection.is_in_memory_db():
        return []
    options = connection.settings_dict["OPTIONS"]
    immediate = str(options.get("transaction_mode")).upper() == "IMMEDIATE"
    wal = re.search(r"journal_mode\W+WAL\b", options.get("init_command") or "", re.IGNORECASE)
    if immediate and wal:
        return []
    return [
        checks.Warning(
            "The SQLite database does not let writers wait for each other.",
            hint=f'Write in DATABASES["default"]: "OPTIONS": {json.dumps(SQLITE_OPTIONS)}.',
            id="admin_management.W001",
        )
    ]


def check_router(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: object
) -> list[checks.CheckMessage]:
    """E005: a router puts our tables elsewhere, or lets them be read from a replica."""
    return misplaced("admin_management", id="admin_management.E005")


def misplaced(app_label: str, *, id: str) -> list[checks.CheckMessage]:  # noqa: A002 - Django's word
    """An error if not all tables of an app are written to, and read from, the default database.

    What was just asked must be seen at once, and be in one transaction with what it has led to.
    """
    for model in apps.get_app_config(app_label).get_models():
        places = {router.db_for_read(model), router.db_for_write(model)}
        if places != {DEFAULT_DB_ALIAS}:
            return [
                checks.Error(
                    f"A router of DATABASE_ROUTERS sends {model._meta.label} to "
                    f"{', '.join(sorted(places))}.",
                    hint=f'Let it return "{DEFAULT_DB_ALIAS}" for the app {app_label}.',
                    id=id,
                )
            ]
    return []


def check_urls(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: object
) -> list[checks.CheckMessage]:
    """E003: another view answers at our addresses, usually the admin's, which takes all of them."""
    if not getattr(settings, "ROOT_URLCONF", None):
        return []
    for name in ("dashboard", "status", "health", "update-list"):
        try:
            address = "/" + reverse(f"admin_management:{name}").removeprefix(get_script_prefix())
        except NoReverseMatch:
            return []
        answers = resolve(address)
        if answers.app_name != "admin_management":
            return [
                checks.Error(
                    f"{address} is answered by {answers.view_name}.",
                    hint='Put include("admin_management.urls") before admin.site.urls.',
                    id="admin_management.E003",
                )
            ]
    return []
