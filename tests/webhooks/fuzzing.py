"""Deliveries that nobody has thought of: right ones, changed at random, often signed after that.

Each is made from the seed and its number alone, so one that fails can be made again by itself.
"""

import json
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from io import BytesIO
from random import Random
from typing import Any
from urllib.parse import urlencode

from django.core.handlers.wsgi import WSGIRequest
from django.test import RequestFactory

from admin_management.content_type import discard_unreadable

from .payloads import (
    FORM,
    JSON,
    ping,
    push,
    push_of_a_tag,
    push_that_creates,
    push_that_deletes,
    signature,
)

URL = "/webhooks/github/"

HOSTILE_TEXTS = (
    *(
        "",
        " ",
        "\0",
        "a\0b",
        "\ud800",
        "\udfff\ud800",
        "\r\nX-Injected: 1",
        "\n",
        "\x1b[2J\x1b]0;x\x07",
    ),
    *(
        "\u202e\u2066live\u2069",
        "\ufeff",
        "\u2028",
        "\x85",
        "e\u0301\u0301",
        "\U0001f680" * 60,
        "\uffff",
    ),
    *(
        "<script>alert(1)</script>",
        "' onload='x",
        "]]>",
        "&amp;&#0;",
        "{{ 7|add:7 }}",
        "{% load x %}",
    ),
    *("${7*7}", "%s%n%d", "{0.__class__}", "--upload-pack=evil.sh", "-x", "$(id)", "`id`", "; id"),
    *(
        "../../etc/passwd",
        "/",
        "\\\\server\\share",
        "C:\\",
        "file:///",
        "' OR 1=1 --",
        "NULL",
        "nan",
    ),
    *("refs/heads/", "refs/heads/master", "refs/heads/\0", "refs/heads/" + "x" * 300, "refs/"),
    *("0" * 40, "f" * 64, "F" * 40, "g" * 40, "\N{ARABIC-INDIC DIGIT SEVEN}" * 40, "x" * 2_000),
)
"""What tends to break what it is put into: databases, terminals, logs, pages, shells, templates."""

VALUES: tuple[Any, ...] = (
    *HOSTILE_TEXTS,
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        2**63,
        -(2**200),
        10**400,
        0.5,
        1e308,
        float("inf"),
        float("nan"),
    ),
    *([], {}, [[]], [None], {"": None}, {"full_name": []}, {"login": {}}, ["push"], [{}] * 50),
)

BASES: tuple[tuple[str, Callable[[], dict[str, Any]]], ...] = (
    *(("push", push), ("push", push_that_deletes), ("push", push_of_a_tag)),
    *(("push", push_that_creates), ("ping", ping)),
)
TEXTS = tuple((event, json.dumps(make())) for event, make in BASES)

EVENTS = ("push", "ping", "issues", "", "PUSH", "push\0", "a" * 65, "<b>", "pu sh", "\xe9", "*")
CONTENT_TYPES = (
    JSON,
    FORM,
    "",
    "text/plain",
    "application/json; charset=utf-16",
    "application/json; charset=zlib",
    "application/json; charset=undefined",
    "application/json; a*=foo''%41",
    "a; x*99999=1; x*=1",
    "\xff",
    "a/b" * 99,
)
SIGNATURES = (
    "",
    "sha256=",
    "sha1=" + "0" * 40,
    "sha256=" + "0" * 64,
    "\xff" * 71,
    "sha256=" + "z" * 64,
)
LENGTHS = ("", "0", "-1", "1", "ten", "1_0", "9" * 30, "9" * 5000, str(26 * 1024 * 1024))
ADDRESSES = ("127.0.0.1", "", "unix:", "192.0.2.7", "::ffff:10.0.0.1", "2001:db8::1%eth0", "\xff")
DELIMITERS = (
    b"{",
    b"[",
    b'"',
    b"\\",
    b"\\u",
    b"\xff",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"\0",
    b"NaN",
    b",",
)


MOST_COPIES = 1000
"""Of one part, however lists are put into lists. More, and what fills the memory is the fuzzer."""


@dataclass
class Case:
    """One request; ``environ`` has its headers, as WSGI names them."""

    body: bytes
    environ: dict[str, Any]

    @property
    def delivery_id(self) -> str:
        return str(self.environ.get("HTTP_X_GITHUB_DELIVERY", ""))

    def request(self) -> WSGIRequest:
        """As Django's handler makes it, which tells us before."""
        environ = BASE | {"wsgi.input": BytesIO(self.body)} | self.environ
        discard_unreadable(environ=environ)
        return WSGIRequest(environ)


BASE = {
    name: value
    for name, value in RequestFactory().post(URL).META.items()
    if name not in ("CONTENT_LENGTH", "CONTENT_TYPE", "wsgi.input")
}


def make_case(seed: str, number: int, *, secrets: Sequence[str]) -> Case:
    """The case of this number. A share is signed with one of the secrets after all changes."""
    random = Random(f"{seed}-{number}")
    event, text = random.choice(TEXTS)
    content_type = random.choice((JSON, JSON, JSON, JSON, FORM))
    right = body = _encoded(_restructured(json.loads(text), random), content_type, random)
    if random.random() < 0.4:
        body = _garbled(body, random)
    # Signed last most of the time: an unsigned one does not get past the door.
    signed = body if random.random() < 0.8 else right[:-1]
    environ = {
        "CONTENT_TYPE": content_type,
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_X_GITHUB_EVENT": event,
        "HTTP_X_GITHUB_DELIVERY": f"{number % 40_000:x}",
        "HTTP_X_HUB_SIGNATURE_256": signature(signed, random.choice(secrets)),
        "REMOTE_ADDR": "127.0.0.1",
    }
    if random.random() < 0.3:
        _disturb(environ, random)
    return Case(body, environ)


def _restructured(document: Any, random: Random) -> Any:
    """The document with none, one or a few of its parts changed."""
    room = MOST_COPIES
    for _ in range(random.choice((0, 1, 2, 3, 5, 8, 13))):
        parent, key = _somewhere(document, random)
        match random.randrange(5):
            case 0:
                del parent[key]
            case 1 if isinstance(parent, dict):
                parent[random.choice(HOSTILE_TEXTS)] = parent.pop(key)
            case 2:
                times = min(random.choice((1, 3, 20)), room)
                parent[key], room = [parent[key]] * times, room // times
            case _:
                # A copy: what one case changes in it must not be in the next.
                parent[key] = deepcopy(random.choice(VALUES))
        if not document:
            break
    return document


def _somewhere(document: Any, random: Random) -> tuple[Any, Any]:
    """A container in the document and a key of it; near the top most of the time."""
    parent, key = document, random.choice(list(document))
    while random.random() < 0.5 and isinstance(parent[key], dict | list) and parent[key]:
        parent = parent[key]
        key = random.choice(list(parent) if isinstance(parent, dict) else range(len(parent)))
    return parent, key


def _encoded(document: Any, content_type: str, random: Random) -> bytes:
    text = json.dumps(document, ensure_ascii=random.random() < 0.7)
    if random.random() < 0.01:
        depth = random.choice((50, 990, 5000))
        text = text[:-1] + ', "deep": ' + "[" * depth + "]" * depth + "}"
    encoded = text.encode(random.choice(("utf-8", "utf-8", "utf-8", "utf-16")), "surrogatepass")
    return urlencode({"payload": encoded}).encode() if content_type == FORM else encoded


def _garbled(body: bytes, random: Random) -> bytes:
    """The bytes with bits flipped, cut, doubled, or something put in between."""
    for _ in range(random.choice((1, 1, 2, 8))):
        at = random.randrange(len(body) + 1)
        match random.randrange(5):
            case 0 if at < len(body):
                body = body[:at] + bytes([body[at] ^ 1 << random.randrange(8)]) + body[at + 1 :]
            case 1:
                body = body[:at]
            case 2:
                body = body[:at] + body[at : at + random.randrange(200)] * 2 + body[at:]
            case 3:
                body = body[:at] + random.choice(DELIMITERS) + body[at:]
            case _:
                body = body[:at] + body[at + random.randrange(50) :]
    return body


def _disturb(environ: dict[str, Any], random: Random) -> None:
    """Change one header, or leave it out."""
    name, values = random.choice(
        (
            ("HTTP_X_GITHUB_EVENT", EVENTS),
            ("HTTP_X_GITHUB_DELIVERY", (*EVENTS, "the-same-again")),
            ("HTTP_X_HUB_SIGNATURE_256", SIGNATURES),
            ("CONTENT_TYPE", CONTENT_TYPES),
            ("QUERY_STRING", ("", "x", "%ff", "x=1;a&&=" * 9)),
            ("CONTENT_LENGTH", LENGTHS),
            ("REMOTE_ADDR", ADDRESSES),
            ("wsgi.input_terminated", (True,)),
        )
    )
    if random.random() < 0.2:
        environ.pop(name, None)
    else:
        environ[name] = random.choice(values)
    if name == "wsgi.input_terminated":
        del environ["CONTENT_LENGTH"]
