"""Who is staff, and what is remembered of who is not."""

import json
from datetime import timedelta

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.utils import timezone

from admin_management.audit import Kind
from admin_management.models import AuditEvent
from admin_management.permissions import REMEMBERED_FOR, is_staff, record_refusal

pytestmark = pytest.mark.django_db


def refusals() -> list[dict[str, object]]:
    return [json.loads(event.text) for event in AuditEvent.objects.filter(kind=Kind.REFUSED)]


def test_only_active_members_of_the_staff_are_staff(alice: User, bob: User) -> None:
    assert is_staff(alice)
    assert not is_staff(bob)
    assert not is_staff(AnonymousUser())
    assert not is_staff(None)
    alice.is_active = False
    assert not is_staff(alice)


def test_a_refused_user_becomes_an_event(bob: User) -> None:
    record_refusal(bob, address="192.0.2.7")
    [event] = refusals()
    assert event["actor"] == "bob"
    assert event["facts"] == {"user": str(bob.pk), "address": "192.0.2.7"}


def test_a_user_who_keeps_trying_becomes_one_event(bob: User) -> None:
    for _ in range(3):
        record_refusal(bob, address=None)
    assert len(refusals()) == 1


def test_each_user_becomes_an_event_of_their_own(bob: User) -> None:
    # The key of the second begins with the key of the first.
    for key in (1, 11):
        record_refusal(User(pk=key, username=f"bob-{key}"), address=None)
    assert len(refusals()) == 2


def test_after_an_hour_a_user_is_remembered_again(
    bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_refusal(bob, address=None)
    later = timezone.now() + REMEMBERED_FOR + timedelta(seconds=1)
    monkeypatch.setattr("admin_management.permissions.timezone.now", lambda: later)
    record_refusal(bob, address=None)
    assert len(refusals()) == 2


def test_nobody_else_becomes_an_event(alice: User) -> None:
    for user in (alice, AnonymousUser(), None):
        record_refusal(user, address=None)
    assert refusals() == []
