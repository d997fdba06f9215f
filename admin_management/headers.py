"""The headers that every page and answer of ours carries."""

from urllib.parse import urlsplit

from django.http.response import HttpResponseBase
from django.templatetags.static import static

NO_PAGE = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""The policy of an answer that is data, and that must not depend on how files are served."""


def protect(response: HttpResponseBase, policy: str | None = None) -> None:
    """No caching, no framing, no sniffing, and no script or style but our own files."""
    response["Cache-Control"] = "no-store"
    response["X-Content-Type-Options"] = "nosniff"
    response["X-Frame-Options"] = "DENY"
    response["Referrer-Policy"] = "same-origin"
    response["Content-Security-Policy"] = policy or content_security_policy()


def content_security_policy() -> str:
    """``default-src 'self'``, and the host that serves the static files if that is another."""
    sources = "'self'"
    try:
        parts = urlsplit(static("admin_management/dashboard.js"))
    except ValueError:
        # A manifest that does not know our files: data and refusals must go out all the same.
        parts = urlsplit("")
    if parts.netloc:
        sources += f" {parts.scheme + '://' if parts.scheme else ''}{parts.netloc}"
    return (
        f"default-src {sources}; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'; object-src 'none'"
    )
