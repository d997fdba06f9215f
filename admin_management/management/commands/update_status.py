"""``manage.py update_status``."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.core.serializers.json import DjangoJSONEncoder

from admin_management.launcher import settle
from admin_management.status import read_status


class Command(BaseCommand):
    help = "Show what is live, what is waiting on the remote, PM2's process and the last run."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="the same as GET /admin/status/")
        parser.add_argument("--fetch", action="store_true", help="ask the remote first")

    def handle(self, *args: Any, **options: Any) -> None:
        settle()
        self.stdout.write(json.dumps(read_status(fetch=options["fetch"]), cls=DjangoJSONEncoder))
