"""What of a rehearsal needs Django: this very code, tried on copies of the databases.

Executed by ``manage.py rehearse_update`` in a throw-away work tree. It must not write to live data
nor send anything; a site helps by doing neither when its modules are imported.
"""

import hashlib
import io
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import storages
from django.core.management import CommandError, call_command
from django.core.servers.basehttp import get_internal_wsgi_application
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.migration import Migration
from django.db.migrations.operations.base import Operation
from django.utils.version import get_version

from .health import answer_in_process
from .runner.rehearsal import LARGEST_COPY

PLAIN_STORAGE = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """What of the live site a rehearsal looks at: the SQLite databases by alias, where the
    collected static files are, and the digest that they were collected from."""

    databases: dict[str, Path]
    static_root: str = ""
    static_files: str = ""


class Rehearsal:
    """One rehearsal, with its copies in ``folder``."""

    def __init__(self, live: Live, folder: Path, say: Callable[[str], Any]) -> None:
        self._live = live
        self._folder = folder
        self._say = say
        self.static_files = ""
        self.migrations: list[tuple[str, str]] = []
        self.notes: list[str] = []

    def perform(self) -> None:
        """Try everything. Raises whatever the new code raises, CommandError among it."""
        self._copy_databases()
        self._look_at_static_files()
        call_command("check", databases=[DEFAULT_DB_ALIAS], stdout=_Lines(self._say))
        self._say("✓ system checks")
        self._try_migrations()
        self._look_for_missing_migrations()
        answer_in_process(get_internal_wsgi_application())
        self._say("✓ the WSGI application answers its health address")

    def _copy_databases(self) -> None:
        """From here on every connection of this process is to a copy."""
        for alias, original in self._live.databases.items():
            if alias not in connections.databases or not original.exists():
                continue
            connection: Any = connections[alias]
            connection.close()
            if original.stat().st_size > LARGEST_COPY:
                # Read only, so that nothing of a rehearsal can reach it.
                connection.settings_dict["NAME"] = f"file:{original}?mode=ro"
                connection.settings_dict["OPTIONS"] = {"uri": True}
                continue
            copy = self._folder / f"{alias}.sqlite3"
            _back_up(original, copy)
            connection.settings_dict["NAME"] = str(copy)
            self._say(f"✓ copied the database {alias}")

    def _try_migrations(self) -> None:
        connection = connections[DEFAULT_DB_ALIAS]
        executor = MigrationExecutor(connection)
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
        self.migrations = [(migration.app_label, migration.name) for migration, _ in plan]
        for migration, _ in plan:
            self._say(f"  to apply: {migration}")
            self.notes += _warnings(migration)
        if plan and self._is_copy():
            call_command("migrate", verbosity=0, interactive=False, skip_checks=True)
            self._say("✓ the migrations work on a copy of the database")

    def _is_copy(self) -> bool:
        name = connections[DEFAULT_DB_ALIAS].settings_dict["NAME"]
        return Path(str(name)).parent == self._folder

    def _look_for_missing_migrations(self) -> None:
        try:
            # Nobody is there to answer what the default of a new field shall be.
            call_command(
                "makemigrations",
                check_changes=True,
                dry_run=True,
                interactive=False,
                stdout=io.StringIO(),
            )
        except SystemExit:
            self.notes.append("models have changes without a migration")
        except CommandError as error:
            self.notes.append(str(error))

    def _look_at_static_files(self) -> None:
        """Pages are rendered with the collected files if these stay as they are, or without."""
        self.static_files = static_digest()
        if not self.static_files:
            return
        if self.static_files == self._live.static_files and self._live.static_root:
            settings.STATIC_ROOT = self._live.static_root
            self._say("✓ the static files are those that are collected already")
            return
        check_static_root()
        # A manifest is made by collecting; without one, pages would not render here.
        settings.STORAGES = {**settings.STORAGES, "staticfiles": PLAIN_STORAGE}
        if settings.STATIC_ROOT:
            call_command("collectstatic", dry_run=True, interactive=False, verbosity=0)
            self._say("✓ the static files can be collected")


def check_static_root() -> None:
    """Raises ImproperlyConfigured where collectstatic would, which comes after the pull."""
    if not apps.is_installed("django.contrib.staticfiles"):
        return
    if "staticfiles" not in settings.STORAGES:
        raise ImproperlyConfigured(
            'STORAGES does not say how static files are stored: "staticfiles".'
        )
    # What keeps its files elsewhere has no paths, and needs no folder.
    with suppress(NotImplementedError):
        storages.create_storage(settings.STORAGES["staticfiles"]).path("")


def static_digest() -> str:
    """A digest of all static files as they would be collected, and of how; empty for none."""
    if not apps.is_installed("django.contrib.staticfiles"):
        return ""
    digest = hashlib.sha256(f"{get_version()} {settings.STORAGES!r}".encode())
    for name, path in sorted(_static_files()):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{name}\0{content}\n".encode())
    return digest.hexdigest()


class _Lines:
    """A stream that passes whole lines on."""

    def __init__(self, say: Callable[[str], Any]) -> None:
        self._say = say

    def write(self, text: str) -> None:
        for line in text.splitlines():
            self._say(line)


def _back_up(original: Path, copy: Path) -> None:
    """A consistent copy, while the site goes on writing: SQLite's own backup."""
    copy.touch(mode=0o600)
    with (
        closing(sqlite3.connect(f"file:{original}?mode=ro", uri=True)) as source,
        closing(sqlite3.connect(copy)) as target,
    ):
        source.backup(target)


def _static_files() -> Iterator[tuple[str, Path]]:
    """In the order of the finders the first of a name wins, as for collectstatic."""
    seen: set[str] = set()
    for finder in get_finders():
        for path, storage in finder.list(None):
            prefix = getattr(storage, "prefix", None)
            name = f"{prefix}/{path}" if prefix else path
            if name not in seen:
                seen.add(name)
                yield name, Path(storage.path(path))


def _warnings(migration: Migration) -> list[str]:
    found = []
    if not migration.atomic:
        found.append(f"{migration} is not atomic: if it fails half-way, its half stays")
    if not all(map(_is_reversible, migration.operations)):
        found.append(f"{migration} cannot be reversed: if the update fails, its schema stays")
    return found


def _is_reversible(operation: Operation) -> bool:
    return bool(operation.reversible)
