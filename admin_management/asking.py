"""What the API and the dashboard share: who asks, and how a run stands this moment."""

import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Unpack
from uuid import UUID

from django.db import transaction
from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from django.urls import reverse
from rest_framework.exceptions import PermissionDenied, Throttled
from rest_framework.request import Request

from . import launcher
from .authentication import require_recent_login, why_foreign
from .client import address_of
from .launcher import Requester
from .models import ApiToken, IdempotencyKey, Options, Run, StepRun, Trigger
from .permissions import require_wishes
from .runner.render import render_log
from .runner.status import Status
from .throttling import FetchThrottle

logger = logging.getLogger("admin_management")

LARGEST_PIECE = 256 * 1024
"""Characters of a log in one answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPiece:
    """A piece of a run's log; ``next`` is where to ask for more, None when all is told."""

    status: str
    output: str
    next: str | None


def requester_of(request: HttpRequest | Request) -> Requester:
    """The signed-in user, the token that they have used if it was one, and where they are."""
    user, token = request.user, getattr(request, "auth", None)
    name = str(user.get_username())
    if isinstance(token, ApiToken):
        name = f"{name[:90]} (token {token.name})"
    return Requester(name=name, user_id=user.pk, address=address_of(request))


def require_fetch(request: HttpRequest | Request) -> None:
    """Raises PermissionDenied for a page of another site, Throttled for who asks too often.

    Neither may keep the remote and our processes busy.
    """
    is_session = getattr(request, "auth", None) is None
    if is_session and (problem := why_foreign(request, as_method="POST")):
        raise PermissionDenied(problem)
    throttle = FetchThrottle()
    if not throttle.allow_request(request, None):  # type: ignore[arg-type] # it needs no view
        raise Throttled(throttle.wait())


def ask(
    request: HttpRequest | Request, trigger: Trigger, *, reason: str, **options: Unpack[Options]
) -> tuple[Run, bool]:
    """Ask for an update in the name of the signed-in user. See launcher.request_update.

    Raises PermissionDenied if they wish for more than they may, or for a forced update too long
    after their login.
    """
    require_wishes(request, options)
    if options.get("force"):
        require_recent_login(request)
    requester = requester_of(request)
    run_id, is_new = launcher.request_update(
        trigger=trigger, requester=requester, reason=reason, **options
    )
    return Run.objects.get(pk=run_id), is_new


def ask_once(
    request: HttpRequest | Request, trigger: Trigger, key: str, **wanted: Any
) -> tuple[Run, bool]:
    """As ``ask``, but the same key of the same user gets the run that it has got before.

    Raises KeyReusedError if it was used for something else.
    """
    # ask() does so too, but this transaction would take its record of the refusal back.
    require_wishes(request, wanted)
    with transaction.atomic():
        body = json.dumps(wanted, sort_keys=True)
        claimed, is_new = IdempotencyKey.objects.claim(request.user.pk, key, body)
        if is_new:
            run, is_new_run = ask(request, trigger, **wanted)
            claimed.answer_with(run, coalesced=not is_new_run)
    # Read again: it may have begun, or could not, when the transaction was committed.
    run = Run.objects.get(pk=claimed.run_id)  # type: ignore[misc] # committed, so it has one
    return run, not claimed.coalesced


def go_back(request: HttpRequest | Request, run: Run, reason: str) -> Run:
    """Go back in the name of the signed-in user. See launcher.request_rollback.

    Raises PermissionDenied if it is too long after their login.
    """
    require_recent_login(request)
    return launcher.request_rollback(run, requester=requester_of(request), reason=reason)


def settle() -> None:
    """Settle before answering. A failure is logged and does not fail the page."""
    try:
        launcher.settle()
    except Exception:
        logger.exception("The runs could not be settled")


def settled_run(pk: UUID) -> Run:
    """The run as it stands once all that has ended is settled. Raises Http404."""
    settle()
    return get_object_or_404(Run, pk=pk)


def bring_up_to_date(run: Run) -> list[StepRun]:
    """The steps of a run as they stand this moment.

    Fills in what the journal of a run that still goes on knows and its row does not yet.
    """
    if run.status != Status.RUNNING:
        return list(run.steps.all())
    try:
        progress = launcher.progress_now(run)
    except Exception:
        logger.exception("The journal of the run could not be read", extra={"run": str(run.pk)})
        return []
    run.started_at = progress.started_at or run.started_at
    run.from_revision = progress.from_revision
    run.to_revision = progress.to_revision or run.to_revision
    return run.steps_of(progress)


def log_piece(run: Run, steps: Iterable[StepRun], offset: int) -> LogPiece:
    """What the log has from ``offset`` on. The text only ever grows, so an offset stays valid."""
    text = render_log(steps)
    end = min(len(text), offset + LARGEST_PIECE)
    address = reverse("admin_management:update-log", args=[run.pk])
    return LogPiece(
        status=run.status,
        output=text[offset:end],
        next=None
        if run.is_finished and end == len(text)
        else f"{address}?offset={max(offset, end)}",
    )
