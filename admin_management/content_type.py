"""A Content-Type that Django cannot read is as good as none."""

from typing import Any

from django.core.handlers.wsgi import WSGIRequest

SHORT = 100
"""Characters that every Django reads where no parameter follows. Django 6.1 refuses 10,000."""


def discard_unreadable(*, environ: dict[str, Any] | None = None, **signal: object) -> None:
    """Before Django makes a request of ``environ``: what fails there is a 500 for any stranger.

    ``x/y; a*=foo''%41`` and, with a query, ``x/y; charset=zlib`` do, and neither a view nor a
    middleware is asked. Without a query that charset fails where a form is read.
    """
    if environ is None:  # of ASGI, which sends a scope
        return
    content_type = environ.get("CONTENT_TYPE", "")
    if ";" not in content_type and len(content_type) <= SHORT:
        return
    try:
        request = WSGIRequest(dict(environ))
        b"x".decode(request.encoding or "utf-8", "replace")
    except Exception:
        environ["CONTENT_TYPE"] = ""
