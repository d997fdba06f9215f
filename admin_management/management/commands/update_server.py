"""``manage.py update_server``."""

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from admin_management.exceptions import ReasonMissingError
from admin_management.follow import follow
from admin_management.launcher import Requester, files_of, request_update
from admin_management.models import Run, Trigger
from admin_management.plain import plain
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
            "--accept-rewritten",
            action="store_true",
            help="follow a branch whose history was rewritten, and drop commits that only the "
            "checkout has",
        )
        parser.add_argument(
            "--override-hold",
            action="store_true",
            help="start even while updates are held; needs a reason",
        )
        parser.add_argument(
            "--wait", action="store_true", help="show the steps as they happen, until the end"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            run_id, is_new = request_update(
                trigger=Trigger.COMMAND,
                requester=Requester.at_the_shell(),
                reason=options["reason"],
                force=options["force"],
                accept_rewritten=options["accept_rewritten"],
                override_hold=options["override_hold"],
            )
        except ReasonMissingError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            f"Update {run_id} requested" if is_new else f"Joined the update {run_id} that waits"
        )
        run = Run.objects.get(pk=run_id)
        if run.is_finished and run.status != Status.SUCCEEDED:
            # It could not even be started.
            raise CommandError(plain(f"{run.status}: {run.message}"))
        hold = run.hold
        if hold:
            self.stdout.write(plain(f"{hold}. It starts when they are released."))
        if options["wait"]:
            if hold:
                raise CommandError(
                    "It is not waited for. Let updates go on with release_updates, or ask with "
                    "--override-hold and --reason."
                )
            self._wait_for(run)

    def _wait_for(self, run: Run) -> None:
        """Until the end. Imports nothing and asks no database: both may change under us."""
        started = time.monotonic()

        def show_progress(text: str) -> None:
            if self.stderr.isatty():
                seconds = time.monotonic() - started
                self.stderr.write(f"\r\x1b[K{seconds:4.0f} s  {text}", ending="")

        def say(text: str) -> None:
            if self.stderr.isatty():
                self.stderr.write("\r\x1b[K", ending="")
            self.stdout.write(plain(text))

        progress = follow(*files_of(run), say=say, show_progress=show_progress)
        if progress.status is not Status.SUCCEEDED:
            message, hint = plain(progress.message), plain(progress.hint)
            raise CommandError(f"{progress.status}: {message}\n{hint}".strip())
        say(progress.message)
