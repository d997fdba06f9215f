"""``manage.py rehearse_update``."""

import gc
import json
import tempfile
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from admin_management.rehearsal import Live, Rehearsal
from admin_management.runner.state import private


class Command(BaseCommand):
    help = (
        "Try this code: system checks, migrations on a copy of the database, the WSGI application "
        "and its health address. Changes nothing. An update executes it in a work tree of the new "
        "revision; you can run it in any clone."
    )
    # Part of the rehearsal, where they see the copy of the database.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--database",
            action="append",
            default=[],
            metavar="ALIAS=PATH",
            help="work on a copy of this SQLite database",
        )
        parser.add_argument(
            "--static-root", default="", help="where the live static files are collected"
        )
        parser.add_argument(
            "--static-files", default="", metavar="DIGEST", help="what they were collected from"
        )
        parser.add_argument("--folder", type=Path, help="make the copies below this folder")
        parser.add_argument("--report", type=Path, help="write what was found here, as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        # What is loaded here is needed until the end. Looking for garbage in it, now and when the
        # process ends, is a fifth of the time of a rehearsal.
        gc.disable()
        databases = dict(word.split("=", 1) for word in options["database"])
        with tempfile.TemporaryDirectory(prefix="copies-", dir=options["folder"]) as folder:
            live = Live(
                databases={alias: Path(path) for alias, path in databases.items()},
                static_root=options["static_root"],
                static_files=options["static_files"],
            )
            rehearsal = Rehearsal(live, Path(folder), self.stdout.write)
            try:
                rehearsal.perform()
            except SystemExit as error:
                raise CommandError(f"The code exits when it is loaded: {error}") from error
        for note in rehearsal.notes:
            self.stdout.write(f"! {note}")
        if options["report"]:
            facts = {
                "migrations": rehearsal.migrations,
                "static_files": rehearsal.static_files,
                "notes": rehearsal.notes,
            }
            with open(options["report"], "w", encoding="utf-8", opener=private) as file:
                json.dump(facts, file)
        # The process ends here. Else the interpreter looks through all of Django once more.
        gc.freeze()
