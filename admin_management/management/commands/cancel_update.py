"""``manage.py cancel_update``."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from admin_management.cancelling import cancel_update
from admin_management.exceptions import ConflictError
from admin_management.launcher import Requester, settle
from admin_management.models import Run
from admin_management.runner.status import Status


class Command(BaseCommand):
    help = (
        "Cancel an update: one that waits ends at once, one that goes on puts everything back. "
        "Exit code 1 if it is too late."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "run",
            nargs="?",
            metavar="RUN",
            help="the beginning of its id; without it, the one that goes on, or that waits",
        )
        parser.add_argument("--reason", default="", help="why, for the audit log")

    def handle(self, *args: Any, **options: Any) -> None:
        settle()
        try:
            run = Run.objects.here().named(options["run"]) if options["run"] else _pending()
            cancel_update(run, requester=Requester.at_the_shell(), reason=options["reason"])
        except ConflictError as error:
            raise CommandError(str(error)) from error
        is_over = run.status == Status.CANCELLED
        told = "is cancelled" if is_over else "is being cancelled: what it has changed is put back"
        self.stdout.write(f"Update {run.pk} {told}")


def _pending() -> Run:
    run = Run.objects.here().pending()
    if run is None:
        raise ConflictError("No update goes on, and none waits.")
    return run
