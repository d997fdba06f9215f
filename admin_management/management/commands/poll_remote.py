"""``manage.py poll_remote``."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from admin_management.launcher import settle
from admin_management.plain import plain
from admin_management.polling import RemoteError, poll


class Command(BaseCommand):
    help = (
        "Ask the remote for its tip, and request an update if that is not live. For cron, a "
        "systemd timer or PM2's cron. Exit code 0 if there was nothing to do or an update was "
        "requested, 1 if the remote could not be asked."
    )
    # Executed every minute, by a site whose checks its updates have passed.
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        settle()
        try:
            self.stdout.write(plain(poll()))
        except RemoteError as error:
            raise CommandError(plain(f"The remote could not be asked: {error}")) from error
