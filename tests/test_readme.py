"""The README says what is true."""

import re
from dataclasses import fields
from pathlib import Path

from django.core.management import load_command_class
from django.urls import resolve

from admin_management.conf import DEFAULT_TIMEOUTS, AdminManagementSettings
from admin_management.permissions import Permission
from admin_management.runner.status import Status
from webhooks.conf import KEYS
from webhooks.panel import DOORS

from .named import named_tests_of

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def keys_of_table(setting: str) -> dict[str, str]:
    """Key and default of each row of the table that the setting's name announces."""
    table = README.split("## Settings")[1].split(f"`{setting}`:\n\n")[1].split("\n\n")[0]
    return dict(re.findall(r"^\| `([A-Z_0-9]+)` \| (.*?) \|", table, re.MULTILINE))


def test_the_table_of_admin_management_lists_every_key() -> None:
    documented = list(keys_of_table("ADMIN_MANAGEMENT"))
    assert documented == [field.name.upper() for field in fields(AdminManagementSettings)]


def test_the_table_of_admin_management_gives_the_defaults_of_the_code() -> None:
    defaults = AdminManagementSettings(checkout=ROOT)
    for key, documented in keys_of_table("ADMIN_MANAGEMENT").items():
        if documented.startswith('`"'):
            assert documented.strip('`"') == getattr(defaults, key.lower())


def test_the_table_of_webhooks_lists_every_key() -> None:
    documented = list(keys_of_table("WEBHOOKS"))
    assert documented == list(KEYS)


def test_the_table_of_steps_gives_the_time_outs_of_the_code() -> None:
    table = README.split("## What an update does")[1].split("\n\n")[1]
    documented = [int(seconds) for seconds in re.findall(r"\| (\d+) s \|", table)]
    assert documented == list(DEFAULT_TIMEOUTS.values())


def test_every_address_of_the_api_exists() -> None:
    run = "00000000-0000-0000-0000-000000000000"
    addresses = re.findall(r"^\| `(?:GET|POST|DELETE) (/[^`?]*)", README, re.MULTILINE)
    assert len(addresses) == 15
    for address in addresses:
        resolve(address.replace("<id>", run))


def test_the_table_of_permissions_lists_every_permission() -> None:
    table = README.split("Who may do what")[1].split("An OpenAPI schema")[0]
    documented = re.findall(r"^\| `(\w+\.\w+)`", table, re.MULTILINE)
    assert sorted(documented) == sorted({*(each.label for each in Permission), *DOORS.values()})


DJANGO_S = {"check", "collectstatic", "createsuperuser", "migrate"}


def test_every_management_command_exists() -> None:
    commands = set(re.findall(r"python manage\.py (\w+)", README)) - DJANGO_S
    shipped = {
        path.stem: app
        for app in ("admin_management", "webhooks")
        for path in (ROOT / app / "management/commands").glob("[!_]*.py")
    }
    # Executed by an update, and not by a person.
    assert commands == set(shipped) - {"rehearse_update", "undo_migrations"}
    for command in commands:
        load_command_class(shipped[command], command)


def test_the_statuses_are_those_of_the_code() -> None:
    row = re.search(r"^\| status \| `(.*?)` \|", README, re.MULTILINE)
    assert row is not None
    assert set(re.split(r" (?:→|/) ", row[1])) == {status.value for status in Status}


def test_every_linked_file_exists() -> None:
    documents = [ROOT / "README.md", ROOT / "SECURITY.md", *(ROOT / "docs").glob("*.md")]
    for document in documents:
        for link in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
            if "://" not in link:
                assert (document.parent / link).exists(), f"{document.name} links to {link}"


def test_each_promise_names_a_test_that_exists() -> None:
    promises = (ROOT / "docs/security.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[\w/]+\.py)::([\w:]+)`", promises)
    assert len(named) > 50
    for path, name in named:
        assert name in named_tests_of(ROOT / path), f"{path} has no {name}"
