"""What all pages for staff share: who may, from where, how often, and with which headers."""

from collections.abc import Callable
from functools import wraps
from math import ceil
from typing import Any

from django.contrib import admin
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_http_methods

from .authentication import why_foreign
from .headers import protect
from .permissions import obstacle, permissions_of, record_refusal
from .throttling import ChangeThrottle

type_of_view = Callable[..., HttpResponse]


def staff_page(*methods: str) -> Callable[[type_of_view], type_of_view]:
    """For who may: others are led to the admin's login and back, or told no.

    Whatever is answered has our headers, refusals and pages that are not found included.
    """

    def decorate(view: type_of_view) -> type_of_view:
        @csrf_protect
        @require_http_methods(methods)
        def guarded(request: HttpRequest, **arguments: Any) -> HttpResponse:
            try:
                return (
                    _turn_away(request)
                    or _from_elsewhere(request)
                    or _throttled(request)
                    or view(request, **arguments)
                )
            except Http404:
                return _problem(request, 404, "There is no such update.")
            except PermissionDenied as error:
                return _problem(request, 403, str(error))

        # Exempt from the site's own middleware, whose refusals would not come by here.
        @csrf_exempt
        @wraps(view)
        def protected(request: HttpRequest, **arguments: Any) -> HttpResponse:
            response = guarded(request, **arguments)
            protect(response)
            return response

        # With ATOMIC_REQUESTS a runner would start before its run is committed.
        return login_not_required(transaction.non_atomic_requests(protected))

    return decorate


def page(
    request: HttpRequest, template: str, context: dict[str, Any], *, status: int = 200
) -> HttpResponse:
    """A page in the looks of the admin. It knows as ``may`` what the user is permitted."""
    return render(
        request,
        template,
        {**admin.site.each_context(request), "may": permissions_of(request.user), **context},
        status=status,
    )


def _turn_away(request: HttpRequest) -> HttpResponse | None:
    """To the login; but who is signed in and tries to change something gets a plain no."""
    problem = obstacle(request)
    if problem is None:
        return None
    if request.method == "POST" and request.user.is_authenticated:
        record_refusal(request)
        raise PermissionDenied(problem)
    return redirect_to_login(request.get_full_path(), reverse("admin:login"))


def _from_elsewhere(request: HttpRequest) -> HttpResponse | None:
    problem = why_foreign(request)
    return _problem(request, 403, problem) if problem else None


def _throttled(request: HttpRequest) -> HttpResponse | None:
    throttle = ChangeThrottle()
    if throttle.allow_request(request, None):  # type: ignore[arg-type] # it needs neither
        return None
    wait = ceil(throttle.wait() or 1)
    answer = _problem(request, 429, f"Too many changes in a minute: try again in {wait} s.")
    answer["Retry-After"] = str(wait)
    return answer


def _problem(request: HttpRequest, status: int, problem: str) -> HttpResponse:
    title = {404: "Not found", 429: "Not so fast"}.get(status, "Not allowed")
    return page(
        request,
        "admin_management/problem.html",
        {"title": title, "problem": problem},
        status=status,
    )
