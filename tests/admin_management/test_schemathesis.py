"""Whatever Schemathesis makes of the schema, the API answers as the schema says, whoever asks."""
# mypy: disable-error-code="no-untyped-call"

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
import schemathesis
from django.contrib.auth.models import User
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections, transaction
from django.test import Client
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, settings
from schemathesis.checks import ignored_auth, not_a_server_error, positive_data_acceptance

from admin_management.exceptions import ReasonMissingError
from admin_management.machine import node
from admin_management.models import ApiToken, Hold, Run, StepRun
from tests.conftest import Checkout

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.usefixtures("no_runner", "uncounted", "one_connection"),
]

# The same requests every time: none is made of the code, or of what was answered before.
CONFIG = {
    "generation": {"max-examples": 10, "deterministic": True, "with-security-parameters": False},
    "analysis": {"constants": {"enabled": False}},
    "phases": {
        "fuzzing": {
            "extra-data-sources": {"responses": False},
            "error-feedback": {"enabled": False},
        },
        "coverage": {"extra-data-sources": {"responses": False}},
    },
}
Case = schemathesis.Case[Any]

API = schemathesis.openapi.from_dict(
    SchemaGenerator().get_schema(public=True), config=schemathesis.Config.from_dict(CONFIG)
)
API.app = get_wsgi_application()

CAST = {
    "anonymous": ("nobody", ""),
    "a user": ("bob", ""),
    "staff": ("alice", ""),
    "read token": ("alice", "read"),
    "update token": ("alice", "update"),
}
"""Whose credentials are sent, and the scope of the token if it is one."""

ALWAYS = {"anonymous": 401, "a user": 403}
MAY_CHANGE = ("staff", "update token")

NOT_IN_A_SCHEMA = {
    "Not one of ours: follow the links `next` and `previous`.",
    "Null characters are not allowed.",
    "That is over already.",
    "That is too far away: leave it out, and release them.",
    str(ReasonMissingError()),
}
"""Why a request may be refused though its form is right."""


@pytest.fixture
def one_connection() -> Iterator[None]:
    """A request closes no connection when it begins and ends, as with Django's own client."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.fixture
def runs(checkout: Checkout) -> list[Run]:
    """One that one can go back to, and one that waits."""
    ended = Run.objects.create(
        node=node(), trigger="api", status="succeeded", to_revision=checkout.revision()
    )
    StepRun.objects.create(run=ended, position=0, name="fetch", status="succeeded", output="ö\n")
    checkout.commit({"version.txt": "2\n"})
    checkout.git("pull", "--quiet")
    return [ended, Run.objects.create(node=node(), trigger="api")]


@pytest.fixture
def credentials(who: str, alice: User, bob: User) -> dict[str, dict[str, str]]:
    name, scope = CAST[who]
    user = {"alice": alice, "bob": bob}.get(name)
    if scope:
        token = ApiToken(user=user, name="ci", scope=scope)
        token.issue(by="alice", days=1)
        return {"headers": {"Authorization": f"Bearer {token.value}"}}
    client = Client()
    if user:
        client.force_login(user)
    return {
        "headers": {"Origin": "http://localhost"},
        "cookies": {name: morsel.value for name, morsel in client.cookies.items()},
    }


@API.parametrize()
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@pytest.mark.parametrize(
    ("who", "is_held"), [*((who, True) for who in CAST), *((who, False) for who in MAY_CHANGE)]
)
def test_every_answer_is_as_the_schema_says(
    case: Case, who: str, is_held: bool, runs: list[Run], credentials: dict[str, Any]
) -> None:
    if not is_of_the_api(case):
        # Somebody else's address, who answers it.
        case.validate_response(case.call(**credentials), checks=[not_a_server_error])
        return
    aim(case, runs)
    # What a change has changed is taken back: each request finds the same house.
    with transaction.atomic():
        if is_held:
            Hold.objects.create(node=node(), reason="exams")
        before = rows()
        response = case.call(**credentials)
        has_changed = rows() != before
        transaction.set_rollback(True)
    # What ignored_auth asks is asked of everybody here.
    excluded = [ignored_auth]
    if response.status_code == 400 and reasons(response) <= NOT_IN_A_SCHEMA:
        excluded.append(positive_data_acceptance)
    case.validate_response(response, excluded_checks=excluded)
    if case.method.upper() == case.operation.method.upper():
        # Schemathesis itself lets a wrong content type be answered with anything.
        assert str(response.status_code) in case.operation.definition.raw["responses"]
    assert response.status_code == ALWAYS.get(who, response.status_code)
    assert who in MAY_CHANGE or not has_changed


def reasons(response: Any) -> set[str]:
    """All that a 400 names, whichever fields it is of."""
    return {each for told in response.json().values() for each in told}


def is_of_the_api(case: Case) -> bool:
    """Whether the address is one of ours: with something else than an id it is not."""
    asked = case.path_parameters.get("id", str(UUID(int=0)))
    try:
        return bool(str(UUID(asked)) == asked)
    except (ValueError, AttributeError, TypeError):
        return False


def aim(case: Case, runs: list[Run]) -> None:
    """Let two of three runs that are asked for exist."""
    if "id" in case.path_parameters:
        asked = UUID(case.path_parameters["id"])
        case.path_parameters["id"] = str([*(run.pk for run in runs), asked][asked.int % 3])


def rows() -> tuple[int, int]:
    return Run.objects.count(), Hold.objects.count()
