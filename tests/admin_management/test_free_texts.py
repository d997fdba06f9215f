"""What people write is stored as it came or refused with a sentence, and shown as text."""

import json
import logging
import re
from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import DataError, models, transaction
from django.test import Client
from django.urls import reverse

from admin_management import launcher
from admin_management.audit import Kind
from admin_management.cancelling import cancel_update
from admin_management.conf import AdminManagementSettings
from admin_management.launcher import (
    Requester,
    hold_updates,
    release_updates,
    request_update,
    settle,
)
from admin_management.machine import node
from admin_management.models import (
    LONGEST_NAME,
    ApiToken,
    AuditEvent,
    Hold,
    IdempotencyKey,
    Run,
    Trigger,
)
from admin_management.runner.journal import Journal, storable
from admin_management.runner.state import StateDirectory
from tests.conftest import Checkout
from tests.webhooks import test_fuzz
from tests.webhooks.fuzzing import HOSTILE_TEXTS
from webhooks.models import Secret

from . import test_client

pytestmark = pytest.mark.django_db


@pytest.fixture(params=[*HOSTILE_TEXTS, "x" * 1_000_000], ids=lambda text: ascii(text)[:30])
def text(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def staff(client: Client, alice: User, checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("admin_management.launcher.start_next", lambda: None)
    client.force_login(alice)
    return client


def a_run(status: str) -> Run:
    return Run.objects.create(node=node(), trigger="api", status=status)


def facts_of(kind: Kind) -> list[Any]:
    return [event["facts"] for event in events_of(kind)]


def events_of(kind: Kind) -> list[Any]:
    return [json.loads(event.text) for event in AuditEvent.objects.filter(kind=kind)]


def post(client: Client, path: str, body: object, **headers: str) -> int:
    response = client.post(path, body, content_type="application/json", headers=headers)
    if response.status_code >= 400:
        assert response.json()
    return response.status_code


def shown(client: Client) -> str:
    pages = [client.get("/admin/dashboard/"), client.get("/admin/status/")]
    assert [page.status_code for page in pages] == [200, 200]
    return pages[0].content.decode()


@pytest.mark.parametrize("path", ["/admin/update/", "/admin/hold/"])
def test_a_reason(staff: Client, text: str, path: str) -> None:
    status = post(staff, path, {"reason": text})
    rows = [*Run.objects.values_list("reason"), *Hold.objects.values_list("reason")]
    if status in (201, 202):
        assert rows == [(text.strip(),)]
    else:
        assert (status, rows) in ((400, []), (413, []))
    assert "<script>alert" not in shown(staff)


def test_a_reason_to_cancel(staff: Client, text: str) -> None:
    assert post(staff, "/admin/update/", {}) == 202
    run = Run.objects.get()
    status = post(staff, f"/admin/update/{run.pk}/cancel/", {"reason": text})
    run.refresh_from_db()
    told = [facts["reason"] for facts in facts_of(Kind.CANCEL_REQUESTED)]
    if status == 202:
        # For the log as it came; the run's message is one line.
        said = " ".join("".join(each if each.isprintable() else " " for each in text).split())
        why = f": {said}" if said else ""
        assert (told, run.message) == ([text.strip()], f"Cancelled by alice{why}.")
    else:
        assert (status, told, run.message) in ((400, [], ""), (413, [], ""))
    assert "<script>alert" not in shown(staff)


def test_a_reason_to_go_back(staff: Client, checkout: Checkout, text: str) -> None:
    run = Run.objects.create(
        node=node(), trigger="api", status="succeeded", to_revision=checkout.revision()
    )
    checkout.commit({"version.txt": "2\n"})
    checkout.git("pull", "--quiet")
    status = post(staff, f"/admin/update/{run.pk}/rollback/", {"reason": text})
    reasons = list(Run.objects.filter(trigger="rollback").values_list("reason", flat=True))
    assert (status, reasons) in ((202, [text.strip()]), (400, []), (413, []))
    assert "<script>alert" not in shown(staff)


def hold_and_release(who: Requester, text: str) -> None:
    hold_updates(requester=who, reason=text)
    release_updates(requester=who)


Logged = Callable[[Callable[[], object]], list[str]]


@pytest.fixture
def logged(
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: Any,
) -> Logged:
    """What is logged of an action until it is committed; no runner is let go."""

    def lines_of(act: Callable[[], object]) -> list[str]:
        monkeypatch.setattr(launcher, "start_next", lambda: None)
        caplog.set_level(logging.INFO, "admin_management")
        with django_capture_on_commit_callbacks(execute=True):
            act()
        return caplog.messages

    return lines_of


@pytest.mark.parametrize(
    ("ask", "kind"),
    [
        (
            lambda who, text: request_update(trigger=Trigger.POLL, requester=who, reason=text),
            Kind.REQUESTED,
        ),
        (lambda who, text: hold_updates(requester=who, reason=text), Kind.HELD),
        (hold_and_release, Kind.RELEASED),
        (
            lambda who, text: cancel_update(a_run("queued"), requester=who, reason=text),
            Kind.CANCEL_REQUESTED,
        ),
    ],
    ids=["to update", "to hold", "to release", "to cancel"],
)
def test_a_name_and_a_reason_at_the_shell(
    staff: Client, ask: Any, kind: Kind, text: str, logged: Logged
) -> None:
    """A program's arguments and its user's name may be bytes that are no text."""
    lines = logged(lambda: ask(Requester(name=text), text))
    assert all(line.isprintable() for line in lines)
    assert lines
    name = storable(text)[:LONGEST_NAME]
    assert [event["actor"] for event in events_of(kind)] == [name]
    assert (
        names_beside_the_log()
        == {
            Kind.REQUESTED: [name],
            Kind.HELD: [name, ""],
            Kind.RELEASED: [name, name],
            Kind.CANCEL_REQUESTED: [""],
        }[kind]
    )
    assert "<script>alert" not in shown(staff)


def names_beside_the_log() -> list[str]:
    holds = Hold.objects.values_list("actor_name", "released_by")
    of_holds = [name for row in holds for name in row]
    return [*Run.objects.values_list("actor_name", flat=True), *of_holds]


def test_a_reason_to_hold_does_not_obey_the_terminal_of_who_is_told_it(
    staff: Client, text: str
) -> None:
    hold_updates(requester=Requester(name=text), reason=text)
    told = StringIO()
    with pytest.raises(CommandError) as raised:
        call_command("hold_updates", f"--reason={text}")
    for command in ("update_server", "poll_remote", "release_updates"):
        call_command(command, stdout=told)
    call_command("hold_updates", f"--reason={text}", stdout=told)
    lines = [str(raised.value), *told.getvalue().split("\n")]
    assert len(lines) == 7
    assert all(line.isprintable() for line in lines)


def test_what_a_step_has_printed_and_what_it_failed_with(staff: Client, text: str) -> None:
    run = a_run("running")
    state = StateDirectory.of(AdminManagementSettings.load().checkout)
    state.run(str(run.pk)).mkdir(parents=True)
    journal = Journal(state.journal(str(run.pk)))
    journal.event("started", pid=None, process_start=None)
    journal.event("step_started", name="fetch", argv=["git", text])
    # What a step prints was cleaned on its way here; see tests/runner/test_output.py.
    journal.output(0, text)
    journal.event("step_finished", step=0, status="failed", exit_code=1, message=text, hint=text)
    journal.event("finished", status="failed", failed_step="fetch", message=text, hint=text)
    journal.close()
    assert settle() == 1
    run.refresh_from_db()
    step = run.steps.get()
    texts = {run.message, run.hint, step.message, step.hint, step.output, step.argv[1]}
    assert texts == {run.message}
    assert len(run.message) == len(text)
    assert "<script>alert" not in shown(staff)
    page = staff.get(f"/admin/dashboard/{run.pk}/")
    assert page.status_code == 200
    assert "<script>alert" not in page.content.decode()


def test_the_subject_of_a_commit(staff: Client, checkout: Checkout, text: str) -> None:
    subject = text.replace("\0", "").encode(errors="replace").decode()[:10_000]
    checkout.commit({"version.txt": "2\n"}, subject.strip() or "nothing")
    assert staff.get("/admin/status/?fetch=1").json()["pending"]
    assert "<script>alert" not in shown(staff)


def test_a_key(staff: Client, text: str) -> None:
    status = post(staff, "/admin/update/", {}, **{"Idempotency-Key": text})
    keys = list(IdempotencyKey.objects.values_list("key", flat=True))
    is_one = re.fullmatch("[ -~]{1,255}", text)
    assert (status, keys) == ((202, [text]) if is_one else (400, []))
    assert Run.objects.count() == len(keys)


def test_the_name_of_a_token(staff: Client, alice: User, text: str) -> None:
    try:
        call_command("api_token", "new", "--", alice.username, text)
    except CommandError:
        assert not ApiToken.objects.exists()
    else:
        assert ApiToken.objects.get().name == text
        assert AuditEvent.objects.exists()


def test_the_name_of_who_makes_a_secret_at_the_shell(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: text)
    call_command("webhook_secret", "new", stdout=StringIO(), stderr=StringIO())
    secret = Secret.objects.get()
    assert secret.created_by == storable(text)[:LONGEST_NAME]
    assert [event["actor"] for event in events_of(Kind.SECRET_MADE)] == [secret.created_by]
    listed = StringIO()
    call_command("webhook_secret", "list", stdout=listed, stderr=StringIO())
    assert listed.getvalue().removesuffix("\n").isprintable()


def test_the_name_of_who_makes_a_secret_on_the_dashboard(staff: Client, text: str) -> None:
    try:
        with transaction.atomic():
            user = User.objects.create_superuser(text[:150])
    except (ValueError, DataError):
        # This database has no user of such a name.
        assert User.objects.get().username == "alice"
        return
    staff.force_login(user)
    made = staff.post(reverse("admin_management:new_webhook_secret"))
    assert Secret.objects.get().created_by == storable(user.username)
    listed = staff.get(reverse("admin:github_webhooks_secret_changelist"))
    assert (made.status_code, listed.status_code) == (200, 200)
    assert "<script>alert" not in made.content.decode() + listed.content.decode() + shown(staff)


WORDS = "one of a few words of ours"
SETTINGS = "of the settings, which test_conf.py has tests of"
DIGESTS = "made here of digits and letters"

STORED = {
    # each text that is stored: the test that tries the worst with it, or why nobody can
    test_a_reason: ("run.reason", "hold.reason"),
    test_a_name_and_a_reason_at_the_shell: (
        *("run.actor_name", "hold.actor_name", "hold.released_by", "auditevent.text"),
    ),
    test_what_a_step_has_printed_and_what_it_failed_with: (
        *("run.message", "run.hint", "steprun.message", "steprun.hint", "steprun.output"),
        "steprun.argv",
    ),
    test_a_key: ("idempotencykey.key",),
    test_the_name_of_a_token: ("apitoken.name",),
    test_the_name_of_who_makes_a_secret_at_the_shell: ("secret.created_by",),
    test_fuzz.test_free_text_in_any_field_is_stored_harmlessly_or_refused: (
        *("delivery.action", "delivery.ref", "delivery.before", "delivery.after"),
        *("delivery.repository", "delivery.sender", "delivery.content_type", "delivery.reason"),
    ),
    test_fuzz.test_free_text_in_any_header_is_a_plain_word_or_refused: (
        *("delivery.delivery_id", "delivery.event"),
    ),
    test_client.test_whatever_a_server_says_is_an_address_in_its_one_spelling_or_none: (
        *("run.address", "delivery.address", "refusal.address"),
    ),
    WORDS: (
        *("run.status", "run.trigger", "steprun.status", "apitoken.scope", "auditevent.kind"),
        *("delivery.outcome", "refusal.reason"),
    ),
    SETTINGS: (*("run.failed_step", "steprun.name", "delivery.source", "secret.source"),),
    DIGESTS: (
        *("steprun.output_sha256", "idempotencykey.body_sha256", "apitoken.digest"),
        *("delivery.body_sha256", "delivery.secret", "secret.fingerprint", "secret.sealed"),
    ),
    "what git calls a commit": ("run.target_revision", "run.from_revision", "run.to_revision"),
    "the name of the machine": ("run.node", "hold.node"),
    "names of migrations: who can push one can push any code": ("run.reverse_migrations",),
}

NO_TEXT = (
    *(models.BooleanField, models.IntegerField, models.DateTimeField),
    *(models.UUIDField, models.ForeignKey),
)


def test_every_text_that_is_stored_is_on_the_list() -> None:
    assert sorted(field for fields in STORED.values() for field in fields) == sorted(stored())


def stored() -> Iterator[str]:
    """All columns of ours that hold anything but numbers, times and references."""
    for app in ("admin_management", "github_webhooks"):
        for model in apps.get_app_config(app).get_models():
            for field in model._meta.concrete_fields:
                if not isinstance(field, NO_TEXT):
                    yield f"{model._meta.model_name}.{field.name}"


def test_what_is_said_to_be_one_of_a_few_words_has_these_words() -> None:
    for each in STORED[WORDS]:
        model, _, name = each.partition(".")
        (found,) = (m for m in apps.get_models() if m._meta.model_name == model)
        assert getattr(found._meta.get_field(name), "choices", None) or each == "auditevent.kind"
