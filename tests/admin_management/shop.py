"""An app that a test writes: its migrations, models and static files, on a database of its own.

Each has a name of its own, because Django never forgets a model that it has seen.
"""

import importlib
import itertools
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.sqlite3.base import DatabaseWrapper

OPTIONS = {"transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL"}

_numbers = itertools.count()

MIGRATION = """\
from django.db import migrations, models

class Migration(migrations.Migration):
    atomic = {atomic}
    dependencies = {dependencies}
    operations = [{operations}]
"""

IRREVERSIBLE = "migrations.RunPython(lambda apps, schema_editor: None)"
FAILS = "migrations.RunSQL('nonsense', 'nonsense')"


def table(name: str) -> str:
    return f"migrations.RunSQL('CREATE TABLE {name} (id)', 'DROP TABLE {name}')"


def row(text: str) -> str:
    """Writes down that it was applied, and that it was reversed."""
    there, back = (f"INSERT INTO told VALUES ('{text} {way}')" for way in ("there", "back"))
    return f'migrations.RunSQL("{there}", "{back}")'


@dataclass
class Shop:
    """The app in ``folder``, and the live database of the site that has it."""

    folder: Path
    name: str
    database: Path

    @classmethod
    def open(cls, folder: Path) -> "Shop":
        name = f"shop_{next(_numbers)}"
        shop = cls(folder / name, name, folder / "live.sqlite3")
        (shop.folder / "migrations").mkdir(parents=True)
        (shop.folder / "__init__.py").touch()
        (shop.folder / "migrations" / "__init__.py").touch()
        with closing(sqlite3.connect(shop.database)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("CREATE TABLE told (what)")
            connection.commit()
        return shop

    def migration(self, name: str, *operations: str, after: str = "", atomic: bool = True) -> None:
        text = MIGRATION.format(
            atomic=atomic,
            dependencies=[(self.name, after)] if after else [],
            operations=", ".join(operations),
        )
        (self.folder / "migrations" / f"{name}.py").write_text(text)
        importlib.invalidate_caches()

    def tables(self) -> set[str]:
        return {row[0] for row in self.rows("SELECT name FROM sqlite_master")}

    def told(self) -> list[str]:
        return [row[0] for row in self.rows("SELECT what FROM told")]

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as connection:
            return connection.execute(query).fetchall()

    def files(self) -> dict[str, bytes]:
        """The live database and its log, byte for byte. A reader may leave an empty log."""
        log = self.database.with_name(f"{self.database.name}-wal")
        found = {path.name: path.read_bytes() for path in (self.database, log) if path.exists()}
        return {name: content for name, content in found.items() if content}

    @contextmanager
    def connected(self) -> Iterator[None]:
        """The live database is this site's default one."""
        usual = connections[DEFAULT_DB_ALIAS]
        settings = {**usual.settings_dict, "NAME": str(self.database), "OPTIONS": OPTIONS}
        wrapper = DatabaseWrapper(settings, DEFAULT_DB_ALIAS)
        connections[DEFAULT_DB_ALIAS] = wrapper
        try:
            yield
        finally:
            wrapper.close()
            connections[DEFAULT_DB_ALIAS] = usual
