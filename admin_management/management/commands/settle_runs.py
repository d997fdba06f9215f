"""``manage.py settle_runs``."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from admin_management.launcher import settle
from admin_management.plain import plain
from admin_management.polling import RemoteError, poll


class Command(BaseCommand):
    help = (
        "Write the journals of finished and dead runs into the database, and start the run that "
        "waits. Safe at any time and as often as you like; every runner does it as its last act."
    )
    # Its caller has proved the code; checks would only make each update slower.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--poll",
            action="store_true",
            help="then request an update if the remote's tip is not live, as poll_remote does, but "
            "without trying again what was interrupted",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        settled = settle()
        self.stdout.write(f"{settled} run{'' if settled == 1 else 's'} settled")
        if options["poll"]:
            self._poll()

    def _poll(self) -> None:
        try:
            # An interrupted run may be one that ended with its machine: no new one begins then.
            self.stdout.write(plain(poll(retries=False)))
        except RemoteError as error:
            self.stderr.write(plain(f"The remote could not be asked: {error}"))
