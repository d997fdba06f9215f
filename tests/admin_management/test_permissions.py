"""Who may do what, and what is remembered of who may not."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Group, User
from django.contrib.auth.models import Permission as GivenPermission
from django.db import connection
from django.http import HttpRequest
from django.test import Client, RequestFactory
from django.urls import resolve
from django.utils import timezone

from admin_management.audit import Kind
from admin_management.machine import node
from admin_management.models import AuditEvent, AuditEventQuerySet, Hold, Run
from admin_management.permissions import (
    REMEMBERED_FOR,
    Permission,
    is_staff,
    obstacle,
    permissions_of,
    record_refusal,
)
from tests.conftest import Checkout, permit

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_runner")]

UPDATE = "/admin/update/"
DASHBOARD = "/admin/dashboard/"


def refusals() -> list[dict[str, Any]]:
    return [json.loads(event.text) for event in AuditEvent.objects.filter(kind=Kind.REFUSED)]


def request(user: User | AnonymousUser, method: str = "POST", path: str = UPDATE) -> HttpRequest:
    made = RequestFactory(REMOTE_ADDR="192.0.2.7").generic(method, path)
    made.user = user
    made.resolver_match = resolve(path)
    return made


def post(client: Client, body: object) -> Any:
    return client.post(UPDATE, json.dumps(body), content_type="application/json")


class TestWhoMay:
    def test_only_active_members_of_the_staff_are_staff(self, alice: User, bob: User) -> None:
        assert is_staff(alice)
        assert not is_staff(bob)
        assert not is_staff(AnonymousUser())
        assert not is_staff(None)
        alice.is_active = False
        assert not is_staff(alice)

    def test_superusers_have_all_permissions(self) -> None:
        assert permissions_of(User.objects.create_superuser("root")) == set(Permission)

    def test_a_permission_is_worth_nothing_to_who_is_not_staff(self, bob: User) -> None:
        permit(bob, *Permission)
        assert permissions_of(bob) == set()

    def test_a_group_gives_them(self, carol: User) -> None:
        group = Group.objects.create(name="Operators")
        group.permissions.add(GivenPermission.objects.get(codename="hold_updates"))
        carol.groups.add(group)
        assert permissions_of(carol) == {Permission.HOLD}

    def test_what_the_table_does_not_name_is_allowed_to_nobody(self, alice: User) -> None:
        assert obstacle(request(alice, "POST", "/admin/status/")) == "Nobody may do this."
        unresolved = RequestFactory().post(UPDATE)
        unresolved.user = alice
        assert obstacle(unresolved) == "Nobody may do this."


class TestWishes:
    @pytest.fixture
    def requesting(self, client: Client, carol: User) -> Client:
        permit(carol, Permission.REQUEST)
        client.force_login(carol)
        return client

    @pytest.mark.parametrize(
        ("wish", "needed"),
        [("accept_rewritten", "accept_rewritten_history"), ("override_hold", "hold_updates")],
    )
    def test_a_wish_can_need_more_than_the_update(
        self, requesting: Client, carol: User, wish: str, needed: str
    ) -> None:
        answer = post(requesting, {wish: True, "reason": "must"})
        assert answer.status_code == 403
        assert needed in answer.json()["detail"]
        page = requesting.post(DASHBOARD, {wish: "on", "reason": "must"})
        assert page.status_code == 403
        assert needed in page.content.decode()
        assert not Run.objects.exists()
        assert [event["actor"] for event in refusals()] == ["carol", "carol"]
        permit(carol, needed)
        assert post(requesting, {wish: True, "reason": "must"}).status_code == 202
        assert getattr(Run.objects.get(), wish)

    def test_what_is_not_wished_for_needs_nothing(self, requesting: Client) -> None:
        body = {"force": True, "accept_rewritten": False, "override_hold": False}
        assert post(requesting, body).status_code == 202


class TestTheDashboard:
    BUTTONS = {
        Permission.REQUEST: ">Update</button>",
        Permission.CANCEL: ">Cancel this update</button>",
        Permission.HOLD: ">Release</button>",
        Permission.ACCEPT_REWRITTEN: 'name="accept_rewritten"',
    }

    @pytest.fixture
    def looking(self, client: Client, carol: User, checkout: Checkout) -> Client:
        client.force_login(carol)
        return client

    def shown(self, client: Client, path: str = DASHBOARD) -> str:
        answer = client.get(path)
        assert answer.status_code == 200
        return answer.content.decode()

    def test_who_may_look_sees_no_button(self, looking: Client) -> None:
        Run.objects.create(node=node(), trigger="api")
        Hold.objects.create(node=node(), reason="exams")
        told = self.shown(looking)
        assert "Can ask for an update" in told
        assert not [button for button in self.BUTTONS.values() if button in told]

    @pytest.mark.parametrize("permission", BUTTONS)
    def test_each_permission_shows_its_button(
        self, looking: Client, carol: User, permission: Permission
    ) -> None:
        Run.objects.create(node=node(), trigger="api")
        Hold.objects.create(node=node(), reason="exams")
        permit(carol, Permission.REQUEST, permission)
        assert self.BUTTONS[permission] in self.shown(looking)

    def test_going_back_has_its_button_too(
        self, looking: Client, carol: User, checkout: Checkout
    ) -> None:
        earlier = checkout.revision()
        checkout.commit({"version.txt": "2\n"})
        checkout.git("pull", "--quiet")
        run = Run.objects.create(
            node=node(), trigger="api", status="succeeded", to_revision=earlier
        )
        address = f"{DASHBOARD}{run.pk}/rollback/"
        assert ">Go back</button>" not in self.shown(looking, address)
        permit(carol, Permission.ROLL_BACK)
        assert ">Go back</button>" in self.shown(looking, address)

    def test_the_browsable_page_has_a_form_for_who_may(self, looking: Client, carol: User) -> None:
        page = {"Accept": "text/html"}
        assert "POST</button>" not in looking.get(UPDATE, headers=page).content.decode()
        assert refusals() == []
        permit(carol, Permission.REQUEST)
        assert "POST</button>" in looking.get(UPDATE, headers=page).content.decode()


class TestWhatIsRemembered:
    def test_a_refused_user_becomes_an_event(self, bob: User) -> None:
        record_refusal(request(bob))
        [event] = refusals()
        assert event["actor"] == "bob"
        assert event["facts"] == {
            "asked_for": "update-list",
            "user": str(bob.pk),
            "address": "192.0.2.7",
        }

    def test_staff_without_the_permission_are_remembered(self, client: Client, carol: User) -> None:
        client.force_login(carol)
        assert post(client, {}).status_code == 403
        [event] = refusals()
        assert (event["actor"], event["facts"]["asked_for"]) == ("carol", "update-list")

    def test_a_user_who_keeps_trying_becomes_one_event(self, bob: User) -> None:
        for _ in range(3):
            record_refusal(request(bob))
        assert len(refusals()) == 1

    def test_each_address_becomes_an_event_of_its_own(self, bob: User) -> None:
        record_refusal(request(bob))
        record_refusal(request(bob, path="/admin/hold/"))
        assert len(refusals()) == 2

    def test_each_user_becomes_an_event_of_their_own(self, bob: User) -> None:
        # The key of the second begins with the key of the first.
        for key in (1, 11):
            record_refusal(request(User(pk=key, username=f"bob-{key}")))
        assert len(refusals()) == 2

    def test_after_an_hour_a_user_is_remembered_again(
        self, bob: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        record_refusal(request(bob))
        later = timezone.now() + REMEMBERED_FOR + timedelta(seconds=1)
        monkeypatch.setattr("admin_management.permissions.timezone.now", lambda: later)
        record_refusal(request(bob))
        assert len(refusals()) == 2

    def test_anonymous_visitors_leave_no_event(self) -> None:
        record_refusal(request(AnonymousUser()))
        assert refusals() == []

    def test_those_before_are_found_by_their_index(
        self, bob: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        plans: list[str] = []
        exists = AuditEventQuerySet.exists

        def explained(self: AuditEventQuerySet) -> bool:
            plans.append(self.order_by().explain())
            return exists(self)

        monkeypatch.setattr(AuditEventQuerySet, "exists", explained)
        if connection.vendor == "postgresql":
            # It reads a small table whole, however it is indexed.
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL enable_seqscan = off")
        record_refusal(request(bob))
        (plan,) = plans
        assert "refused_at" in plan
