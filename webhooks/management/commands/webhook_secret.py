"""``manage.py webhook_secret``."""

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from admin_management.exceptions import ConflictError, SettingsError
from admin_management.launcher import Requester
from admin_management.management.commands.hold_updates import duration
from admin_management.plain import plain
from webhooks.conf import WebhooksSettings
from webhooks.models import OVERLAP, Secret


class Command(BaseCommand):
    help = (
        "The secrets that GitHub's deliveries may be signed with. They are stored encrypted. "
        "Exit code 1 if what was asked for is not possible."
    )
    # It is what mends a secret that a check finds unreadable.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        acts = parser.add_subparsers(dest="act", required=True, metavar="new | list | retire")
        new = acts.add_parser("new", help="make one, and print it this once")
        new.add_argument(
            "--overlap",
            type=duration,
            default=OVERLAP,
            metavar="TIME",
            help="how long the one before it stays good: 30m, 2h, 7d; without it, 7d",
        )
        new.add_argument(
            "--source",
            default="",
            metavar="NAME",
            help='which of WEBHOOKS["SOURCES"] it is for, if there are any',
        )
        acts.add_parser("list", help="print their fingerprints, and when each was used last")
        retire = acts.add_parser("retire", help="accept one no longer, from now on")
        retire.add_argument("fingerprint", help="as list prints it")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            getattr(self, f"_{options['act']}")(**options)
        except SettingsError as error:
            raise CommandError(f"{error} {error.hint}") from error
        except ConflictError as error:
            raise CommandError(str(error)) from error

    def _new(self, *, overlap: timedelta, source: str, **_: object) -> None:
        WebhooksSettings.load().source(source)
        by = Requester.at_the_shell().name
        secret, value = Secret.objects.make(created_by=by, overlap=overlap, source=source)
        # The secret alone is on standard output, so that it can be piped.
        self.stdout.write(value)
        self.stderr.write(
            f"This is secret {secret}. It is not shown again: give it to GitHub now, in the "
            "settings of the webhook."
        )
        for other in Secret.objects.active_of(source).exclude(pk=secret.pk):
            self.stderr.write(f"The one before it, {other}, is accepted until {other.retires_at}.")
        self._tell_of_the_setting()

    def _list(self, **_: object) -> None:
        names = {source.name for source in WebhooksSettings.load().sources}
        for secret in Secret.objects.all():
            used = f"last used {secret.last_used_at:%Y-%m-%d %H:%M}" if secret.last_used_at else ""
            facts = (
                str(secret),
                *([f"of {secret.source}"] if secret.source else []),
                f"made {secret.created_at:%Y-%m-%d %H:%M} by {secret.created_by}",
                used or "never used",
                secret.standing
                if secret.source in names
                else "not accepted: WEBHOOKS names no such source",
            )
            self.stdout.write(plain("  ".join(facts)))
        self._tell_of_the_setting()

    def _retire(self, *, fingerprint: str, **_: object) -> None:
        secret = Secret.objects.active_called(fingerprint)
        if secret is None:
            raise CommandError(f"No secret that is accepted has the fingerprint {fingerprint!r}.")
        secret.retire(by=Requester.at_the_shell().name)
        self.stdout.write(f"{secret} is accepted no longer.")

    def _tell_of_the_setting(self) -> None:
        for source in WebhooksSettings.load().sources:
            if source.has_secret:
                self.stderr.write(
                    f"{source.secret_setting} is set and wins: its stored secrets are not used "
                    "until it is gone."
                )
