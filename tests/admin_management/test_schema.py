"""The OpenAPI schema is valid, and what the API really answers is what it says."""

import importlib
import sys
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from drf_spectacular.generators import SchemaGenerator
from jsonschema import Draft202012Validator, FormatChecker  # type: ignore[import-untyped]

from admin_management import serializers, urls
from admin_management.doctor import Finding, Verdict, remember
from admin_management.machine import node
from admin_management.models import Run
from tests.conftest import Checkout

from .conftest import LiveRun

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_runner")]

UPDATE = "/admin/update/"
CANCEL = f"{UPDATE}{{id}}/cancel/"
ROLLBACK = f"{UPDATE}{{id}}/rollback/"
HOLD = "/admin/hold/"


@pytest.fixture
def schema() -> Any:
    generator = SchemaGenerator()  # type: ignore[no-untyped-call]
    return as_json_schema(generator.get_schema(public=True))  # type: ignore[no-untyped-call]


def as_json_schema(part: Any) -> Any:
    """OpenAPI 3.0 says ``nullable`` where JSON Schema says null."""
    if isinstance(part, list):
        return [as_json_schema(each) for each in part]
    if not isinstance(part, dict):
        return part
    part = {name: as_json_schema(value) for name, value in part.items()}
    return {"anyOf": [part, {"type": "null"}]} if part.pop("nullable", False) else part


def test_it_is_valid_and_nothing_had_to_be_guessed(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("spectacular", "--validate", "--fail-on-warn")
    assert "/admin/update/{id}/log/" in capsys.readouterr().out


def test_the_api_stands_without_drf_spectacular(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "drf_spectacular", None)
    monkeypatch.delattr(urls, "schema")
    assert "schema" not in vars(importlib.reload(urls))


def check(schema: dict[str, Any], answer: Any, path: str, method: str = "get") -> None:
    responses = schema["paths"][path][method]["responses"]
    content = responses[str(answer.status_code)]["content"]["application/json"]["schema"]
    validator = Draft202012Validator(
        {"components": schema["components"], **content}, format_checker=FormatChecker()
    )
    told = answer.json()
    validator.validate(told)
    assert_complete(schema, content, told)


def assert_complete(schema: dict[str, Any], content: dict[str, Any], told: object) -> None:
    """Nothing is told that the schema does not name."""
    if "$ref" in content:
        name = content["$ref"].rpartition("/")[2]
        content = schema["components"]["schemas"][name]
    content = content.get("anyOf", [content])[0]
    if isinstance(told, dict) and "properties" in content:
        assert set(told) <= set(content["properties"])
        for key, value in told.items():
            assert_complete(schema, content["properties"][key], value)
    if isinstance(told, list):
        for value in told:
            assert_complete(schema, content["items"], value)


@pytest.mark.parametrize("name", ["Update", "Cancel", "Rollback", "Hold"])
def test_every_field_of_a_body_is_in_the_schema(schema: dict[str, Any], name: str) -> None:
    fields = getattr(serializers, f"{name}RequestSerializer")().fields
    body = schema["components"]["schemas"][f"AdminManagement{name}Request"]
    assert list(body["properties"]) == list(fields)
    assert body.get("required", []) == [each for each, field in fields.items() if field.required]
    assert not body["additionalProperties"]


@pytest.mark.parametrize(
    ("name", "reason", "is_good"),
    [
        ("Update", "", True),
        ("Update", " ", True),
        ("Hold", " exams\n", True),
        ("Hold", " \n", False),
        ("Hold", "", False),
    ],
)
def test_a_text_is_good_for_the_schema_if_it_is_for_us(
    schema: dict[str, Any], name: str, reason: str, is_good: bool
) -> None:
    body = schema["components"]["schemas"][f"AdminManagement{name}Request"]
    assert Draft202012Validator(body).is_valid({"reason": reason}) == is_good
    asked = getattr(serializers, f"{name}RequestSerializer")(data={"reason": reason})
    assert asked.is_valid() == is_good


@pytest.mark.parametrize("key", ["a key", "ä", "a\tb", "", "x" * 256])
def test_a_key_is_good_for_the_schema_if_it_is_for_us(
    staff: Client, schema: dict[str, Any], key: str
) -> None:
    (parameter,) = schema["paths"][UPDATE]["post"]["parameters"]
    is_good = Draft202012Validator(parameter["schema"]).is_valid(key)
    answer = staff.post(UPDATE, headers={"Idempotency-Key": key}, content_type="application/json")
    assert answer.status_code == (202 if is_good else 400)


@pytest.fixture
def staff(client: Client, alice: User) -> Client:
    client.force_login(alice)
    return client


def test_answers_about_runs_are_as_the_schema_says(
    staff: Client, schema: dict[str, Any], live_run: LiveRun
) -> None:
    one, log = f"{UPDATE}{live_run.run.pk}/", f"{UPDATE}{live_run.run.pk}/log/"
    live_run.begin("fetch")
    live_run.say("From origin\n")
    posted = staff.post(UPDATE, {"reason": "x"}, content_type="application/json")
    assert "Location" in schema["paths"][UPDATE]["post"]["responses"]["202"]["headers"]
    check(schema, posted, UPDATE, "post")
    for _ in range(2):
        check(schema, staff.get(UPDATE), UPDATE)
        check(schema, staff.get(one), f"{UPDATE}{{id}}/")
        check(schema, staff.get(log), f"{UPDATE}{{id}}/log/")
        live_run.finish()


def test_the_status_is_as_the_schema_says(
    staff: Client, schema: dict[str, Any], live_run: LiveRun
) -> None:
    check(schema, staff.get("/admin/status/"), "/admin/status/")
    remember([Finding("disk", Verdict.WARN, "12 MB are free.", "Make room.")])
    check(schema, staff.get("/admin/status/"), "/admin/status/")


def test_the_self_test_is_as_the_schema_says(staff: Client, schema: dict[str, Any]) -> None:
    answer = staff.post("/admin/origin/", headers={"Origin": "http://testserver"})
    assert answer.status_code == 200
    check(schema, answer, "/admin/origin/", "post")


def test_a_status_of_nothing_but_problems_is_as_the_schema_says(
    staff: Client, schema: dict[str, Any], settings: Any
) -> None:
    settings.ADMIN_MANAGEMENT = {"CHEKOUT": "/srv/site"}
    check(schema, staff.get("/admin/status/"), "/admin/status/")


def test_answers_about_cancelling_are_as_the_schema_says(
    staff: Client, schema: dict[str, Any], live_run: LiveRun
) -> None:
    waiting = staff.post(UPDATE, content_type="application/json").json()
    for status in (202, 409):
        answer = staff.post(f"{waiting['url']}cancel/", content_type="application/json")
        assert answer.status_code == status
        check(schema, answer, CANCEL, "post")


def test_answers_about_going_back_are_as_the_schema_says(
    staff: Client, schema: dict[str, Any], checkout: Checkout
) -> None:
    earlier = checkout.revision()
    run = Run.objects.create(node=node(), trigger="api", status="succeeded", to_revision=earlier)
    address = f"{UPDATE}{run.pk}/rollback/"
    for status in (409, 202):
        check(schema, staff.get(address), ROLLBACK)
        answer = staff.post(address, {"reason": "slow"}, content_type="application/json")
        assert answer.status_code == status
        check(schema, answer, ROLLBACK, "post")
        checkout.commit({"version.txt": f"after {status}\n"})
        checkout.git("pull", "--quiet")


def test_answers_about_holds_are_as_the_schema_says(staff: Client, schema: dict[str, Any]) -> None:
    body = {"reason": "exams", "expires_at": "2100-01-01T00:00:00Z"}
    for status in (201, 409):
        answer = staff.post(HOLD, body, content_type="application/json")
        assert answer.status_code == status
        check(schema, answer, HOLD, "post")
    check(schema, staff.get(HOLD), HOLD)
    held = staff.post(UPDATE, content_type="application/json")
    assert held.json()["hold"]
    check(schema, held, UPDATE, "post")


@pytest.mark.parametrize(
    ("request_line", "template", "body"),
    [
        (f"GET {UPDATE}?status=x", UPDATE, ""),
        (f"GET {UPDATE}?cursor=x", UPDATE, ""),
        ("GET /admin/status/?x=1", "/admin/status/", ""),
        (f"POST {UPDATE}", UPDATE, "{"),
        (f"POST {UPDATE}", UPDATE, '{"forse": true}'),
        (f"POST {UPDATE}", UPDATE, "x" * 70_000),
        (f"POST {UPDATE}", UPDATE, '{"override_hold": true}'),
        (f"POST {UPDATE}00000000-0000-4000-8000-000000000000/cancel/", CANCEL, ""),
        (f"POST {UPDATE}00000000-0000-4000-8000-000000000000/cancel/", CANCEL, '{"why": ""}'),
        (f"GET {UPDATE}00000000-0000-4000-8000-000000000000/rollback/", ROLLBACK, ""),
        (f"POST {UPDATE}00000000-0000-4000-8000-000000000000/rollback/", ROLLBACK, "{}"),
        (f"GET {HOLD}", HOLD, ""),
        (f"DELETE {HOLD}", HOLD, ""),
        (f"POST {HOLD}", HOLD, "{}"),
        (f"GET {UPDATE}00000000-0000-4000-8000-000000000000/", f"{UPDATE}{{id}}/", ""),
    ],
)
def test_refusals_are_as_the_schema_says(
    staff: Client, schema: dict[str, Any], request_line: str, template: str, body: str
) -> None:
    method, path = request_line.split()
    answer = staff.generic(method, path, body, content_type="application/json")
    assert answer.status_code >= 400
    check(schema, answer, template, method.lower())


def test_a_stranger_is_refused_as_the_schema_says(client: Client, schema: dict[str, Any]) -> None:
    check(schema, client.get(UPDATE), UPDATE)
    check(schema, client.post(UPDATE), UPDATE, "post")


def test_who_is_not_staff_is_refused_as_the_schema_says(
    client: Client, bob: User, schema: dict[str, Any]
) -> None:
    client.force_login(bob)
    check(schema, client.get(UPDATE), UPDATE)
    check(schema, client.post(UPDATE), UPDATE, "post")


def test_too_many_changes_are_refused_as_the_schema_says(
    staff: Client, schema: dict[str, Any], checkout: Checkout
) -> None:
    while (answer := staff.post(UPDATE, content_type="application/json")).status_code == 202:
        pass
    check(schema, answer, UPDATE, "post")
    assert answer.status_code == 429
