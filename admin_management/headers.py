"""The headers that every page and answer of ours carries."""

from urllib.parse import urlsplit

from django.http.response import HttpResponseBase
from django.templatetags.static import static


def protect(response: HttpResponseBase) -> None:
    """No caching, no framing, no sniffing, and no script or style but our own files."""
    response["Cache-Control"] = "no-store"
    response["X-Content-Type-Options"] = "nosniff"
    response["X-Frame-Options"] = "DENY"
    response["Referrer-Policy"] = "same-origin"
    response["Content-Security-Policy"] = content_security_policy()


def content_security_policy() -> str:
    """``default-src 'self'``, and the host that serves the static files if that is another."""
    sources = "'self'"
    parts = urlsplit(static("admin_management/dashboard.js"))
    if parts.netloc:
        sources += f" {parts.scheme + '://' if parts.scheme else ''}{parts.netloc}"
    return (
        f"default-src {sources}; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'; object-src 'none'"
    )
