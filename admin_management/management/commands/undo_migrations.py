"""``manage.py undo_migrations``."""

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import connection
from django.db.migrations.exceptions import IrreversibleError
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.migration import Migration

from admin_management.runner.rollback import HALF_APPLIED, IRREVERSIBLE


class Command(BaseCommand):
    help = (
        "Reverse these migrations as far as they are applied, newest first, and nothing else. "
        "Exit code 3, and nothing changed, if one of them cannot be reversed; 4 if one that is not "
        "atomic was begun and is not recorded as applied: its half stays."
    )
    # The code is about to be replaced; it need not be healthy.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "migrations", nargs="+", metavar="APP.NAME", help="in the order they were applied"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        executor = MigrationExecutor(connection)
        loader = executor.loader
        wanted = [tuple(word.split(".", 1)) for word in options["migrations"]]
        applied = [key for key in wanted if key in loader.applied_migrations]
        migrations = [loader.get_migration(*key) for key in reversed(applied)]
        # The first that is not recorded is the one that failed.
        failed = next((key for key in wanted if key not in applied), None)
        if not all(map(_is_reversible, migrations)):
            self.stderr.write("At least one of them cannot be reversed; nothing was changed.")
            sys.exit(IRREVERSIBLE)
        for migration in migrations:
            self.stdout.write(f"Reversing {migration}")
        try:
            executor.migrate(None, plan=[(migration, True) for migration in migrations])
        except IrreversibleError as error:
            self.stderr.write(str(error))
            sys.exit(IRREVERSIBLE)
        half = loader.disk_migrations.get(failed) if failed else None
        if half is not None and not half.atomic:
            self.stderr.write(f"{half} is not atomic and may be half applied.")
            sys.exit(HALF_APPLIED)


def _is_reversible(migration: Migration) -> bool:
    return all(operation.reversible for operation in migration.operations)
