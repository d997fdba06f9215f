"""``manage.py update_status``."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.core.serializers.json import DjangoJSONEncoder

from admin_management.launcher import settle
from admin_management.status import read_status
from admin_management.summary import summary


class Command(BaseCommand):
    help = "Show what is live, what is waiting on the remote, PM2's process and the last run."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="the same as GET /admin/status/")
        parser.add_argument("--fetch", action="store_true", help="ask the remote first")

    def handle(self, *args: Any, **options: Any) -> None:
        settle()
        status = read_status(fetch=options["fetch"])
        if options["json"]:
            self.stdout.write(json.dumps(status, cls=DjangoJSONEncoder))
        else:
            self.stdout.write(summary(status), ending="")
