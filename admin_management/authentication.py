"""Session authentication for scripts and browsers: no token, but no request from another site.

The precedent is CVE-2024-22424 (Argo CD): a cookie and a JSON content type alone do not prove that
the user's own page has sent a request.
"""

import logging
import time
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Self
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import PermissionDenied as NotPermitted
from django.http import HttpRequest
from rest_framework.authentication import SessionAuthentication
from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request

from .conf import AdminManagementSettings
from .plain import plain

logger = logging.getLogger("admin_management")


_DEFAULT_PORTS = {"http": 80, "https": 443}

REFUSED = (
    "This request comes from another site. Send it from the dashboard, or from a program that "
    "is not a browser."
)

SILENT = (
    "This request says neither with Origin nor with Sec-Fetch-Site where it comes from, and this "
    "site requires that of a session. If you use a browser, a proxy removes both: let it pass them "
    "on. A script sends a token."
)

STALE = "This needs a recent login: log out, log in again, and do it then."

LOGIN_AT = "admin_management_login_at"
"""The key of a session under which it keeps when its user has logged in, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestHeaders:
    """What of a request tells where it comes from. Absent headers are None, not empty."""

    method: str
    host: str
    is_https: bool
    origin: str | None = None
    fetch_site: str | None = None
    referer: str | None = None

    @classmethod
    def of(cls, request: HttpRequest | Request) -> Self:
        return cls(
            method=request.method or "",
            host=request.get_host(),
            is_https=request.is_secure(),
            origin=request.META.get("HTTP_ORIGIN"),
            fetch_site=request.META.get("HTTP_SEC_FETCH_SITE"),
            referer=request.META.get("HTTP_REFERER"),
        )


def seen_in(request: HttpRequest | Request) -> list[str]:
    """Which of the headers arrived by which a browser says where a request comes from."""
    return [name for name in ("Origin", "Sec-Fetch-Site") if name in request.headers]


def lacks_origin(request: HttpRequest | Request) -> bool:
    """Whether a change is refused because ``REQUIRE_ORIGIN`` is set and neither header is there."""
    if request.method in SAFE_METHODS or seen_in(request):
        return False
    return AdminManagementSettings.load().require_origin


def remember_login(request: HttpRequest | None, **facts: object) -> None:
    """Receives ``user_logged_in``: Django itself knows only the user's last login, anywhere."""
    if request is not None and hasattr(request, "session"):
        request.session[LOGIN_AT] = time.time()


def require_recent_login(request: HttpRequest | Request) -> None:
    """Raises PermissionDenied for a session older than ``RECENT_LOGIN``. Tokens are not asked."""
    longest = AdminManagementSettings.load().recent_login
    is_session = getattr(request, "auth", None) is None
    if longest and is_session and time.time() - request.session.get(LOGIN_AT, 0) > longest:
        raise NotPermitted(STALE)


def is_same_origin(headers: RequestHeaders, trusted_origins: Collection[str] = ()) -> bool:
    """Whether a request may change something: it reads only, is ours, or is not a browser's.

    Every browser sends at least one of the three headers with a request that changes something,
    and no page can forge them. What cannot be understood is refused. A sibling subdomain
    (``same-site``) is refused on purpose.
    """
    if headers.method in SAFE_METHODS:
        return True
    if headers.origin in trusted_origins and _authority(headers.origin):
        return True
    if headers.fetch_site is not None:
        return headers.fetch_site in ("same-origin", "none")
    if headers.origin is not None:
        return _is_this_host(headers.origin, headers, bare=True)
    if headers.referer is not None:
        return _is_this_host(headers.referer, headers)
    return True


def why_foreign(request: HttpRequest | Request, *, as_method: str = "") -> str:
    """Why a request may not change anything, by where it comes from; empty if it may.

    ``as_method`` is judged in the place of its own, which may be one that only reads.
    """
    headers = RequestHeaders.of(request)
    if as_method:
        headers = replace(headers, method=as_method)
    if lacks_origin(request):
        problem = SILENT
    elif not is_same_origin(headers, settings.CSRF_TRUSTED_ORIGINS):
        problem = REFUSED
    else:
        return ""
    logger.warning("Refused a %s of %s by where it comes from", request.method, plain(request.path))
    return problem


class SameOriginSessionAuthentication(SessionAuthentication):
    """The session cookie, with ``is_same_origin`` in the place of the CSRF token."""

    def enforce_csrf(self, request: Request) -> None:
        if problem := why_foreign(request):
            raise PermissionDenied(problem)


def _is_this_host(url: str, headers: RequestHeaders, *, bare: bool = False) -> bool:
    """Whether ``url`` names the request's own host and port; ``bare``: and nothing after it."""
    scheme = url.partition(":")[0]
    if headers.is_https and scheme != "https":
        return False
    found = _authority(url, bare=bare)
    # A proxy that ends TLS may hide the scheme from us, so the browser's word decides which port
    # an unnamed one is.
    return found is not None and found == _authority(f"{scheme}://{headers.host}", bare=True)


def _authority(url: str | None, *, bare: bool = False) -> tuple[str, int] | None:
    """Host and port of an http(s) URL; None if it is anything else."""
    # urlsplit() drops tabs and line ends without a word.
    if not url or not url.isprintable() or " " in url:
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    default_port = _DEFAULT_PORTS.get(parts.scheme)
    if not parts.hostname or default_port is None or "@" in parts.netloc:
        return None
    if bare and (parts.path or parts.query or parts.fragment):
        return None
    return parts.hostname, default_port if port is None else port
