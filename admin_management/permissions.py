"""Who may do what: staff read, and each change is a permission; who was refused is remembered."""

import json
import logging
from collections.abc import Iterable, Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.utils import timezone
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from .audit import Kind
from .client import address_of
from .models import ApiToken, AuditEvent, Scope
from .panels import doors_of_panels
from .plain import plain

logger = logging.getLogger("admin_management")

REMEMBERED_FOR = timedelta(hours=1)
"""A refused user becomes one event for each address in this time: events stay for good."""


class Permission(StrEnum):
    """What a change needs: the models have these permissions, and superusers have all of them."""

    REQUEST = "request_update"
    CANCEL = "cancel_update"
    ROLL_BACK = "roll_back_update"
    HOLD = "hold_updates"
    ACCEPT_REWRITTEN = "accept_rewritten_history"

    @property
    def label(self) -> str:
        """As Django's has_perm() wants it."""
        return f"admin_management.{self}"


DOORS: Mapping[tuple[str, str], str | None] = {
    ("POST", "update-list"): Permission.REQUEST.label,
    ("POST", "dashboard"): Permission.REQUEST.label,
    ("POST", "update-cancel"): Permission.CANCEL.label,
    ("POST", "cancel"): Permission.CANCEL.label,
    ("POST", "update-rollback"): Permission.ROLL_BACK.label,
    ("POST", "rollback"): Permission.ROLL_BACK.label,
    ("POST", "hold-detail"): Permission.HOLD.label,
    ("DELETE", "hold-detail"): Permission.HOLD.label,
    ("POST", "hold"): Permission.HOLD.label,
    ("POST", "release"): Permission.HOLD.label,
    ("POST", "origin"): None,
}
"""What every method but the reading ones needs beside being staff, by name of the address.

What is neither here nor a panel's is refused. None: it changes nothing.
"""

WISHES: Mapping[str, Permission] = {
    "accept_rewritten": Permission.ACCEPT_REWRITTEN,
    "override_hold": Permission.HOLD,
}
"""What a request for an update may wish for only with a permission of its own."""

NOT_STAFF = "Only staff may do this."


def is_staff(user: object) -> bool:
    """Whether this is an active member of the staff. Anonymous users and None are not."""
    return bool(getattr(user, "is_active", False) and getattr(user, "is_staff", False))


def permissions_of(user: Any) -> frozenset[Permission]:
    """What this user may change; nothing if they are not staff."""
    if not is_staff(user):
        return frozenset()
    return frozenset(each for each in Permission if user.has_perm(each.label))


def obstacle(request: HttpRequest | Request) -> str | None:
    """Why the user may not do what the request asks for; None if they may. Reading needs staff."""
    if not is_staff(request.user):
        return NOT_STAFF
    if request.method in SAFE_METHODS:
        return None
    token = getattr(request, "auth", None)
    if isinstance(token, ApiToken) and token.scope != Scope.UPDATE:
        return "This token may only read."
    match = request.resolver_match
    door = (request.method or "", (match and match.url_name) or "")
    doors = {**doors_of_panels(), **DOORS}
    if door not in doors:
        return "Nobody may do this."
    needed = doors[door]
    if needed is None or request.user.has_perm(needed):
        return None
    return _told(needed)


def require_wishes(request: HttpRequest | Request, options: Mapping[str, object]) -> None:
    """Raises PermissionDenied, and remembers it, if an option needs what the user does not have."""
    missing = _missing(request.user, [name for name, wish in options.items() if wish])
    if missing:
        record_refusal(request)
        raise PermissionDenied(_told(missing.label))


def record_refusal(request: HttpRequest | Request) -> None:
    """Remember that a signed-in user asked for a change that they may not make.

    Anonymous requests leave no event: anybody can send as many as they like.
    """
    user = request.user
    if not user.is_authenticated:
        return
    name, match = str(user), request.resolver_match
    who: dict[str, Any] = {"asked_for": (match and match.url_name) or "", "user": str(user.pk)}
    logger.warning("Refused a %s of %s by %s", request.method, plain(request.path), plain(name))
    # The canonical text sorts names, so these two stand side by side; it has no spaces, and a quote
    # inside a value is escaped.
    told = json.dumps(who, separators=(",", ":")).strip("{}")
    since = timezone.now() - REMEMBERED_FOR
    if not AuditEvent.objects.filter(
        kind=Kind.REFUSED, at__gte=since, text__contains=told
    ).exists():
        AuditEvent.objects.append(Kind.REFUSED, actor=name, address=address_of(request), **who)


class IsAllowed(BasePermission):
    """``obstacle``, for Django REST framework."""

    message = NOT_STAFF

    def has_permission(self, request: Request, view: Any) -> bool:
        # Without an action there is nothing to be allowed: the answer will be 405.
        if view.action is None:
            self.message = NOT_STAFF
            return is_staff(request.user)
        problem = obstacle(request)
        self.message = problem or ""
        return problem is None


def _missing(user: object, wishes: Iterable[str]) -> Permission | None:
    granted = permissions_of(user)
    needed = (WISHES[name] for name in wishes if name in WISHES)
    return next((each for each in needed if each not in granted), None)


def _told(needed: str) -> str:
    return f"This needs the permission {needed}."
