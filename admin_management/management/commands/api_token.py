"""``manage.py api_token``."""

from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError, CommandParser

from admin_management.launcher import Requester
from admin_management.models import ApiToken, Scope
from admin_management.permissions import is_staff
from admin_management.plain import plain


class Command(BaseCommand):
    help = (
        "API tokens for scripts. A new one is printed alone on standard output, once: only its "
        "SHA-256 is stored. Exit code 1 if there is no such user or token."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="new|list|revoke")
        new = actions.add_parser("new", help="make one")
        new.add_argument("user", metavar="USER", help="whose name and permissions it has")
        new.add_argument("name", metavar="NAME", help="what uses it, for the audit log")
        new.add_argument(
            "--scope",
            choices=Scope.values,
            default=Scope.READ,
            help="read: nothing can be changed (default); update: all that its user may",
        )
        new.add_argument(
            "--days", type=int, default=ApiToken.DAYS, help="good for so long (default: 90)"
        )
        listing = actions.add_parser("list", help="show those that are good")
        listing.add_argument("--all", action="store_true", help="expired and revoked ones too")
        revoke = actions.add_parser("revoke", help="make one worthless at once")
        revoke.add_argument("token", type=int, metavar="ID", help="as the list shows it")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["action"] == "new":
            self._issue(options)
        elif options["action"] == "list":
            self._list(ApiToken.objects.all() if options["all"] else ApiToken.objects.usable())
        else:
            self._revoke(options["token"])

    def _issue(self, options: dict[str, Any]) -> None:
        model, name, days = get_user_model(), options["name"], options["days"]
        user = model._default_manager.filter(**{model.USERNAME_FIELD: options["user"]}).first()
        if not is_staff(user):
            raise CommandError(
                f"There is no active member of the staff named {options['user']}: in the admin, "
                'tick "Active" and "Staff status" of the user.'
            )
        if not 0 < len(name) <= 100 or not name.isprintable():
            raise CommandError("A name has 1 to 100 characters.")
        if not 1 <= days <= ApiToken.LONGEST_DAYS:
            raise CommandError(f"A token is good for 1 to {ApiToken.LONGEST_DAYS} days.")
        token = ApiToken(user=user, name=name, scope=options["scope"])
        token.issue(by=Requester.at_the_shell().name, days=days)
        self.stderr.write(
            plain(
                f"Token {token.pk}, {token}, until {token.expires_at:%Y-%m-%d}. "
                "It is shown only now:"
            )
        )
        self.stdout.write(token.value)

    def _list(self, tokens: Any) -> None:
        for token in tokens.select_related("user"):
            used = f"used {token.last_used_at:%Y-%m-%d %H:%M}" if token.last_used_at else "unused"
            ends = (
                f"revoked {token.revoked_at:%Y-%m-%d}"
                if token.revoked_at
                else f"until {token.expires_at:%Y-%m-%d}"
            )
            self.stdout.write(plain(f"{token.pk}  {token}, {ends}, {used}"))

    def _revoke(self, pk: int) -> None:
        token = ApiToken.objects.filter(pk=pk).first()
        if token is None or not token.revoke(by=Requester.at_the_shell().name):
            raise CommandError("There is no such token that is not revoked yet.")
        self.stdout.write(plain(f"Token {token.pk}, {token}, is revoked."))
