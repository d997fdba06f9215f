"""What people write is stored as it came or refused with a sentence, and shown as text."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client

from admin_management.cancelling import cancel_update
from admin_management.conf import AdminManagementSettings, node
from admin_management.launcher import Requester, hold_updates, request_update, settle
from admin_management.models import ApiToken, AuditEvent, Hold, IdempotencyKey, Run, Trigger
from admin_management.runner.journal import Journal
from admin_management.runner.state import StateDirectory
from tests.conftest import Checkout
from tests.webhooks.fuzzing import HOSTILE_TEXTS

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.parametrize(
        "text", [*HOSTILE_TEXTS, "x" * 1_000_000], ids=lambda text: ascii(text)[:30]
    ),
]


@pytest.fixture
def staff(client: Client, alice: User, checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("admin_management.launcher.start_next", lambda: None)
    client.force_login(alice)
    return client


def a_run(status: str) -> Run:
    return Run.objects.create(node=node(), trigger="api", status=status)


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
    assert post(staff, f"/admin/update/{run.pk}/cancel/", {"reason": text}) in (200, 202, 400, 413)
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


@pytest.mark.parametrize(
    "ask",
    [
        lambda who, text: request_update(trigger=Trigger.COMMAND, requester=who, reason=text),
        lambda who, text: hold_updates(requester=who, reason=text),
        lambda who, text: cancel_update(a_run("queued"), requester=who, reason=text),
    ],
    ids=["to update", "to hold", "to cancel"],
)
def test_a_name_and_a_reason_at_the_shell(staff: Client, ask: Any, text: str) -> None:
    """A program's arguments and its user's name may be bytes that are no text."""
    ask(Requester(name=text), text)
    assert AuditEvent.objects.exists()
    assert "<script>alert" not in shown(staff)


def test_what_a_step_has_printed_and_what_it_failed_with(staff: Client, text: str) -> None:
    run = a_run("running")
    state = StateDirectory.of(AdminManagementSettings.load().checkout)
    state.run(str(run.pk)).mkdir(parents=True)
    journal = Journal(state.journal(str(run.pk)))
    journal.event("started", pid=None, process_start=None)
    journal.event("step_started", name="fetch", argv=["git", "fetch"])
    # What a step prints was cleaned on its way here; see tests/runner/test_output.py.
    journal.output(0, text)
    journal.event("step_finished", step=0, status="failed", exit_code=1, message=text, hint=text)
    journal.event("finished", status="failed", failed_step="fetch", message=text, hint=text)
    journal.close()
    assert settle() == 1
    run.refresh_from_db()
    step = run.steps.get()
    assert {run.message, run.hint, step.message, step.hint, step.output} == {run.message}
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
    assert status in (202, 400)
    assert status == 202 or not IdempotencyKey.objects.exists()


def test_the_name_of_a_token(staff: Client, alice: User, text: str) -> None:
    try:
        call_command("api_token", "new", "--", alice.username, text)
    except CommandError:
        assert not ApiToken.objects.exists()
    else:
        assert ApiToken.objects.get().name == text
        assert AuditEvent.objects.exists()
