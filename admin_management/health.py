"""Whether this site can serve: its health address, and the same asked without a socket.

A release is known by what was on disk when its process began. Django imports the addresses at the
first request, so a look at the disk at that moment could take old code for new.
"""

import hmac
import json
import os
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from typing import Any, Self, cast
from urllib.parse import unquote_to_bytes, urlsplit
from wsgiref.types import WSGIApplication

from django.apps import apps
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import got_request_exception
from django.db import Error as DatabaseFailure
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import NoReverseMatch, get_script_prefix, reverse
from django.views.decorators.http import require_safe

from .conf import AdminManagementSettings
from .exceptions import DatabaseDownError, NotHealthyError
from .headers import NO_PAGE, protect
from .runner.head import checked_out_revision
from .runner.plan import Health
from .runner.process import start_time
from .runner.state import NotAGitCheckoutError, StateDirectory

HEADER = "X-Health-Token"
"""Carries ``StateDirectory.health_token``."""


@dataclass(frozen=True, slots=True)
class Release:
    """What a process runs: the commit that was checked out when it began, and when that was."""

    revision: str | None
    started_at: datetime

    @classmethod
    def on_disk(cls) -> Self:
        """Starts no process. ``revision`` is None where it cannot be read; checks say why."""
        try:
            revision = checked_out_revision(AdminManagementSettings.load().checkout)
        except (ImproperlyConfigured, NotAGitCheckoutError, OSError, ValueError):
            revision = None
        return cls(revision, datetime.now(UTC))


@login_not_required
@transaction.non_atomic_requests
def health(request: HttpRequest) -> HttpResponse:
    """200 if the database answers, else 503. Only who sends the token is told what runs here."""
    answer = _health(request)
    protect(answer, NO_PAGE)
    return answer


@require_safe
def _health(request: HttpRequest) -> HttpResponse:
    is_well = _database_answers()
    answer: dict[str, Any] = {"ok": True} if is_well else {"ok": False, "problem": "database"}
    if _has_the_token(request):
        answer |= _identity()
    return JsonResponse(answer, status=200 if is_well else 503)


def _database_answers() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            return True
    except DatabaseFailure:
        return False


def _has_the_token(request: HttpRequest) -> bool:
    given = request.headers.get(HEADER)
    if not given:
        return False
    try:
        state = StateDirectory.of(AdminManagementSettings.load().checkout)
    except (ImproperlyConfigured, NotAGitCheckoutError, OSError):
        return False
    known = state.known_health_token()
    return known is not None and hmac.compare_digest(given.encode(), known.encode())


def _identity() -> dict[str, Any]:
    """``boot_ticks`` is when this process started, in clock ticks since the machine booted."""
    release: Release = cast("Any", apps.get_app_config("admin_management")).release
    return {
        "revision": release.revision,
        "started_at": release.started_at,
        "pid": os.getpid(),
        "boot_ticks": start_time(os.getpid()),
    }


def answer_in_process(application: WSGIApplication) -> None:
    """Ask a WSGI application for our health address and, if there is one, for ``HEALTH_URL``.

    Needs no socket. Leaves the database connection open that the answer needed. Raises
    DatabaseDownError if all that is wrong is the database, NotHealthyError for anything else but
    an answer of 2xx.
    """
    ours = _ask(application, _our_address())
    if ours.status.startswith("503 ") and ours.says_database:
        raise DatabaseDownError(str(ours))
    ours.require_success()
    if url := AdminManagementSettings.load().health_url:
        parts = urlsplit(url)
        _ask(application, f"{parts.path or '/'}?{parts.query}".rstrip("?")).require_success()


def visit() -> Health:
    """How a runner asks this site over HTTP, for a plan."""
    address = _our_address()
    url = AdminManagementSettings.load().health_url
    headers = {"Host": _host()}
    if settings.SECURE_SSL_REDIRECT and settings.SECURE_PROXY_SSL_HEADER:
        header, value = settings.SECURE_PROXY_SSL_HEADER
        headers[header.removeprefix("HTTP_").replace("_", "-").title()] = value
    return Health(addresses=(address, url) if url else (address,), headers=headers)


@dataclass(slots=True)
class _Answer:
    """What an application answered, and what it raised meanwhile: Django's 500 does not say why."""

    address: str
    status: str = ""
    location: str = ""
    body: bytes = b""
    raised: str = ""

    @property
    def says_database(self) -> bool:
        try:
            return bool(json.loads(self.body)["problem"] == "database")
        except (ValueError, KeyError, TypeError):
            return False

    def require_success(self) -> None:
        if not self.status.startswith("2"):
            raise NotHealthyError(str(self))

    def __str__(self) -> str:
        text = f"{self.address} answered {self.status or 'nothing'}"
        if self.location:
            text += f" to {self.location}"
        return f"{text} ({self.raised})" if self.raised else text

    def start(self, status: str, headers: list[tuple[str, str]], exc_info: object = None) -> Any:
        self.status = status
        self.location = dict(headers).get("Location", "")

    def note_error(self, **_: object) -> None:
        self.raised = _named(sys.exc_info()[1])


def _ask(application: WSGIApplication, address: str) -> _Answer:
    answer = _Answer(address)
    got_request_exception.connect(answer.note_error, weak=False)
    try:
        chunks = application(_environ(address), answer.start)
        try:
            answer.body = b"".join(chunks)
        finally:
            # Django's request ends here: it lets go of what it holds.
            getattr(chunks, "close", lambda: None)()
    except Exception as error:
        raise NotHealthyError(f"{address} answered nothing ({_named(error)})") from error
    finally:
        got_request_exception.disconnect(answer.note_error)
    return answer


def _our_address() -> str:
    """Importing the addresses is where an error in them shows."""
    try:
        return reverse("admin_management:health")
    except NoReverseMatch:
        raise NotHealthyError('The site does not include "admin_management.urls".') from None
    except Exception as error:
        raise NotHealthyError(f"The addresses cannot be imported ({_named(error)})") from error


def _environ(address: str) -> dict[str, Any]:
    """A visitor's GET (PEP 3333): to a host that is allowed, over HTTPS if that is a must."""
    path, _, query = address.partition("?")
    host = _host()
    https: bool = settings.SECURE_SSL_REDIRECT
    environ = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": _path_info(path),
        "QUERY_STRING": query,
        "SERVER_NAME": host,
        "SERVER_PORT": "443" if https else "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": host,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "https" if https else "http",
        "wsgi.input": BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    if https and settings.SECURE_PROXY_SSL_HEADER:
        header, value = settings.SECURE_PROXY_SSL_HEADER
        environ[header] = value
    return environ


def _path_info(path: str) -> str:
    below = path.removeprefix(get_script_prefix()).lstrip("/")
    return "/" + unquote_to_bytes(below).decode("latin-1")


def _host() -> str:
    usable = (entry.removeprefix(".") for entry in settings.ALLOWED_HOSTS if "*" not in entry)
    host = next(filter(None, usable), "localhost")
    return f"www.{host}" if settings.PREPEND_WWW and not host.startswith("www.") else host


def _named(error: BaseException | None) -> str:
    return f"{type(error).__name__}: {error}"
