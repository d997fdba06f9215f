"""The id of a delivery is not signed: the same body under another id is no news."""

from typing import Any

import pytest

from admin_management.models import AuditEvent, Run
from webhooks.models import Delivery, Outcome
from webhooks.panel import read_panel

from .conftest import Deliver
from .payloads import BEFORE, SECRET, as_json, ping, push
from .test_views import said

pytestmark = pytest.mark.django_db


def test_the_same_body_under_another_id_is_recorded_and_asks_for_nothing(deliver: Deliver) -> None:
    deliver(push(), X_GitHub_Delivery="1")
    Run.objects.update(status="succeeded")
    response = deliver(push(), X_GitHub_Delivery="2")
    assert response.status_code == 200
    assert said(response) == {
        "outcome": "replayed",
        "reason": "the body of delivery 1, which led to an update",
        "run": None,
    }
    assert Delivery.objects.get(delivery_id="2").outcome == Outcome.REPLAYED
    assert Run.objects.count() == 1
    assert AuditEvent.objects.count() == 2


def test_a_replay_of_an_old_push_after_a_newer_one_starts_nothing(deliver: Deliver) -> None:
    deliver(push(), X_GitHub_Delivery="1")
    deliver(push(after=BEFORE), X_GitHub_Delivery="2")
    Run.objects.all().delete()
    for delivery in ("3", "3", "4"):
        assert said(deliver(push(), X_GitHub_Delivery=delivery))["outcome"] == "replayed"
    assert not Run.objects.exists()


def test_it_is_no_other_event_either(deliver: Deliver) -> None:
    deliver(push(), X_GitHub_Delivery="1")
    assert said(deliver(push(), event="ping"))["outcome"] == "replayed"
    assert not Delivery.objects.filter(outcome=Outcome.PING).exists()


def test_what_never_led_to_a_run_may_under_any_id(deliver: Deliver, settings: Any) -> None:
    settings.WEBHOOKS = {"SECRET": SECRET, "BRANCH": "live"}
    assert said(deliver(push(), X_GitHub_Delivery="1"))["outcome"] == "ignored"
    settings.WEBHOOKS = {"SECRET": SECRET}
    assert said(deliver(push(), X_GitHub_Delivery="2"))["outcome"] == "requested"


def test_a_replay_under_the_id_of_another_delivery_does_not_speak_for_it(
    deliver: Deliver, settings: Any
) -> None:
    deliver(push(), X_GitHub_Delivery="1")
    other = push(after=BEFORE, ref="refs/heads/live")
    deliver(other, X_GitHub_Delivery="2")
    before = Delivery.objects.filter(delivery_id="2").values().get()
    assert said(deliver(push(), X_GitHub_Delivery="2"))["outcome"] == "ignored"
    assert Delivery.objects.filter(delivery_id="2").values().get() == before
    assert Run.objects.count() == 1
    settings.WEBHOOKS = {"SECRET": SECRET, "BRANCH": "live"}
    assert said(deliver(other, X_GitHub_Delivery="2"))["outcome"] == "requested"


def test_what_asked_for_nothing_is_a_replay_under_another_id_as_well(deliver: Deliver) -> None:
    other = push(ref="refs/heads/another")
    deliver(other, X_GitHub_Delivery="1")
    for event in ("push", "ping"):
        response = deliver(other, event=event)
        assert (response.status_code, said(response)["outcome"]) == (200, "replayed")
        assert said(response)["reason"] == "the body of delivery 1"
    assert not Delivery.objects.filter(outcome=Outcome.PING).exists()


def test_an_old_ping_does_not_pass_for_the_last_one(deliver: Deliver) -> None:
    wrong, right = ping(), ping()
    wrong["hook"]["config"]["insecure_ssl"] = "1"
    deliver(wrong, event="ping", X_GitHub_Delivery="1")
    deliver(right, event="ping", X_GitHub_Delivery="2")
    for under in ("3", "2"):
        assert deliver(wrong, event="ping", X_GitHub_Delivery=under).status_code == 200
        assert [source.faults for source in read_panel().sources] == [()]


def test_the_same_ping_under_its_own_id_is_still_a_ping(deliver: Deliver) -> None:
    for _ in range(2):
        response = deliver(ping(), event="ping", X_GitHub_Delivery="1")
        assert (response.status_code, said(response)["outcome"]) == (200, "ping")


def test_one_byte_more_is_another_body(deliver: Deliver) -> None:
    deliver(push())
    body = as_json(push()) + b" "
    assert said(deliver(None, body=body))["outcome"] == "requested"
