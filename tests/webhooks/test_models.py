"""Deliveries as rows: one per id, written by the model's own methods only."""

import hashlib
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from pytest_django import DjangoAssertNumQueries

from admin_management.machine import node
from admin_management.models import Run, Trigger
from webhooks.github import MAX_NAME, MAX_REF, Payload
from webhooks.models import SAID, Delivery, Outcome, Said, insert_delivery, logged

from .payloads import AFTER, BEFORE

pytestmark = pytest.mark.django_db

PUSH = Payload(
    event="push",
    repository="octocat/site",
    sender="octocat",
    ref="refs/heads/master",
    before=BEFORE,
    after=AFTER,
)


def a_run() -> Run:
    return Run.objects.create(node=node(), trigger=Trigger.WEBHOOK, actor_name="GitHub: octocat")


def said(
    payload: Payload = PUSH, body: bytes = b"the body", delivery_id: str = "1", reason: str = ""
) -> Said:
    return Delivery.columns_of(
        payload,
        body,
        delivery_id=delivery_id,
        reason=reason,
        secret="settings",
        source="",
        address=None,
    )


def a_delivery(*args: Any, **facts: Any) -> Delivery:
    return Delivery(**said(*args, **facts))


def accept(said: Said, run: Run) -> None:
    with connection.cursor() as cursor:
        Delivery.objects.accept(cursor, said, run.pk)


def test_what_is_said_is_kept_in_the_columns_of_the_same_names() -> None:
    delivery = a_delivery()
    assert {name: getattr(delivery, name) for name in SAID} == {
        **{name: value for name, value in PUSH._asdict().items() if name in SAID},
        "body_sha256": hashlib.sha256(b"the body").hexdigest(),
    }


def test_a_delivery_is_ignored_until_it_is_accepted() -> None:
    delivery = a_delivery(reason="another branch")
    assert (delivery.outcome, delivery.reason) == (Outcome.IGNORED, "another branch")
    assert (delivery.ref, delivery.after, delivery.sender) == (PUSH.ref, AFTER, "octocat")
    assert not delivery.led_to_a_run
    assert str(delivery) == "1 push"
    assert not Delivery.objects.exists()
    delivery.keep()
    kept = Delivery.objects.values(*insert_delivery.names).get()
    assert kept == {name: getattr(delivery, name) for name in insert_delivery.names}


def test_a_ping_is_a_ping() -> None:
    assert a_delivery(Payload(event="ping"), b"{}").outcome == Outcome.PING


def test_what_is_kept_already_is_not_written_again() -> None:
    a_delivery(reason="a").keep()
    own, earlier = Delivery.objects.find("1", "0" * 64)
    assert own is not None
    assert earlier is None
    own.reason = "b"
    own.keep()
    assert Delivery.objects.get().reason == "a"


def test_an_id_and_a_body_are_found_and_what_is_new_in_one_look(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    accept(said(), a_run())
    a_delivery(body=b"another", delivery_id="2").keep()
    second, first = Delivery.objects.all()
    assert Delivery.objects.find("2", first.body_sha256) == (second, first)
    assert Delivery.objects.find("1", first.body_sha256) == (first, None)
    with django_assert_num_queries(1):
        assert Delivery.objects.find("3", "0" * 64) == (None, None)
    assert Delivery.objects.find("3", second.body_sha256) == (None, second)


def test_of_several_that_brought_a_body_the_one_that_led_to_a_run_is_found() -> None:
    a_delivery(reason="another branch").keep()
    accept({**said(), "delivery_id": "2"}, a_run())
    _, earlier = Delivery.objects.find("3", said()["body_sha256"])
    assert earlier is not None
    assert earlier.led_to_a_run


def test_who_sends_it_once_more_does_not_pass_for_who_sent_it_first() -> None:
    a_delivery().keep()
    Delivery.objects.get().repeat({**said(), "address": "192.0.2.2", "after": BEFORE})
    kept = Delivery.objects.get()
    assert (kept.address, kept.after) == (said()["address"], BEFORE)


def test_the_database_refuses_a_second_row_of_an_id() -> None:
    Delivery.objects.create(delivery_id="1")
    with pytest.raises(IntegrityError), transaction.atomic():
        Delivery.objects.create(delivery_id="1")


def test_an_accepted_delivery_knows_its_run() -> None:
    run = a_run()
    a_delivery(reason="another branch").keep()
    delivery = Delivery.objects.get()
    delivery.accept(said(PUSH._replace(after=BEFORE)), run.pk)
    for each in (delivery, Delivery.objects.get()):
        assert each.led_to_a_run
        assert (each.run, each.outcome, each.reason) == (run, Outcome.REQUESTED, "")
        assert each.after == BEFORE


def test_the_audit_log_is_told_what_a_delivery_said() -> None:
    assert logged(said()) == {
        "delivery": "1",
        "repository": "octocat/site",
        "ref": "refs/heads/master",
        "before": BEFORE,
        "after": AFTER,
        "sender": "octocat",
        "body_sha256": hashlib.sha256(b"the body").hexdigest(),
    }


def test_a_delivery_outlives_its_run_and_has_still_led_to_one() -> None:
    accept(said(), a_run())
    Run.objects.all().delete()
    delivery = Delivery.objects.get()
    assert delivery.run is None
    assert delivery.led_to_a_run


def test_the_longest_texts_fit() -> None:
    payload = PUSH._replace(ref="🚀" * MAX_REF, sender="🚀" * MAX_NAME, event="e" * 64)
    reason = f"{payload.ref} is not the branch that is live"
    a_delivery(payload, delivery_id="d" * 64, reason=reason).keep()
    kept = Delivery.objects.get()
    kept.full_clean()
    assert (kept.reason, kept.sender) == (reason, payload.sender)
