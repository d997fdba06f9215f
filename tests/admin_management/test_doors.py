"""Every address, by every method, for everybody: one table of who may, and nothing beside it."""

from collections.abc import Callable, Collection, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import User
from django.core import serializers
from django.db import transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from admin_management.conf import node
from admin_management.models import ApiToken, Hold, Run
from admin_management.permissions import Permission
from tests.conftest import Checkout, permit

from .addresses import ROUTES, address

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_runner")]

# "-" is a method that the address does not have. Reading is GET and HEAD; the API has OPTIONS too.
TABLE = """
address                 kind  reading  POST              DELETE
dashboard               page  staff    request_update    -
run                     page  staff    -                 -
cancel                  page  -        cancel_update     -
rollback                page  staff    roll_back_update  -
hold                    page  -        hold_updates      -
release                 page  -        hold_updates      -
new_webhook_secret      page  -        manage_secrets    -
retire_webhook_secret   page  -        manage_secrets    -
hold-detail             api   staff    hold_updates      hold_updates
status                  api   staff    -                 -
origin                  api   -        staff             -
update-list             api   staff    request_update    -
update-detail           api   staff    -                 -
update-log              api   staff    -                 -
update-cancel           api   -        cancel_update     -
update-rollback         api   staff    roll_back_update  -
health                  open  anybody  -                 -
"""
HEAD, *ROWS = (line.split() for line in TABLE.strip().splitlines())
DOORS = {row[0]: dict(zip(HEAD[1:], row[1:], strict=True)) for row in ROWS}

MANAGE_SECRETS = "manage_secrets"
ALL = (*Permission, MANAGE_SECRETS)
ADD_TOKENS, REVOKE_TOKENS = "add_apitoken", "revoke_apitoken"

ADMINS_PAGES = {
    # our models in Django's admin: who may list them, and who may add one, beside superusers
    "admin_management_run": ((), None),
    "admin_management_hold": ((), None),
    "admin_management_auditevent": ((), None),
    "admin_management_apitoken": ((ADD_TOKENS, REVOKE_TOKENS), (ADD_TOKENS,)),
    "github_webhooks_delivery": ((), None),
    "github_webhooks_secret": ((), None),
    "github_webhooks_refusal": ((), None),
}

METHODS = ("GET", "HEAD", "OPTIONS", "POST", "DELETE", "PUT", "PATCH", "TRACE")

CAST = {
    # who: their permissions, None if they are not staff; and what they send
    "anonymous": (None, "nothing"),
    "a user": (None, "session"),
    "staff": ((), "session"),
    **{f"staff with {each}": ((each,), "session") for each in (*ALL, ADD_TOKENS, REVOKE_TOKENS)},
    "superuser": (ALL, "session"),
    "demoted": (None, "session"),
    "deactivated": (None, "nothing"),
    "read token": (ALL, "read token"),
    "update token": (ALL, "token"),
    "update token of staff": ((), "token"),
    "update token of the demoted": (None, "token"),
    "update token of the deactivated": (None, "wrong token"),
    "expired token": (None, "wrong token"),
    "revoked token": (None, "wrong token"),
}


def needed(name: str, method: str) -> str:
    """What the table says; "-" where the address does not have the method."""
    door = DOORS[name]
    if method == "OPTIONS" and door["kind"] == "api":
        return "staff"
    column = "reading" if method in ("GET", "HEAD") else method
    return door.get(column, "-")


def expected(who: str, name: str, method: str) -> int | str:
    """The status that this person gets; "in" is any that is not a refusal."""
    permissions, sent = CAST[who]
    kind, wanted = DOORS[name]["kind"], needed(name, method)
    if kind == "page":
        return 405 if wanted == "-" else of_a_page(permissions, sent, wanted, method)
    if kind == "api":
        return of_the_api(permissions, sent, wanted, method)
    return "in" if wanted == "anybody" else 405


def of_a_page(permissions: Any, sent: str, wanted: str, method: str) -> int | str:
    # A page takes a session and nothing else.
    if sent != "session" or (permissions is None and method != "POST"):
        return "login"
    if permissions is None:
        return 403
    return "in" if wanted in ("staff", *permissions) else 403


def of_the_api(permissions: Any, sent: str, wanted: str, method: str) -> int | str:
    if sent in ("nothing", "wrong token"):
        return 401
    if permissions is None:
        return 403
    if wanted == "-":
        return 405
    if sent == "read token" and method in ("POST", "DELETE"):
        return 403
    return "in" if wanted in ("staff", *permissions) else 403


def of_the_admin(who: str, allowed: Collection[str] | None) -> int | str:
    """``allowed`` is None where nobody may, superusers among them."""
    permissions, sent = CAST[who]
    if sent != "session" or permissions is None:
        return "login"
    if allowed is not None and (who == "superuser" or {*permissions} & {*allowed}):
        return "in"
    return 403


def outcome(answer: Any) -> int | str:
    if answer.status_code in (401, 403, 405, 429):
        return int(answer.status_code)
    if answer.headers.get("Location", "").startswith("/admin/login/"):
        return "login"
    assert answer.status_code in (200, 201, 202, 204, 302, 400, 404, 409)
    return "in"


@pytest.fixture
def runs(checkout: Checkout) -> list[Run]:
    """One that has ended, one that waits, and updates are held."""
    Hold.objects.create(node=node(), reason="exams")
    return [
        Run.objects.create(
            node=node(), trigger="api", status="succeeded", to_revision=checkout.revision()
        ),
        Run.objects.create(node=node(), trigger="api"),
    ]


@pytest.fixture
def client_of(db: None) -> Callable[[str], Client]:
    def enter(who: str) -> Client:
        permissions, sent = CAST[who]
        client = Client()
        if who == "anonymous":
            return client
        user = User.objects.create_user("dora", is_staff=who != "a user")
        permit(user, *(permissions or ()))
        if who == "superuser":
            User.objects.filter(pk=user.pk).update(is_superuser=True)
        if "demoted" in who or "deactivated" in who:
            permit(user, *ALL)
        if "token" in sent:
            scope = "read" if who == "read token" else "update"
            token = ApiToken(user=user, name="ci", scope=scope)
            token.issue(by="dora", days=1)
            client = Client(HTTP_AUTHORIZATION=f"Bearer {token.value}")
            if who == "expired token":
                ApiToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
            if who == "revoked token":
                token.revoke(by="dora")
        else:
            client.force_login(user)
        # With the session or the token in their hands.
        if "demoted" in who:
            User.objects.filter(pk=user.pk).update(is_staff=False)
        if "deactivated" in who:
            User.objects.filter(pk=user.pk).update(is_active=False)
        return client

    return enter


def test_the_tables_have_every_address() -> None:
    assert sorted(DOORS) == sorted(ROUTES)
    ours = ("admin_management", "github_webhooks")
    assert sorted(ADMINS_PAGES) == sorted(
        model._meta.label_lower.replace(".", "_")
        for model in admin.site._registry
        if model._meta.app_label in ours
    )


@pytest.mark.usefixtures("uncounted")
@pytest.mark.parametrize("who", CAST)
def test_everybody_gets_exactly_what_the_table_says(
    who: str, client_of: Callable[[str], Client], runs: list[Run]
) -> None:
    client = client_of(who)
    wrong = []
    for name in DOORS:
        for method in METHODS:
            # What a change has changed is taken back: each door is tried on the same house.
            with transaction.atomic():
                answer = client.generic(method, address(name, runs[0].pk))
                got = outcome(answer)
                transaction.set_rollback(True)
            if got != expected(who, name, method):
                wrong.append((name, method, got, expected(who, name, method)))
    assert wrong == []


@pytest.mark.parametrize("who", ["superuser", "update token"])
@pytest.mark.parametrize("accept", ["application/json", "text/html"])
def test_reading_changes_nothing(
    who: str, accept: str, client_of: Callable[[str], Client], runs: list[Run]
) -> None:
    """But for what has ended being written down, and the minute a token was last used in."""
    client = client_of(who)
    reading = [name for name, door in DOORS.items() if door["reading"] != "-"]
    client.get(address("status"), headers={"Accept": accept})
    before = contents()
    for name in reading:
        for run in runs:
            for method in ("GET", "HEAD", "OPTIONS"):
                client.generic(method, address(name, run.pk), headers={"Accept": accept})
    for path in ("/admin/status/?fetch=1", "/admin/dashboard/?fetch=1", "/admin/update/?status=x"):
        client.get(path, headers={"Accept": accept})
    assert contents() == before


def test_no_override_turns_reading_into_a_change(
    client_of: Callable[[str], Client], runs: list[Run]
) -> None:
    client = client_of("superuser")
    before = contents()
    for name in DOORS:
        for query in ("_method=POST", "method=DELETE", "_content=%7B%7D"):
            client.get(f"{address(name, runs[1].pk)}?{query}")
            client.get(address(name, runs[1].pk), headers={"X-HTTP-Method-Override": "POST"})
    assert contents() == before


def contents() -> dict[str, str]:
    """Every row of every table."""
    return {model._meta.label: serializers.serialize("json", rows(model)) for model in tables()}


def tables() -> Iterator[Any]:
    return (model for model in apps.get_models() if model._meta.app_label != "contenttypes")


def rows(model: Any) -> Any:
    return model._base_manager.order_by("pk")


@pytest.mark.usefixtures("uncounted")
@pytest.mark.parametrize("who", CAST)
def test_what_others_serve_for_us_is_for_superusers_or_for_whoever_signs(
    who: str, client_of: Callable[[str], Client]
) -> None:
    """The pages of Django's admin, where a token says nothing; and the receiver."""
    client = client_of(who)
    for name, (may_list, may_add) in ADMINS_PAGES.items():
        for page, allowed in (("changelist", may_list), ("add", may_add)):
            got = outcome(client.get(reverse(f"admin:{name}_{page}")))
            assert got == of_the_admin(who, allowed), (name, page)
    receiver = reverse("webhooks:github")
    assert [outcome(client.generic(method, receiver)) for method in METHODS] == [
        403 if method == "POST" else 405 for method in METHODS
    ]
