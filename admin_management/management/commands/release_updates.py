"""``manage.py release_updates``."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from admin_management.exceptions import ConflictError
from admin_management.launcher import Requester, release_updates
from admin_management.plain import plain


class Command(BaseCommand):
    help = "Let updates go on, and start the one that waits. Exit code 1 if they are not held."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            hold = release_updates(requester=Requester.at_the_shell())
        except ConflictError as error:
            raise CommandError(str(error)) from error
        held = f"Updates go on. They were held by {hold.actor_name}: {hold.reason}"
        self.stdout.write(plain(held))
