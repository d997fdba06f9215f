"""Staff only; and who tried without being staff is remembered."""

import json
import logging
from datetime import timedelta

from django.utils import timezone
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from .audit import Kind
from .models import AuditEvent

logger = logging.getLogger("admin_management")

REMEMBERED_FOR = timedelta(hours=1)
"""A refused user becomes one event in this time, however often they try: events stay for good."""


def is_staff(user: object) -> bool:
    """Whether this is an active member of the staff. Anonymous users and None are not."""
    return bool(getattr(user, "is_active", False) and getattr(user, "is_staff", False))


class IsStaff(BasePermission):
    """Active members of the staff, for reading and for changing."""

    message = "Only staff may do this."

    def has_permission(self, request: Request, view: APIView) -> bool:
        return is_staff(request.user)


def record_refusal(user: object, *, address: str | None) -> None:
    """Remember that a signed-in user who is not staff asked for an update.

    Anonymous requests leave no event: anybody can send as many as they like.
    """
    if not getattr(user, "is_authenticated", False) or is_staff(user):
        return
    name, key = str(user), str(getattr(user, "pk", ""))
    logger.warning("Refused an update by %s, who is not staff", name)
    # The canonical text has no spaces, and a quote inside a value is escaped.
    same_user = AuditEvent.objects.filter(
        kind=Kind.REFUSED,
        at__gte=timezone.now() - REMEMBERED_FOR,
        text__contains=f'"user":{json.dumps(key)}',
    )
    if not same_user.exists():
        AuditEvent.objects.append(Kind.REFUSED, actor=name, user=key, address=address)
