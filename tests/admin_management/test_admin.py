"""Runs and events in the admin can be read by who may, and changed by nobody."""

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client, RequestFactory

from admin_management.launcher import Requester, request_update
from admin_management.models import AuditEvent, Run, Trigger
from tests.conftest import Checkout

from .conftest import LiveRun

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_runner")]

HOLDS = "/admin/admin_management/hold/"
RUNS = "/admin/admin_management/run/"
EVENTS = "/admin/admin_management/auditevent/"


@pytest.fixture
def superuser(client: Client, alice: User) -> Client:
    User.objects.filter(pk=alice.pk).update(is_superuser=True)
    client.force_login(alice)
    return client


@pytest.fixture
def run(checkout: Checkout) -> Run:
    key, _ = request_update(trigger=Trigger.API, requester=Requester(name="alice"), reason="logo")
    return Run.objects.get(pk=key)


def test_runs_can_be_listed_and_read(superuser: Client, live_run: LiveRun) -> None:
    live_run.journal.event("revisions", from_revision="a" * 40, to_revision="b" * 40)
    live_run.begin("fetch")
    live_run.finish()
    superuser.get("/admin/update/")
    listing = superuser.get(RUNS).content.decode()
    assert live_run.run.short_id in listing
    assert "bbbbbbb" in listing
    answer = superuser.get(f"{RUNS}{live_run.run.pk}/change/")
    shown = answer.content.decode()
    assert "push to master" in shown
    assert "fetch" in shown
    assert 'type="submit"' not in shown.partition("<main")[2]


def test_events_can_be_listed_and_read(superuser: Client, run: Run) -> None:
    assert "requested" in superuser.get(EVENTS).content.decode()
    event = AuditEvent.objects.get()
    assert "logo" in superuser.get(f"{EVENTS}{event.pk}/change/").content.decode()


@pytest.mark.parametrize("place", [RUNS, EVENTS, HOLDS])
def test_nothing_can_be_added(superuser: Client, run: Run, place: str) -> None:
    assert superuser.get(f"{place}add/").status_code == 403
    assert superuser.post(f"{place}add/").status_code == 403


def test_nothing_can_be_changed_or_deleted(superuser: Client, run: Run) -> None:
    event = AuditEvent.objects.get()
    for place in (f"{RUNS}{run.pk}/", f"{EVENTS}{event.pk}/"):
        assert superuser.post(f"{place}change/", {"reason": "other"}).status_code == 403
        assert superuser.post(f"{place}delete/", {"post": "yes"}).status_code == 403
    run.refresh_from_db()
    assert run.reason == "logo"


@pytest.mark.parametrize("model", [Run, AuditEvent])
def test_there_are_no_actions(alice: User, model: type[Run | AuditEvent]) -> None:
    request = RequestFactory().get("/")
    request.user = alice
    assert admin.site.get_model_admin(model).get_actions(request) == {}


def test_staff_without_the_permission_see_nothing(client: Client, alice: User, run: Run) -> None:
    client.force_login(alice)
    assert client.get(RUNS).status_code == 403
