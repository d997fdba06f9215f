"""How often somebody may ask: changes by each user or token, wrong tokens by each address."""

from typing import Any

from django.core.cache.backends.locmem import LocMemCache
from django.http import HttpRequest
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.throttling import SimpleRateThrottle

from .client import address_of
from .models import ApiToken

COUNTS = LocMemCache("admin_management.throttling", {"OPTIONS": {"MAX_ENTRIES": 10_000}})
"""Of this process alone: no cache of the site can be down, shared with others, or a dummy."""


class ChangeThrottle(SimpleRateThrottle):
    """Changes in a minute, by the token or else by the user. Reading is free."""

    rate = "30/min"
    cache = COUNTS

    def get_cache_key(self, request: Request | HttpRequest, view: Any) -> str | None:
        if request.method in SAFE_METHODS:
            return None
        return _asker(request)


class FetchThrottle(SimpleRateThrottle):
    """Looks at the remote in a minute, by the API or the dashboard."""

    rate = "6/min"
    cache = COUNTS

    def get_cache_key(self, request: Request | HttpRequest, view: Any) -> str | None:
        return f"fetch-{_asker(request)}"


class WrongTokenThrottle(SimpleRateThrottle):
    """Wrong tokens in a minute, by the address that they come from."""

    rate = "20/min"
    cache = COUNTS

    def get_cache_key(self, request: Request | HttpRequest, view: Any) -> str | None:
        return f"address-{address_of(request)}"


def _asker(request: Request | HttpRequest) -> str:
    token = getattr(request, "auth", None)
    return f"token-{token.pk}" if isinstance(token, ApiToken) else f"user-{request.user.pk}"
