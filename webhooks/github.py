"""GitHub's side of the door: is it signed, and what does it say? Pure functions, no I/O.

https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
https://docs.github.com/en/webhooks/webhook-events-and-payloads
"""

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple, NoReturn
from urllib.parse import parse_qsl

from cryptography.hazmat.primitives.constant_time import bytes_eq
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from .exceptions import ParseError, UnverifiedError

SIGNATURE = re.compile(r"sha256=[0-9A-Fa-f]{64}")
SURROGATE = re.compile(r"[\ud800-\udfff]")
REVISION = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")

SHORTEST_SECRET = 16
"""Characters, white space around them not counted. What is shorter verifies nothing."""

MAX_REF = 255
MAX_NAME = 150
MAX_CONTENT_TYPE = 10
"""Characters of a ref, of any other text, of a content type. GitHub's limits are below these."""


class Payload(NamedTuple):
    """The few fields of a delivery that are used, fit to be stored; what is missing is empty.

    ``ref``, ``before``, ``after`` and ``deleted`` are read from a push only; how the webhook is
    set up (``content_type``, ``insecure_ssl``, ``sends_pushes``) from a ping only.
    """

    event: str
    action: str = ""
    repository: str = ""
    sender: str = ""
    ref: str = ""
    before: str = ""
    after: str = ""
    deleted: bool = False
    content_type: str = ""
    insecure_ssl: bool | None = None
    sends_pushes: bool | None = None


class Verifier:
    """Checks the signature of a body that arrives in pieces.

    Raises UnverifiedError at once if no body could pass: secrets that are all empty, blank or short
    must mean "closed" and never "open".
    """

    def __init__(self, *, signature: bytes, secrets: Sequence[str]) -> None:
        self._signature = signature
        self._hmacs = [
            (position, _keyed(secret).copy())
            for position, secret in enumerate(secrets)
            if is_usable(secret)
        ]
        if not self._hmacs:
            raise UnverifiedError

    def update(self, chunk: bytes) -> None:
        for _, hmac in self._hmacs:
            hmac.update(chunk)

    def verify(self) -> int:
        """Which of the secrets the pieces were signed with, counted from 0. Call it once.

        Raises UnverifiedError if it was none. All are compared, whichever it was, so that the time
        it takes tells nothing.
        """
        right = [
            position for position, hmac in self._hmacs if bytes_eq(hmac.finalize(), self._signature)
        ]
        if not right:
            raise UnverifiedError
        return right[0]


@lru_cache(maxsize=64)
def _keyed(secret: str) -> HMAC:
    """To be copied, and never updated: a new one takes nearly as long as to hash 8 KB.

    A retired secret stays in memory until the process ends, as the key that decrypts it does. More
    than ``maxsize`` active ones would each be made anew, and nothing worse.
    """
    return HMAC(secret.encode("utf-8", "surrogatepass"), SHA256())


def read_signature(header: str) -> bytes:
    """The signature that X-Hub-Signature-256 gives. Raises UnverifiedError if it has not its shape.

    https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
    """
    if not SIGNATURE.fullmatch(header):
        raise UnverifiedError
    return bytes.fromhex(header.removeprefix("sha256="))


def is_usable(secret: str) -> bool:
    """Whether a secret is long enough to verify anything."""
    return len(secret.strip()) >= SHORTEST_SECRET


def verify_signature(*, body: bytes, signature: str, secret: str) -> bool:
    """Whether ``signature``, as in X-Hub-Signature-256, is that of ``body``. Never raises.

    https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
    """
    try:
        verifier = Verifier(signature=read_signature(signature), secrets=[secret])
        verifier.update(body)
        verifier.verify()
    except UnverifiedError:
        return False
    return True


def parse(*, event: str, content_type: str, body: bytes) -> Payload:
    """What a delivery says. Raises ParseError, and nothing else, for what GitHub would not send.

    https://docs.github.com/en/webhooks/webhook-events-and-payloads#push
    """
    document = _document(_json_text(content_type, body))
    repository = _object(document, "repository")
    payload = Payload(
        event=event,
        action=_text(document, "action"),
        repository=_text(repository, "full_name"),
        sender=_text(_object(document, "sender"), "login"),
    )
    if event == "ping":
        return _with_the_hook(payload, _object(document, "hook"))
    if event != "push":
        return payload
    return payload._replace(
        repository=_needed(repository, "full_name"),
        ref=_ref(document),
        before=_revision(document, "before"),
        after=_revision(document, "after"),
        deleted=_flag(document, "deleted"),
    )


def _with_the_hook(payload: Payload, hook: Mapping[str, object]) -> Payload:
    """How the webhook is set up. Its ``config`` has the secret's place too: that is not read."""
    config = _object(hook, "config")
    return payload._replace(
        content_type=_text(config, "content_type", MAX_CONTENT_TYPE),
        insecure_ssl=_insecure_ssl(config),
        sends_pushes=_sends_pushes(hook),
    )


def _insecure_ssl(config: Mapping[str, object]) -> bool | None:
    value = config.get("insecure_ssl")
    if value is None:
        return None
    if isinstance(value, bool) or value not in ("0", "1", 0, 1):
        raise ParseError("insecure_ssl is neither 0 nor 1.")
    return value in ("1", 1)


def _sends_pushes(hook: Mapping[str, object]) -> bool | None:
    events = hook.get("events")
    if events is None:
        return None
    if not isinstance(events, list):
        raise ParseError("events is not a list.")
    return "push" in events or "*" in events


def _json_text(content_type: str, body: bytes) -> str:
    """The payload's text, from either of the content types that a webhook can be set to."""
    match content_type.partition(";")[0].strip().lower():
        case "application/json":
            return _decoded(body)
        case "application/x-www-form-urlencoded":
            return _form_field(body)
        case _:
            raise ParseError("The content type is neither JSON nor a form.")


def _decoded(body: bytes) -> str:
    # json.loads() would guess UTF-16 and UTF-32 from bytes; a payload is UTF-8.
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise ParseError("The body is not UTF-8.") from None


def _form_field(body: bytes) -> str:
    try:
        fields = parse_qsl(
            body.decode("ascii"), strict_parsing=True, errors="strict", max_num_fields=8
        )
    except ValueError:
        raise ParseError("The body is not a form.") from None
    payloads = [value for name, value in fields if name == "payload"]
    if len(payloads) != 1:
        raise ParseError("The form does not have one field named payload.")
    return payloads[0]


def _document(text: str) -> dict[str, object]:
    try:
        document = _DECODER.decode(text)
    except (ValueError, RecursionError):
        raise ParseError("The payload is not JSON.") from None
    if not isinstance(document, dict):
        raise ParseError("The payload is not an object.")
    return document


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("A name occurs twice in one object.")
    return document


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON.")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant)


def _object(document: Mapping[str, object], name: str) -> Mapping[str, object]:
    value = document.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ParseError(f"{name} is not an object.")
    return value


def _text(document: Mapping[str, object], name: str, longest: int = MAX_NAME) -> str:
    return "" if document.get(name) is None else _needed(document, name, longest)


def _needed(document: Mapping[str, object], name: str, longest: int = MAX_NAME) -> str:
    value = document.get(name)
    if not isinstance(value, str):
        raise ParseError(f"{name} is not a string.")
    if len(value) > longest:
        raise ParseError(f"{name} is too long.")
    if value.isprintable():
        return value
    if SURROGATE.search(value):
        raise ParseError(f"{name} has half of a character.")
    # Databases refuse NUL; logs and pages must not obey control characters.
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in value)


def _ref(document: Mapping[str, object]) -> str:
    value = _needed(document, "ref", MAX_REF)
    if not value.startswith("refs/"):
        raise ParseError("ref is not a full ref.")
    return value


def _revision(document: Mapping[str, object], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not REVISION.fullmatch(value):
        raise ParseError(f"{name} is not a commit.")
    return value


def _flag(document: Mapping[str, object], name: str) -> bool:
    value = document.get(name)
    if not isinstance(value, bool):
        raise ParseError(f"{name} is neither true nor false.")
    return value
