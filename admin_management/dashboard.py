"""The dashboard: one page for the site, one page for each run. Works without JavaScript."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from rest_framework.exceptions import APIException

from .asking import (
    ask,
    bring_up_to_date,
    go_back,
    log_piece,
    requester_of,
    require_fetch,
    settle,
    settled_run,
)
from .cancelling import cancel_update
from .conf import AdminManagementSettings
from .exceptions import AdminManagementError, ConflictError
from .forms import CancelForm, HoldForm, RollbackForm, UpdateForm
from .going_back import find_way_back, target_of
from .launcher import Requester, hold_updates, release_updates
from .models import Hold, Run, StepRun, Trigger
from .panels import read_panels
from .staff_page import page, staff_page
from .status import read_status
from .steps import Tools, ordered_steps

LISTED_RUNS = 20


@staff_page("GET", "HEAD", "POST")
def dashboard(request: HttpRequest) -> HttpResponse:
    """The site, the run that goes on, and the runs before it. POST asks for an update."""
    form = UpdateForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        return _start(request, form)
    settle()
    runs = Run.objects.here()
    going_on = runs.pending()
    shown = _as_it_stands(going_on) if going_on else None
    context = {
        "title": "Server updates",
        "form": form,
        "hold": Hold.objects.in_force(),
        "hold_form": HoldForm(auto_id="hold_%s"),
        "site": read_status(fetch=_may_fetch(request)),
        "shown": shown,
        "waiting": runs.queued().exclude(pk=going_on.pk).first() if going_on else None,
        "last": runs.finished().order_by("-finished_at").first(),
        "panels": read_panels(),
        "runs": [going_on if run == going_on else run for run in Run.objects.all()[:LISTED_RUNS]],
    }
    return page(
        request, "admin_management/dashboard.html", context, status=400 if form.errors else 200
    )


def _may_fetch(request: HttpRequest) -> bool:
    """Whether the page's own link was followed, and may be. Else nothing is fetched."""
    if request.GET.get("fetch") != "1":
        return False
    try:
        require_fetch(request)
    except APIException:
        return False
    return True


@staff_page("POST")
def hold(request: HttpRequest) -> HttpResponse:
    """Hold updates."""
    form = HoldForm(request.POST)
    if not form.is_valid():
        messages.error(request, "Say why updates are held, in at most 500 characters.")
        return redirect("admin_management:dashboard")
    hours = form.cleaned_data["hours"]
    expires_at = timezone.now() + timedelta(hours=hours) if hours else None
    reason = form.cleaned_data["reason"]
    return _changed(
        request,
        lambda who: hold_updates(requester=who, reason=reason, expires_at=expires_at),
    )


@staff_page("POST")
def cancel(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Cancel an update that waits or goes on."""
    run = settled_run(pk)
    form = CancelForm(request.POST)
    # The browser has kept it short enough; whoever has not used it need not be told why.
    reason = form.cleaned_data["reason"] if form.is_valid() else ""
    return _changed(request, lambda who: cancel_update(run, requester=who, reason=reason), back=run)


@staff_page("GET", "HEAD", "POST")
def roll_back(request: HttpRequest, pk: UUID) -> HttpResponse:
    """What going back means; POST does it."""
    run = settled_run(pk)
    form = RollbackForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        return _go_back(request, run, form.cleaned_data["reason"])
    way = find_way_back(run)
    title = f"Go back to {way.target_revision[:7]}" if way.target_revision else "Go back"
    context = {"title": title, "run": run, "way": way, "form": form}
    return page(
        request, "admin_management/rollback.html", context, status=400 if form.errors else 200
    )


@staff_page("POST")
def release(request: HttpRequest) -> HttpResponse:
    """Let updates go on."""
    return _changed(request, lambda who: release_updates(requester=who))


@staff_page("GET", "HEAD")
def show_run(request: HttpRequest, pk: UUID) -> HttpResponse:
    """One run: who, why, what happened in each step, and what to do if it failed."""
    run = settled_run(pk)
    context = {
        "title": f"Update {run.short_id}",
        "shown": _as_it_stands(run),
        "target": target_of(run),
    }
    return page(request, "admin_management/run.html", context)


def _changed(
    request: HttpRequest, change: Callable[[Requester], object], back: Run | None = None
) -> HttpResponse:
    """Change something in the name of the signed-in user; if that is not possible, say why."""
    try:
        change(requester_of(request))
    except ConflictError as error:
        messages.error(request, str(error))
    return redirect(back or "admin_management:dashboard")


def _go_back(request: HttpRequest, run: Run, reason: str) -> HttpResponse:
    try:
        rollback = go_back(request, run, reason)
    except ConflictError as error:
        messages.error(request, str(error))
        return redirect(run)
    return redirect(rollback)


def _start(request: HttpRequest, form: UpdateForm) -> HttpResponse:
    run, is_new = ask(request, Trigger.DASHBOARD, **form.cleaned_data)
    if not is_new:
        messages.info(request, "An update was already waiting; yours is part of it.")
    return redirect(run)


def _as_it_stands(run: Run) -> dict[str, Any]:
    steps = bring_up_to_date(run)
    return {
        "run": run,
        "is_live": not run.is_finished,
        "steps": steps,
        "cancel_form": CancelForm(auto_id="cancel_%s"),
        "to_come": [] if run.is_finished else _names_to_come(run, steps),
        "log": log_piece(run, steps, 0),
    }


def _names_to_come(run: Run, begun: list[StepRun]) -> list[str]:
    """The steps that the settings foresee and that the run has not begun yet."""
    no_tools = Tools(git="", uv="", pm2="", restart_script="")
    try:
        planned = ordered_steps(AdminManagementSettings.load(), no_tools)
    except AdminManagementError:
        return []
    names = ["preconditions", *(step.name for step in planned)]
    if run.reverse_migrations:
        names.insert(names.index("pull"), "reverse_migrations")
    return [name for name in names if name not in {step.name for step in begun}]
