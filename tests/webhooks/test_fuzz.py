"""Nothing that anybody sends is a 5xx, and only what is accepted leaves a row."""

import json
import logging
import os
import secrets
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from admin_management.models import AuditEvent, Run
from bench.memory import in_use
from webhooks import views
from webhooks.models import MOST_SECRETS, Delivery, Refusal, Secret

from .conftest import Deliver
from .fuzzing import HOSTILE_TEXTS, make_case
from .payloads import SECRET, ping, push, signature

pytestmark = pytest.mark.django_db

INPUTS = int(os.environ.get("WEBHOOK_FUZZ_INPUTS") or 50_000)
"""Fewer where the same was tried already, with another database or another Django."""

PARTS = 4
"""What the inputs are shared out to, so that several processors can have a part each."""

SEED = os.environ.get("WEBHOOK_FUZZ_SEED") or secrets.token_hex(4)
"""Printed when the test fails: give it by the variable to see the same again."""

GROWTH = 20.0
"""Megabytes: of all 50,000 inputs, 2 KB left behind by each would be more."""

EXPECTED = {200, 202, 400, 403, 413, 429}


@pytest.fixture
def no_log() -> Iterator[None]:
    """Each refusal is a line, and pytest keeps them all."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def known_secrets(part: int, settings: Any) -> list[str]:
    """That of the settings; in the last part two stored ones of another source, too."""
    if part < PARTS - 1:
        return [SECRET]
    settings.WEBHOOKS = {
        "SOURCES": {
            "site": {"REPOSITORY": "octocat/site", "SECRET": SECRET},
            "theme": {"REPOSITORY": "octocat/theme"},
        }
    }
    stored = [Secret.objects.make(created_by="", source="theme")[1] for _ in range(MOST_SECRETS)]
    return [SECRET, *stored]


@pytest.mark.parametrize("part", range(PARTS))
def test_no_input_is_a_5xx_and_only_what_is_accepted_leaves_a_row(
    no_log: None, part: int, known_secrets: list[str]
) -> None:
    print(f"WEBHOOK_FUZZ_SEED={SEED}")  # noqa: T201 - pytest shows it with a failure
    statuses: Counter[int] = Counter()
    accepted: set[str] = set()
    begun_with = in_use()
    for number in range(part, INPUTS, PARTS):
        if number // PARTS == INPUTS // PARTS // 10:
            begun_with = in_use()
        case = make_case(SEED, number, secrets=known_secrets)
        status = views.receive(case.request()).status_code
        assert status in EXPECTED, f"case {number}: {status}"
        statuses[status] += 1
        if status in (200, 202):
            accepted.add(case.delivery_id)
    assert {row.delivery_id for row in Delivery.objects.all()} == accepted
    assert AuditEvent.objects.filter(kind="delivery_accepted").count() <= len(accepted)
    assert Run.objects.count() == 1
    refused = sum(statuses[each] for each in EXPECTED - {200, 202})
    assert sum(row.count for row in Refusal.objects.all()) == refused
    signed_with = set(Delivery.objects.values_list("secret", flat=True))
    assert signed_with == {"settings", *Secret.objects.values_list("fingerprint", flat=True)}
    assert in_use() - begun_with < GROWTH
    # A fuzzer that gets through to nothing, or through everything, finds nothing.
    for status in (200, 202, 400, 403):
        assert statuses[status] > INPUTS / PARTS / 100, statuses


def fields_to_poison(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each field that is stored, with this text in it; the name of the event goes with it."""
    yield "push", push(ref=text)
    yield "push", push(ref=f"refs/heads/{text}")
    yield "push", push(before=text)
    yield "push", push(after=text)
    yield "push", push(action=text)
    yield "push", push(sender={"login": text})
    yield "push", push(repository={"full_name": text})
    yield "ping", ping() | {"repository": {"full_name": text}}
    for name in ("content_type", "insecure_ssl"):
        yield "ping", ping() | {"hook": {"config": {name: text}}}
    yield "ping", ping() | {"hook": {"events": [text]}}
    yield "push", push(commits=[{"message": text}], head_commit={"message": text})


@pytest.mark.parametrize("text", [*HOSTILE_TEXTS, "x" * 1_000_000])
def test_free_text_in_any_field_is_stored_harmlessly_or_refused(
    deliver: Deliver, text: str
) -> None:
    for event, payload in fields_to_poison(text):
        response = deliver(payload, event=event, body=json.dumps(payload).encode())
        assert response.status_code in (200, 202, 400), (event, text[:50])
    for row in Delivery.objects.values_list():
        texts = [value for value in row if isinstance(value, str)]
        assert all(each.isprintable() and len(each) <= 500 for each in texts)


@pytest.mark.parametrize("text", [*HOSTILE_TEXTS, "x" * 1_000_000])
@pytest.mark.parametrize("name", ["X_GitHub_Event", "X_GitHub_Delivery", "Content_Type"])
def test_free_text_in_any_header_is_a_plain_word_or_refused(
    deliver: Deliver, name: str, text: str
) -> None:
    sent = text.encode("utf-8", "surrogatepass").decode("latin-1")
    header: dict[str, Any] = {name: sent}
    status = deliver(push(), **header).status_code
    assert status in (202, 400)
    assert Delivery.objects.count() == (status == 202)


def test_a_thousand_flipped_bits_of_a_body_are_403(deliver: Deliver) -> None:
    body = json.dumps(push()).encode()
    right = deliver(None, body=body).status_code
    assert right == 202
    header: dict[str, Any] = {"X_Hub_Signature_256": signature(body)}
    step = len(body) * 8 // 1000
    for bit in range(0, step * 1000, step):
        wrong = bytearray(body)
        wrong[bit // 8] ^= 1 << bit % 8
        assert deliver(None, body=bytes(wrong), **header).status_code == 403
    assert Delivery.objects.count() == 1
