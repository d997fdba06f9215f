"""What the dashboard shows of the webhook: the secrets, the last ping, who was refused."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from django.db import Error as DatabaseFailure
from django.db.models import Sum
from django.utils import timezone

from admin_management.exceptions import SettingsError

from .conf import WebhooksSettings
from .exceptions import Reason
from .github import is_usable
from .models import Delivery, Outcome, Refusal, Secret

logger = logging.getLogger("webhooks")

TEMPLATE = "webhooks/panel.html"

RECENT = timedelta(hours=1)
LISTED_REFUSALS = 5

IN_WORDS = {
    Reason.SIGNATURE: "with a missing or wrong signature",
    Reason.NETWORK: 'from outside of WEBHOOKS["ALLOWED_NETWORKS"]',
    Reason.TOO_MANY: "unread, after too many others",
    Reason.TOO_LARGE: "larger than 25 MB",
    Reason.UNREADABLE: "that broke off",
    Reason.MALFORMED: "signed, but not as GitHub writes them",
    Reason.DISABLED: "while no secret was configured",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Deliveries of the last hour that were refused to one sender for one reason."""

    count: int
    what: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """What is shown. ``problem`` is why no delivery is accepted; ``advice`` is about the ping."""

    problem: str = ""
    uses_setting: bool = False
    secrets: tuple[Secret, ...] = ()
    changeover_unfinished: bool = False
    ping: Delivery | None = None
    advice: tuple[str, ...] = ()
    refused: tuple[Refused, ...] = ()


def read_panel() -> Panel:
    """How the webhook stands now; it never raises."""
    try:
        return _read(WebhooksSettings.load())
    except SettingsError as error:
        return Panel(problem=f"No delivery is accepted: {error} {error.hint}")
    except DatabaseFailure:
        logger.exception("The webhook's tables could not be read")
        return Panel(problem="The webhook's tables cannot be read: see the log, and migrate.")


def _read(conf: WebhooksSettings) -> Panel:
    secrets = () if conf.has_secret else tuple(Secret.objects.active())
    ping = Delivery.objects.filter(outcome=Outcome.PING).first()
    return Panel(
        problem=_why_closed(conf, secrets),
        uses_setting=conf.has_secret,
        secrets=secrets,
        changeover_unfinished=Secret.is_changeover_unfinished(list(secrets)),
        ping=ping,
        advice=tuple(_advice(conf, ping)) if ping else (),
        refused=tuple(_refused()),
    )


def _why_closed(conf: WebhooksSettings, secrets: tuple[Secret, ...]) -> str:
    if conf.has_secret:
        return "" if is_usable(conf.secret) else 'WEBHOOKS["SECRET"] is too short to be accepted.'
    if not secrets:
        return "No delivery is accepted: make a secret with manage.py webhook_secret new."
    if not any(secret.is_readable for secret in secrets):
        return "No delivery is accepted: no secret can be decrypted. See manage.py check."
    return ""


def _advice(conf: WebhooksSettings, ping: Delivery) -> Iterator[str]:
    """What to change on GitHub, or here, so that pushes arrive safely."""
    if ping.insecure_ssl:
        yield "SSL verification is off: enable it in the webhook's settings on GitHub."
    if ping.sends_pushes is False:
        yield "The webhook does not send pushes: choose the push event on GitHub."
    if ping.content_type == "form":
        yield "The content type is a form: application/json is plainer, both work."
    if conf.repository and ping.repository.lower() != conf.repository.lower():
        yield (
            f"The ping was for {ping.repository or 'no repository'}, "
            f'and WEBHOOKS["REPOSITORY"] is {conf.repository}: its pushes are ignored.'
        )


def _refused() -> Iterator[Refused]:
    recent = Refusal.objects.filter(minute__gt=timezone.now() - RECENT).order_by()
    by_sender = recent.values("address", "reason").annotate(total=Sum("count"))
    for row in by_sender.order_by("-total")[:LISTED_REFUSALS]:
        what = IN_WORDS[Reason(row["reason"])]
        yield Refused(count=row["total"], what=what, address=row["address"])
