"""Every address, by every method, for everybody: one table of who may, and nothing beside it."""

from collections.abc import Callable, Iterator
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

from admin_management.machine import node
from admin_management.models import ApiToken, Hold, Run
from admin_management.permissions import Permission
from tests.conftest import Checkout, permit
from webhooks.models import Delivery, Refusal, Secret

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
OURS = ("admin_management", "github_webhooks")
TOKENS = "admin_management_apitoken"

# Our models in Django's admin, by their permissions: any one of them is enough, and superusers need
# none. "-" is for nobody. The one that is looked at is somebody else's.
ADMINS_TABLE = """
model                        list         one          add
admin_management_run         view,change  view,change  -
admin_management_hold        view,change  view,change  -
admin_management_auditevent  view,change  view,change  -
admin_management_apitoken    add,revoke   revoke       add
github_webhooks_delivery     view,change  view,change  -
github_webhooks_secret       superusers   superusers   -
github_webhooks_refusal      view,change  view,change  -
"""
ADMINS_HEAD, *ADMINS_ROWS = (line.split() for line in ADMINS_TABLE.strip().splitlines())
ADMINS_DOORS = {row[0]: dict(zip(ADMINS_HEAD[1:], row[1:], strict=True)) for row in ADMINS_ROWS}

ADMINS_PAGES = {
    # each page of a model: the column for a GET, and that for a POST
    "changelist": ("list", "list"),
    "add": ("add", "add"),
    "change": ("one", "-"),
    "delete": ("-", "-"),
    "history": ("one", "one"),
}


def every_permission() -> Iterator[str]:
    """All that there is to be given for our models, what Django adds by itself included."""
    for meta in (model._meta for model in apps.get_models() if model._meta.app_label in OURS):
        yield from (f"{action}_{meta.model_name}" for action in meta.default_permissions)
        yield from (codename for codename, _ in meta.permissions)


METHODS = ("GET", "HEAD", "OPTIONS", "POST", "DELETE", "PUT", "PATCH", "TRACE")

CAST = {
    # who: their permissions, None if they are not staff; and what they send
    "anonymous": (None, "nothing"),
    "a user": (None, "session"),
    "staff": ((), "session"),
    **{f"staff with {each}": ((each,), "session") for each in ALL},
    "staff with all other permissions": (tuple({*every_permission()} - {*ALL}), "session"),
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

VISITORS = CAST | {f"staff with {each}": ((each,), "session") for each in every_permission()}
"""All of the above, and one for each permission that means something in Django's admin only."""


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


def of_the_admin(who: str, model: str, column: str) -> int | str:
    permissions, sent = VISITORS[who]
    if sent != "session" or permissions is None:
        return "login"
    return "in" if may(who, model, column) else 403


def may(who: str, model: str, column: str) -> bool:
    wanted = "-" if column == "-" else ADMINS_DOORS[model][column]
    if wanted == "-" or who == "superuser":
        return wanted != "-"
    name = model.rpartition("_")[2]
    permissions = {f"{action}_{name}" for action in wanted.split(",")}
    return not permissions.isdisjoint(VISITORS[who][0] or ())


def outcome(answer: Any) -> int | str:
    if answer.status_code in (401, 403, 405, 429):
        return int(answer.status_code)
    if answer.headers.get("Location", "").startswith("/admin/login/"):
        return "login"
    assert answer.status_code in (200, 201, 202, 204, 302, 400, 404, 409)
    return "in"


def outcome_in_the_admin(answer: Any) -> int | str:
    # Somebody else's token is not there for them: Django says so, and leads to its first page.
    if answer.headers.get("Location") == reverse("admin:index"):
        return 403
    assert answer.status_code in (200, 403) or outcome(answer) == "login"
    return outcome(answer)


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
def things() -> dict[str, Any]:
    """One of each of our models in the admin, by model."""
    hers = ApiToken(user=User.objects.create_user("erna", is_staff=True), name="hers")
    hers.issue(by="erna", days=1)
    Secret.objects.make(created_by="erna")
    Run.objects.create(node=node(), trigger="api")
    Hold.objects.create(node=node(), reason="exams")
    Delivery.objects.create(delivery_id="1", event="push", outcome="ignored")
    Refusal.objects.create(minute=timezone.now(), reason="signature")
    return {name: rows(made_by.model)[0] for name, made_by in our_admins().items()}


@pytest.fixture
def client_of(db: None) -> Callable[[str], Client]:
    def enter(who: str) -> Client:
        permissions, sent = VISITORS[who]
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


def our_admins() -> dict[str, Any]:
    """What the admin has registered of ours, by the name that begins those of its addresses."""
    return {
        model._meta.label_lower.replace(".", "_"): made_by
        for model, made_by in admin.site._registry.items()
        if model._meta.app_label in OURS
    }


def admins_address(model: str, page: str, thing: Any) -> str:
    arguments = [] if page in ("changelist", "add") else [thing.pk]
    return reverse(f"admin:{model}_{page}", args=arguments)


def test_the_table_has_every_address() -> None:
    assert sorted(DOORS) == sorted(ROUTES)


def test_the_admins_table_has_every_model_page_and_action() -> None:
    assert sorted(ADMINS_DOORS) == sorted(our_admins())
    for model, made_by in our_admins().items():
        # The one without a name leads to "change", as it did before it had one.
        names = sorted(str(url.name) for url in made_by.get_urls())
        assert names == sorted(["None", *(f"{model}_{page}" for page in ADMINS_PAGES)])
        assert list(made_by.actions or ()) == (["revoke"] if model == TOKENS else [])


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


@pytest.mark.parametrize("who", VISITORS)
def test_everybody_gets_exactly_what_the_table_says_in_djangos_admin(
    who: str, client_of: Callable[[str], Client], things: dict[str, Any]
) -> None:
    """There a token says nothing."""
    client = client_of(who)
    wrong = []
    for model, thing in things.items():
        for page, columns in ADMINS_PAGES.items():
            for method, column in zip(("GET", "POST"), columns, strict=True):
                answer = client.generic(method, admins_address(model, page, thing))
                got, due = outcome_in_the_admin(answer), of_the_admin(who, model, column)
                if got != due:
                    wrong.append((model, page, method, got, due))
    assert wrong == []


@pytest.mark.parametrize("who", VISITORS)
def test_the_admin_names_and_links_only_what_one_may_list(
    who: str, client_of: Callable[[str], Client], things: dict[str, Any]
) -> None:
    client = client_of(who)
    index = client.get(reverse("admin:index")).content.decode()
    for model, thing in things.items():
        is_listed = f'href="{reverse(f"admin:{model}_changelist")}"' in index
        assert is_listed == may(who, model, "list"), model
        # Where a row's page was before Django 1.9: it leads to where it is now, and says nothing.
        answer = client.get(f"{reverse(f'admin:{model}_changelist')}{thing.pk}/")
        assert (answer.status_code, answer.content) == (302, b"")
    for model, sent in choices_of_ours():
        answer = client.get(reverse("admin:autocomplete"), sent)
        assert outcome_in_the_admin(answer) == of_the_admin(who, model, "list"), sent


def choices_of_ours() -> Iterator[tuple[str, dict[str, str]]]:
    """What can be searched for in order to be referred to, and how that is asked."""
    by_class = {made_by.model: name for name, made_by in our_admins().items()}
    for model in tables():
        for field in model._meta.concrete_fields:
            if field.related_model in by_class:
                app, name = model._meta.label_lower.split(".")
                sent = {"app_label": app, "model_name": name, "field_name": field.name}
                yield by_class[field.related_model], sent


def test_not_even_a_superuser_changes_or_deletes_anything_of_ours_in_the_admin(
    client_of: Callable[[str], Client], things: dict[str, Any]
) -> None:
    client = client_of("superuser")
    before = contents()
    for model, thing in things.items():
        form = {field.name: "1" for field in thing._meta.fields}
        delete = {"action": "delete_selected", "_selected_action": thing.pk, "index": 0}
        for page in ("changelist", "change", "delete", "history"):
            for sent in (form | {"_save": "Save"}, delete, delete | {"post": "yes"}):
                client.post(admins_address(model, page, thing), sent)
    assert contents() == before


@pytest.mark.parametrize("who", VISITORS)
def test_in_the_admin_a_token_is_revoked_by_its_owner_or_by_who_may_revoke_all(
    who: str, client_of: Callable[[str], Client], things: dict[str, Any]
) -> None:
    client = client_of(who)
    owner, _ = User.objects.get_or_create(username="dora")
    ApiToken(user=owner, name="own").issue(by="dora", days=1)
    chosen = ApiToken.objects.filter(name__in=["own", "hers"])
    sent = {"action": "revoke", "_selected_action": [token.pk for token in chosen]}
    client.post(reverse(f"admin:{TOKENS}_changelist"), sent)
    is_in = of_the_admin(who, TOKENS, "list") == "in"
    due = {"own": is_in, "hers": is_in and may(who, TOKENS, "one")}
    assert {token.name: token.revoked_at is not None for token in chosen.all()} == due


@pytest.mark.usefixtures("uncounted")
@pytest.mark.parametrize("who", CAST)
def test_the_receiver_is_for_whoever_signs(who: str, client_of: Callable[[str], Client]) -> None:
    client = client_of(who)
    receiver = reverse("webhooks:github")
    assert [outcome(client.generic(method, receiver)) for method in METHODS] == [
        403 if method == "POST" else 405 for method in METHODS
    ]
