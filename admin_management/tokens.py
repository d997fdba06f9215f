"""``Authorization: Bearer dam_…``: how scripts say who they are."""

import logging
from typing import Any

from django.db import DatabaseError
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed, Throttled
from rest_framework.request import Request

from .models import ApiToken
from .throttling import WrongTokenThrottle

logger = logging.getLogger("admin_management")

WRONG = "This token is unknown, expired or revoked, or its user is deactivated."


class TokenAuthentication(BaseAuthentication):
    """A token of ours. It needs no cross-origin check: no browser sends it by itself.

    Other schemes are not looked at; a proxy may ask for a password of its own. Which of the
    possible reasons a token is wrong for is not told.
    """

    def authenticate(self, request: Request) -> tuple[Any, ApiToken] | None:
        scheme, _, value = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        token = ApiToken.objects.of_value(value)
        if token is None or not token.user.is_active:
            raise _refusal(request)
        try:
            token.touch()
        except DatabaseError:
            logger.exception("The use of a token could not be recorded")
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="admin_management"'


def _refusal(request: Request) -> AuthenticationFailed | Throttled:
    # Counted after the look: behind a proxy all share one address, and who has a good token must
    # not be shut out by who has none.
    throttle = WrongTokenThrottle()
    if throttle.allow_request(request, None):  # type: ignore[arg-type] # it needs no view
        return AuthenticationFailed(WRONG)
    return Throttled(wait=throttle.wait())
