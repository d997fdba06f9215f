"""``manage.py hold_updates``."""

import re
from argparse import ArgumentTypeError
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from admin_management.exceptions import ConflictError
from admin_management.launcher import Requester, hold_updates
from admin_management.plain import plain

UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def duration(text: str) -> timedelta:
    """``30m``, ``2h`` or ``7d``."""
    match = re.fullmatch(r"([1-9][0-9]{0,4})([mhd])", text)
    if match is None:
        raise ArgumentTypeError(f"{text!r} is not a time like 30m, 2h or 7d")
    return timedelta(**{UNITS[match[2]]: int(match[1])})


class Command(BaseCommand):
    help = (
        "Pause updates: what is asked for meanwhile, by whomever, waits until release_updates or "
        "until the time is over. Exit code 1 if updates are held already."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--reason", required=True, help="why, for all who would update")
        parser.add_argument(
            "--for",
            type=duration,
            dest="duration",
            metavar="TIME",
            help="how long: 30m, 2h, 7d; without it, until somebody releases them",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        duration = options["duration"]
        try:
            hold = hold_updates(
                requester=Requester.at_the_shell(),
                reason=options["reason"],
                expires_at=timezone.now() + duration if duration else None,
            )
        except ConflictError as error:
            raise CommandError(plain(str(error))) from error
        self.stdout.write(plain(str(hold)))
