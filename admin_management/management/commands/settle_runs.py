"""``manage.py settle_runs``."""

from typing import Any

from django.core.management.base import BaseCommand

from admin_management.launcher import settle


class Command(BaseCommand):
    help = (
        "Write the journals of finished and dead runs into the database, and start the run that "
        "waits. Safe at any time and as often as you like; every runner does it as its last act."
    )
    # Its caller has proved the code; checks would only make each update slower.
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        settled = settle()
        self.stdout.write(f"{settled} run{'' if settled == 1 else 's'} settled")
