"""What the dashboard shows of the webhook: the secrets, the last ping, who was refused."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import Error as DatabaseFailure
from django.db.models import Sum
from django.utils import timezone

from admin_management.exceptions import SettingsError

from .conf import WebhooksSettings
from .exceptions import Reason
from .forms import NewSecretForm
from .github import is_usable
from .keyring import FROM_SETTINGS
from .models import MOST_SECRETS, Delivery, Outcome, Refusal, Secret
from .sources import Source

logger = logging.getLogger("webhooks")

TEMPLATE = "webhooks/panel.html"

DOORS = {
    ("POST", "new_webhook_secret"): "github_webhooks.manage_secrets",
    ("POST", "retire_webhook_secret"): "github_webhooks.manage_secrets",
}
"""What a change needs, by name of its address in ``dashboard_urls``."""

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
    Reason.METHOD: "by another method than POST",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Deliveries of the last hour that were refused to one sender for one reason."""

    count: int
    what: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePanel:
    """One source. ``problem`` is why no delivery is accepted, ``faults`` are those of the ping.

    ``last_used_at`` is of the secret in the settings; stored ones know it themselves.
    """

    source: Source
    problem: str = ""
    secrets: tuple[Secret, ...] = ()
    changeover_unfinished: bool = False
    form: NewSecretForm | None = None
    ping: Delivery | None = None
    last_used_at: datetime | None = None
    faults: tuple[str, ...] = ()
    uses_form: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """What is shown. ``problem`` is why nothing can be told of the sources."""

    problem: str = ""
    sources: tuple[SourcePanel, ...] = ()
    refused: tuple[Refused, ...] = ()


def read_panel() -> Panel:
    """How the webhook stands now; it never raises."""
    try:
        conf = WebhooksSettings.load()
        sources = tuple(_read(source) for source in conf.sources)
        return Panel(sources=sources, refused=tuple(_refused()))
    except SettingsError as error:
        return Panel(problem=f"No delivery is accepted: {error} {error.hint}")
    except DatabaseFailure:
        logger.exception("The webhook's tables could not be read")
        return Panel(problem="The webhook's tables cannot be read: see the log, and migrate.")


def doubts() -> Iterator[str]:
    """What is wrong with the last pings, for the doctor; it never raises."""
    panel = read_panel()
    if panel.problem:
        yield panel.problem
    for each in panel.sources:
        if each.ping is None:
            yield (
                f"GitHub has not sent a ping yet{_for(each.source)}: make the webhook there, or "
                "choose Redeliver at its ping."
            )
        else:
            yield from each.faults


def facts() -> Iterator[str]:
    """When the last pings came, for the doctor; it never raises."""
    for each in read_panel().sources:
        if each.ping is not None:
            came_at = each.ping.received_at.astimezone(UTC)
            yield f"GitHub's last ping{_for(each.source)} came {came_at:%Y-%m-%d %H:%M} UTC."


def _for(source: Source) -> str:
    return f" for {source.name}" if source.name else ""


def _read(source: Source) -> SourcePanel:
    secrets = list(Secret.objects.active_of(source.name)) if not source.has_secret else []
    ping = _newest(outcome=Outcome.PING, source=source.name)
    return SourcePanel(
        source=source,
        problem=_why_closed(source, secrets),
        secrets=tuple(secrets),
        changeover_unfinished=Secret.is_changeover_unfinished(secrets),
        form=_form(source, secrets),
        ping=ping,
        last_used_at=_last_used_at(source) if source.has_secret else None,
        faults=tuple(_faults(source, secrets, ping)) if ping else (),
        uses_form=bool(ping and ping.content_type == "form"),
    )


def _form(source: Source, secrets: list[Secret]) -> NewSecretForm | None:
    """What makes a new secret; None if there can be none."""
    if source.has_secret or len(secrets) >= MOST_SECRETS:
        return None
    return NewSecretForm(initial={"source": source.name}, auto_id=False)


def _why_closed(source: Source, secrets: list[Secret]) -> str:
    if source.has_secret:
        too_short = f"{source.secret_setting} is too short to be accepted."
        return "" if is_usable(source.secret) else too_short
    if not secrets:
        return f"No delivery is accepted: make a secret here, or with {source.secret_command}."
    if not any(secret.is_readable for secret in secrets):
        return "No delivery is accepted: no secret can be decrypted. See manage.py check."
    return ""


def _last_used_at(source: Source) -> datetime | None:
    signed = _newest(secret=FROM_SETTINGS, source=source.name)
    return signed.received_at if signed else None


def _newest(**facts: str) -> Delivery | None:
    """By time: a ping that came once more keeps its number."""
    return Delivery.objects.filter(**facts).order_by("-received_at").first()


def _faults(source: Source, secrets: list[Secret], ping: Delivery) -> Iterator[str]:
    """What keeps pushes from arriving safely."""
    good = [FROM_SETTINGS] if source.has_secret else [each.fingerprint for each in secrets]
    since = Delivery.objects.filter(source=source.name, received_at__gt=ping.received_at)
    if ping.secret not in good and not since.filter(secret__in=good).exists():
        yield (
            "Nothing has come since that was signed with a secret that is accepted now: choose "
            "Redeliver at the ping on GitHub."
        )
    if ping.insecure_ssl:
        yield "SSL verification is off: enable it in the webhook's settings on GitHub."
    if ping.sends_pushes is False:
        yield "The webhook does not send pushes: choose the push event on GitHub."
    if source.repository and ping.repository.lower() != source.repository.lower():
        yield (
            f"The ping was for {ping.repository or 'no repository'}, "
            f'and {source.setting}["REPOSITORY"] is {source.repository}: its pushes are ignored.'
        )


def _refused() -> Iterator[Refused]:
    recent = Refusal.objects.filter(minute__gt=timezone.now() - RECENT).order_by()
    by_sender = recent.values("address", "reason").annotate(total=Sum("count"))
    for row in by_sender.order_by("-total")[:LISTED_REFUSALS]:
        what = IN_WORDS[Reason(row["reason"])]
        yield Refused(count=row["total"], what=what, address=row["address"])
