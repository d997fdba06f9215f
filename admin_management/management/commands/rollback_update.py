"""``manage.py rollback_update``."""

from datetime import UTC
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from admin_management.exceptions import AdminManagementError, ConflictError
from admin_management.going_back import WayBack, find_way_back
from admin_management.launcher import Requester, request_rollback, settle
from admin_management.models import Run
from admin_management.plain import plain

LISTED = 10
"""Of the newest updates, so many are listed."""


class Command(BaseCommand):
    help = (
        "Go back to the revision that an update has proved, and hold updates. Without --reason it "
        "only says what that means; without RUN, for each of the newest updates. Exit code 1 if it "
        "is not possible."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("run", nargs="?", metavar="RUN", help="the beginning of an update's id")
        parser.add_argument("--reason", default="", help="why, for the audit log and for the hold")

    def handle(self, *args: Any, **options: Any) -> None:
        settle()
        if options["run"]:
            self._explain(options["run"], options["reason"])
        elif options["reason"]:
            raise CommandError("Say which update to go back to. Without --reason they are listed.")
        else:
            self._list()

    def _list(self) -> None:
        """A line for each of the newest that have ended."""
        ended = list(Run.objects.here().finished()[:LISTED])
        for run in ended:
            at = f"{run.requested_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
            way = find_way_back(run)
            self.stdout.write(plain(f"{run.short_id}  {at}  {run.status}  {_told(way)}"))
            self._note(way)
        if not ended:
            self.stdout.write("No update has ended here.")

    def _explain(self, beginning: str, reason: str) -> None:
        """What going back to one means, and with a reason do it."""
        try:
            run = Run.objects.here().named(beginning)
        except ConflictError as error:
            raise CommandError(str(error)) from error
        way = find_way_back(run)
        if not way.is_possible:
            raise CommandError(way.meaning)
        self.stdout.write(plain(_told(way)))
        self._note(way)
        if reason:
            self._go_back(run, reason)

    def _note(self, way: WayBack) -> None:
        for note in way.notes:
            self.stdout.write(plain(f"! {note}"))

    def _go_back(self, run: Run, reason: str) -> None:
        try:
            rollback = request_rollback(run, requester=Requester.at_the_shell(), reason=reason)
        except AdminManagementError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"Rollback {rollback.pk} requested; updates are held")


def _told(way: WayBack) -> str:
    return f"To {way.target_revision[:7]}. {way.meaning}" if way.is_possible else way.meaning
