"""How an event is written down, byte for byte."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin_management.audit import Kind, canonical_text
from admin_management.exceptions import AppendOnlyError
from admin_management.models import AuditEvent

NOON = datetime(2026, 1, 1, 12, 0, 0, 5, tzinfo=UTC)

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | NUMBERS | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def text(facts: object, **changes: Any) -> str:
    event: dict[str, Any] = {"seq": 1, "at": NOON, "kind": Kind.REQUESTED, "actor": "alice"}
    return canonical_text(**event | changes, facts=facts)


def test_the_text_of_an_event_never_changes() -> None:
    assert text({"b": ["ü", 1.5, None], "a": True}, actor="Zoë") == (
        '{"actor":"Zo\\u00eb","at":"2026-01-01T12:00:00.000005+00:00",'
        '"facts":{"a":true,"b":["\\u00fc",1.5,null]},"kind":"requested","seq":1}'
    )


def test_the_kinds_are_words_that_stay() -> None:
    assert [kind.value for kind in Kind] == [
        "requested",
        "coalesced",
        "started",
        "step_finished",
        "finished",
        "delivery_accepted",
        "refused",
        "held",
        "released",
        "hold_overridden",
        "cancel_requested",
        "token_issued",
        "token_revoked",
        "secret_made",
        "secret_retired",
    ]


@given(st.dictionaries(st.text(), JSON))
def test_the_order_of_the_facts_makes_no_difference(facts: dict[str, Any]) -> None:
    assert text(facts) == text(dict(reversed(facts.items())))


@given(JSON)
def test_what_is_written_can_be_read(facts: Any) -> None:
    written = text(facts)
    assert json.loads(written)["facts"] == facts
    assert written.isascii()
    assert "\n" not in written


@pytest.mark.parametrize("facts", [{1}, object(), b"bytes", NOON])
def test_facts_that_json_cannot_hold_are_an_error(facts: object) -> None:
    with pytest.raises(TypeError):
        text(facts)


def test_a_number_that_json_cannot_hold_is_an_error() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        text(float("nan"))


@pytest.mark.django_db
def test_no_way_round_the_manager_changes_an_event() -> None:
    AuditEvent.objects.append(Kind.REQUESTED, actor="alice")
    event = AuditEvent.objects.get()
    with pytest.raises(AppendOnlyError):
        AuditEvent.objects.bulk_create([event], update_conflicts=True)
    with pytest.raises(AppendOnlyError):
        AuditEvent._base_manager.all().delete()
    with pytest.raises(AppendOnlyError):
        event.save()
    with pytest.raises(AppendOnlyError):
        event.delete()
