"""``manage.py update_server``."""

import getpass
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from admin_management.follow import follow
from admin_management.launcher import Requester, files_of, request_update
from admin_management.models import Trigger
from admin_management.runner.status import Status


class Command(BaseCommand):
    help = (
        "Ask for an update of this site from git. Returns at once unless --wait is given; the "
        "update itself runs in the background either way. Exit code: 0 if the update was "
        "requested (with --wait: if it succeeded), 1 if not."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--reason", default="", help="why, for the audit log")
        parser.add_argument(
            "--force", action="store_true", help="run all steps even if there is nothing new"
        )
        parser.add_argument(
            "--wait", action="store_true", help="show the steps as they happen, until the end"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        run, is_new = request_update(
            trigger=Trigger.COMMAND,
            requester=Requester(name=getpass.getuser()),
            reason=options["reason"],
            force=options["force"],
        )
        self.stdout.write(
            f"Update {run.pk} requested" if is_new else f"Joined the update {run.pk} that waits"
        )
        if options["wait"]:
            # From here on nothing is imported and no database asked: both may change under us.
            progress = follow(*files_of(run), self.stdout.write)
            if progress.status is not Status.SUCCEEDED:
                raise CommandError(f"{progress.message}\n{progress.hint}".strip())
            self.stdout.write(progress.message)
