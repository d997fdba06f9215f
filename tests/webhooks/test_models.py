"""Deliveries as rows: one per id, written by the model's own methods only."""

import hashlib
import json

import pytest
from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from admin_management.conf import node
from admin_management.models import AuditEvent, Run, Trigger
from webhooks.github import MAX_NAME, MAX_REF, Payload
from webhooks.models import Delivery, Outcome, facts_of

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
FACTS = facts_of(PUSH, b"the body")


def a_run() -> Run:
    return Run.objects.create(node=node(), trigger=Trigger.WEBHOOK, actor_name="GitHub: octocat")


def test_the_facts_are_the_columns_of_the_same_names() -> None:
    columns = {field.name for field in Delivery._meta.get_fields()}
    assert set(FACTS) < columns
    assert FACTS["body_sha256"] == hashlib.sha256(b"the body").hexdigest()


def test_a_delivery_is_ignored_until_it_is_accepted() -> None:
    delivery = Delivery.objects.receive(delivery_id="1", reason="another branch", **FACTS)
    assert (delivery.outcome, delivery.reason) == (Outcome.IGNORED, "another branch")
    assert (delivery.ref, delivery.after, delivery.sender) == (PUSH.ref, AFTER, "octocat")
    assert not delivery.led_to_a_run
    assert str(delivery) == "1 push"


def test_a_ping_is_a_ping() -> None:
    facts = facts_of(Payload(event="ping"), b"{}")
    assert Delivery.objects.receive(delivery_id="1", reason="", **facts).outcome == Outcome.PING


def test_the_same_id_is_the_same_row_with_what_it_said_first() -> None:
    first = Delivery.objects.receive(delivery_id="1", reason="a", **FACTS)
    again = Delivery.objects.receive(delivery_id="1", reason="b", **FACTS | {"ref": "refs/x"})
    assert (again.pk, again.reason, again.ref) == (first.pk, "a", PUSH.ref)


def test_two_at_once_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    real = QuerySet.get

    def get(self: QuerySet[Delivery], **facts: object) -> Delivery:
        monkeypatch.setattr(QuerySet, "get", real)
        Delivery.objects.create(**facts)  # the other one comes between our look and our insert
        raise Delivery.DoesNotExist

    monkeypatch.setattr(QuerySet, "get", get)
    delivery = Delivery.objects.receive(delivery_id="1", reason="", **FACTS)
    assert Delivery.objects.get() == delivery


def test_the_database_refuses_a_second_row_of_an_id() -> None:
    Delivery.objects.create(delivery_id="1")
    with pytest.raises(IntegrityError), transaction.atomic():
        Delivery.objects.create(delivery_id="1")


def test_an_accepted_delivery_knows_its_run_and_the_audit_log_knows_it() -> None:
    run = a_run()
    delivery = Delivery.objects.receive(delivery_id="1", reason="another branch", **FACTS)
    delivery.accept(run, actor="GitHub: hubot", **FACTS | {"after": BEFORE})
    for each in (delivery, Delivery.objects.get()):
        assert each.led_to_a_run
        assert (each.run, each.outcome, each.reason) == (run, Outcome.REQUESTED, "")
        assert each.after == BEFORE
    event = AuditEvent.objects.get()
    assert json.loads(event.text)["facts"] == {
        "delivery": "1",
        "repository": "octocat/site",
        "ref": "refs/heads/master",
        "before": BEFORE,
        "after": BEFORE,
        "sender": "octocat",
        "body_sha256": FACTS["body_sha256"],
        "run": str(run.pk),
    }
    assert (event.kind, json.loads(event.text)["actor"]) == ("delivery_accepted", "GitHub: hubot")


def test_a_delivery_outlives_its_run_and_has_still_led_to_one() -> None:
    delivery = Delivery.objects.receive(delivery_id="1", reason="", **FACTS)
    delivery.accept(a_run(), actor="GitHub: octocat", **FACTS)
    Run.objects.all().delete()
    delivery.refresh_from_db()
    assert delivery.run is None
    assert delivery.led_to_a_run


def test_the_longest_texts_fit() -> None:
    facts = FACTS | {"ref": "🚀" * MAX_REF, "sender": "🚀" * MAX_NAME, "event": "e" * 64}
    reason = f"{facts['ref']} is not the branch that is live"
    Delivery.objects.receive(delivery_id="d" * 64, reason=reason, **facts)
    kept = Delivery.objects.get()
    kept.full_clean()
    assert (kept.reason, kept.sender) == (reason, facts["sender"])
