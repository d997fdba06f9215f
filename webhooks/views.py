"""Hear from GitHub: believe nothing unsigned, write down what is signed, ask for a run."""

import json
import logging
import re
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from threading import Lock
from uuid import UUID

from django.contrib.auth.decorators import login_not_required
from django.db import Error as DatabaseFailure
from django.db import IntegrityError, connection, transaction
from django.db.backends.utils import CursorWrapper
from django.http import HttpRequest, HttpResponse
from django.http.request import HttpHeaders
from django.views.decorators.csrf import csrf_exempt

from admin_management.client import address_of
from admin_management.exceptions import ConflictError, SettingsError
from admin_management.launcher import Requester, request_update, settle
from admin_management.models import Trigger

from .addresses import is_within
from .body import MAX_SIZE, Readable, read_verified
from .conf import WebhooksSettings
from .exceptions import (
    DisabledError,
    MethodError,
    NetworkError,
    ParseError,
    RefusedError,
    TooLargeError,
    TooManyError,
)
from .github import Verifier, parse, read_signature
from .keyring import Key, keys_of
from .models import ACCEPTED, WINDOW, Delivery, Outcome, Said, logged
from .tally import TALLY

logger = logging.getLogger("webhooks")

TOKEN = re.compile(r"[0-9A-Za-z_-]{1,64}")
"""What a delivery id and the name of an event look like; neither is signed."""

RETRY_AFTER = "60"
"""Seconds. GitHub does not retry by itself, but shows the failure and a button to redeliver."""

TURN = Lock()
LONGEST_WAIT = 2.0
"""Seconds that a thread waits for its turn to write."""


@login_not_required
@csrf_exempt
@transaction.non_atomic_requests
def receive(request: HttpRequest) -> HttpResponse:
    """Answer one delivery: 200 or 202 if it is accepted, and what is wrong with it if not."""
    try:
        return _receive(request)
    except RefusedError as error:
        return _refuse(request, error)
    except (DatabaseFailure, OSError, SettingsError, ConflictError):
        logger.exception("Delivery not recorded, or its run not started")
        response = _json(503, error="Try again later.")
        response["Retry-After"] = RETRY_AFTER
        return response


def _receive(request: HttpRequest) -> HttpResponse:
    if request.method != "POST":
        raise MethodError
    conf = _settings()
    _let_in(request, conf)
    body, key = _verified_body(request, conf)
    delivery_id = _token(request, "X-GitHub-Delivery")
    payload = parse(
        event=_token(request, "X-GitHub-Event"),
        content_type=_header(request, "Content-Type"),
        body=body,
    )
    said = Delivery.columns_of(
        payload,
        body,
        delivery_id=delivery_id,
        reason=key.source.why_ignored(payload),
        secret=key.name,
        source=key.source.name,
        address=address_of(request),
    )
    # SQLite lets one write, and the others look now and then whether it is over: of 16 threads some
    # waited for a second. So they take turns. Who has it may wait for the database, hence a limit.
    has_turn = connection.vendor == "sqlite" and TURN.acquire(timeout=LONGEST_WAIT)
    try:
        return _write_down(request, said)
    finally:
        if has_turn:
            TURN.release()


def _write_down(request: HttpRequest, said: Said) -> HttpResponse:
    """Write down what is signed, and ask for a run if it is to be."""
    if not said["reason"]:
        # Hardly ever is its id or body known, so it is not asked first.
        with suppress(IntegrityError):
            return _accept(request, said)
    try:
        return _record(request, said)
    except IntegrityError:
        # The same id or body came twice at this moment: the other one is there now.
        return _record(request, said)


def _accept(request: HttpRequest, said: Said) -> HttpResponse:
    """Write down a push and ask for a run.

    Raises IntegrityError if its id is known, or its body by a request that led to a run.
    """
    run_id = _request_update(
        request, said, lambda cursor, run_id: Delivery.objects.accept(cursor, said, run_id)
    )
    return _json(202, **ACCEPTED, run=str(run_id))


def _record(request: HttpRequest, said: Said) -> HttpResponse:
    """Write down a delivery that may be known, and ask for a run if it still has to."""
    new = Delivery(**said)
    with transaction.atomic():
        own, earlier = Delivery.objects.find(new.delivery_id, new.body_sha256)
        delivery = own or new
        is_known = earlier is not None and (earlier.led_to_a_run or bool(new.reason))
        is_old = is_known or (delivery.led_to_a_run and not delivery.never_ran)
        if not is_old and not new.reason:
            _request_update(request, said, lambda _, run_id: delivery.accept(said, run_id))
            return _answer(delivery, 202)
        # Under the id of yet another delivery a replay must not change what that one has said.
        if earlier and not delivery.led_to_a_run and delivery.body_sha256 == new.body_sha256:
            delivery.set_replayed(earlier)
        elif own and not earlier and own.outcome == new.outcome == Outcome.PING:
            own.repeat(said)
        delivery.keep()
    if is_old:
        _settle()
    return _answer(delivery, 200 if is_old or delivery.outcome == Outcome.PING else 202)


def _refuse(request: HttpRequest, error: RefusedError) -> HttpResponse:
    logger.warning("Delivery refused: %s", error)
    TALLY.count(address_of(request), error.reason)
    response = _json(error.status, error=str(error))
    # It is, by us. Django would send the ADMINS a mail for each 503, and anybody can cause those.
    response._has_been_logged = True  # type: ignore[attr-defined]
    if isinstance(error, TooManyError):
        response["Retry-After"] = str(int(WINDOW.total_seconds()))
    if isinstance(error, MethodError):
        response["Allow"] = "POST"
    return response


def _settings() -> WebhooksSettings:
    try:
        conf = WebhooksSettings.load()
    except SettingsError:
        logger.exception("Webhooks are off: a setting is wrong")
        raise DisabledError from None
    return conf


def _let_in(request: HttpRequest, conf: WebhooksSettings) -> None:
    """Raises NetworkError or TooManyError for whom nothing more is done."""
    address = address_of(request)
    if conf.allowed_networks and not is_within(address, conf.allowed_networks):
        raise NetworkError
    if TALLY.too_many_from(address):
        raise TooManyError


def _verified_body(request: HttpRequest, conf: WebhooksSettings) -> tuple[bytes, Key]:
    """The body, and the key that it was signed with."""
    declared = _declared_length(request)
    if declared > MAX_SIZE:
        raise TooLargeError
    signature = read_signature(_header(request, "X-Hub-Signature-256"))
    # Not before: stored ones are asked for and decrypted, and strangers shall not cause that.
    keys = keys_of(conf)
    verifier = Verifier(signature=signature, secrets=[key.value for key in keys])
    body, position = read_verified(_stream(request), verifier, declared=declared)
    keys[position].mark_used()
    return body, keys[position]


def _declared_length(request: HttpRequest) -> int:
    try:
        return max(0, int(request.META.get("CONTENT_LENGTH") or 0))
    except ValueError:
        return 0


def _stream(request: HttpRequest) -> Readable:
    """The body as a stream. ``request.body`` has a limit of its own, and an HTML page for it."""
    # A chunked body declares no length, and Django's stream is then empty. The server's ends by
    # itself where the server says so (wsgi.input_terminated).
    if not request.META.get("CONTENT_LENGTH") and request.META.get("wsgi.input_terminated"):
        stream: Readable = request.META["wsgi.input"]
        return stream
    return request


_wsgi_name = lru_cache(HttpHeaders.to_wsgi_name)


def _header(request: HttpRequest, name: str) -> str:
    # request.headers makes a mapping of all headers first, which takes longer than the signature.
    value: str = request.META.get(_wsgi_name(name), "")
    return value


def _token(request: HttpRequest, header: str) -> str:
    value = _header(request, header)
    if not TOKEN.fullmatch(value):
        raise ParseError(f"{header} is missing or malformed.")
    return value


def _request_update(
    request: HttpRequest, push: Said, accept: Callable[[CursorWrapper, UUID], None]
) -> UUID:
    """Ask for a run and write down, by ``accept``, that this push led to it. Returns its key.

    Once this is committed the launcher also settles what has ended.
    """
    branch, sender = push["ref"].removeprefix("refs/heads/"), push["sender"]
    by = f" by {sender}" if sender else ""

    def write_down(cursor: CursorWrapper, run_id: UUID) -> dict[str, object]:
        def tell() -> None:
            logger.info("Delivery %s accepted", push["delivery_id"], extra={"run": str(run_id)})

        accept(cursor, run_id)
        transaction.on_commit(tell, robust=True)
        return logged(push)

    run_id, _ = request_update(
        trigger=Trigger.WEBHOOK,
        requester=Requester(
            name=f"GitHub: {sender}" if sender else "GitHub", address=address_of(request)
        ),
        reason=f"push of {push['after'][:7]} to {branch}{by}",
        alongside=write_down,
    )
    return run_id


def _settle() -> None:
    """Bring finished runs into the database. No delivery fails because that failed."""
    try:
        settle()
    except Exception:
        logger.exception("Runs could not be settled")


def _answer(delivery: Delivery, status: int) -> HttpResponse:
    run = str(delivery.run_id) if delivery.run_id else None
    return _json(status, outcome=delivery.outcome, reason=delivery.reason, run=run)


def _json(status: int, **facts: str | None) -> HttpResponse:
    return HttpResponse(_said(**facts), content_type="application/json", status=status)


@lru_cache
def _said(**facts: str | None) -> bytes:
    """As JSON. Mostly it is what was said before: JsonResponse took a fifth of a refusal."""
    return json.dumps(facts).encode()
