"""Who is connected to the server."""

from functools import lru_cache
from ipaddress import ip_address

from django.http import HttpRequest
from rest_framework.request import Request


def address_of(request: HttpRequest | Request) -> str | None:
    """Where a request comes from; None behind a socket that has no addresses."""
    return _normal(request.META.get("REMOTE_ADDR", "").partition("%")[0])


@lru_cache
def _normal(address: str) -> str | None:
    try:
        return str(ip_address(address))
    except ValueError:
        return None
