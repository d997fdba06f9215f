"""``manage.py undo_migrations``, on a database file of its own."""

from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError

from admin_management.runner.rollback import HALF_APPLIED
from admin_management.runner.rollback import IRREVERSIBLE as EXIT_CODE

from .shop import FAILS, IRREVERSIBLE, Shop, row, table


@pytest.fixture
def shop(
    tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch, django_db_blocker: Any
) -> Iterator[Shop]:
    """Three migrations, all applied."""
    monkeypatch.syspath_prepend(tmp_path)
    shop = Shop.open(tmp_path)
    shop.migration("0001_first", table("first"), row("1"))
    shop.migration("0002_second", table("second"), row("2"), after="0001_first")
    shop.migration("0003_third", table("third"), row("3"), after="0002_second")
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, shop.name]
    with django_db_blocker.unblock(), shop.connected():
        migrate(shop)
        yield shop


def migrate(shop: Shop) -> None:
    call_command("migrate", shop.name, verbosity=0, skip_checks=True)


def undo(shop: Shop, *names: str) -> str:
    said = StringIO()
    words = [f"{shop.name}.{name}" for name in names]
    call_command("undo_migrations", *words, stdout=said)
    return said.getvalue()


def test_they_are_reversed_newest_first_and_nothing_else_is(shop: Shop) -> None:
    said = undo(shop, "0002_second", "0003_third")
    assert shop.told()[3:] == ["3 back", "2 back"]
    assert shop.tables() & {"first", "second", "third"} == {"first"}
    assert said == (f"Reversing {shop.name}.0003_third\nReversing {shop.name}.0002_second\n")
    # They can be applied again.
    migrate(shop)
    assert shop.tables() >= {"first", "second", "third"}


def test_those_that_are_not_applied_are_passed_over(shop: Shop) -> None:
    undo(shop, "0003_third")
    told = shop.told()
    undo(shop, "0002_second", "0003_third")
    assert shop.told() == [*told, "2 back"]
    undo(shop, "0002_second", "0003_third", "0004_never_existed")
    assert shop.told() == [*told, "2 back"]


def test_one_that_cannot_be_reversed_keeps_all_of_them(shop: Shop) -> None:
    shop.migration("0004_fourth", IRREVERSIBLE, after="0003_third")
    migrate(shop)
    before = shop.told()
    errors = StringIO()
    with pytest.raises(SystemExit) as raised:
        call_command(
            "undo_migrations", f"{shop.name}.0003_third", f"{shop.name}.0004_fourth", stderr=errors
        )
    assert raised.value.code == EXIT_CODE
    assert "nothing was changed" in errors.getvalue()
    assert shop.told() == before


def test_one_that_was_not_applied_may_be_irreversible(shop: Shop) -> None:
    shop.migration("0004_fourth", IRREVERSIBLE, after="0003_third")
    undo(shop, "0003_third", "0004_fourth")
    assert shop.told()[-1] == "3 back"


def test_one_that_turns_out_to_be_irreversible_is_told_in_the_same_way(shop: Shop) -> None:
    claims = (
        "type('Claims', (migrations.RunSQL,), {'reversible': True, 'database_backwards':"
        " lambda *a: (_ for _ in ()).throw("
        "__import__('django.db.migrations.exceptions').db.migrations.exceptions"
        ".IrreversibleError('it was a lie'))})('SELECT 1')"
    )
    shop.migration("0004_fourth", claims, after="0003_third")
    migrate(shop)
    errors = StringIO()
    with pytest.raises(SystemExit) as raised:
        call_command("undo_migrations", f"{shop.name}.0004_fourth", stderr=errors)
    assert raised.value.code == EXIT_CODE
    assert "it was a lie" in errors.getvalue()


def test_one_that_fails_is_an_error_and_is_not_half_reversed(shop: Shop) -> None:
    shop.migration(
        "0004_fourth", FAILS.replace("'nonsense', ", "'SELECT 1', "), row("4"), after="0003_third"
    )
    migrate(shop)
    with pytest.raises(Exception, match="nonsense"):
        undo(shop, "0004_fourth")
    assert shop.told()[-1] == "4 there"


def test_it_needs_names() -> None:
    with pytest.raises(CommandError, match=r"required: APP\.NAME"):
        call_command("undo_migrations")


def test_one_that_is_not_atomic_and_has_failed_is_told(shop: Shop) -> None:
    shop.migration("0004_fourth", table("half"), FAILS, after="0003_third", atomic=False)
    with pytest.raises(OperationalError):
        migrate(shop)
    errors = StringIO()
    with pytest.raises(SystemExit) as raised:
        call_command(
            "undo_migrations", f"{shop.name}.0003_third", f"{shop.name}.0004_fourth", stderr=errors
        )
    assert raised.value.code == HALF_APPLIED
    assert "is not atomic and may be half applied" in errors.getvalue()
    assert "third" not in shop.tables()
