"""The management commands, as a person or a script sees them."""

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from admin_management import launcher
from admin_management.machine import node
from admin_management.models import Run
from admin_management.runner.journal import Journal, replay
from admin_management.runner.status import Status
from tests.conftest import Checkout

pytestmark = pytest.mark.django_db


def output_of(*argv: str) -> str:
    output = io.StringIO()
    call_command(*argv, stdout=output)
    return output.getvalue()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def journal_says(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Write the run's journal at the moment somebody begins to follow it."""

    def arrange(**end: Any) -> None:
        def files_of(run: Run) -> Any:
            journal_path, lock = launcher.files_of(run)
            journal_path.parent.mkdir()
            journal = Journal(journal_path)
            journal.event("started")
            journal.event("step_started", step=0, name="migrations", argv=[])
            journal.event("step_finished", step=0, status="succeeded")
            journal.event("finished", **end)
            journal.close()
            return journal_path, lock

        monkeypatch.setattr("admin_management.management.commands.update_server.files_of", files_of)

    return arrange


def test_update_server_requests_a_run_and_returns_at_once() -> None:
    said = output_of("update_server", "--reason", "new logo", "--force", "--accept-rewritten")
    run = Run.objects.get()
    assert said == f"Update {run.pk} requested\n"
    assert (run.trigger, run.reason) == ("command", "new logo")
    assert (run.force, run.accept_rewritten) == (True, True)
    assert run.actor_name


def test_update_server_says_which_run_it_joined() -> None:
    output_of("update_server")
    assert output_of("update_server").startswith("Joined the update ")


def test_update_server_waits_and_tells_the_steps(journal_says: Callable[..., None]) -> None:
    journal_says(status="succeeded", message="Updated: abc1234 new logo")
    said = output_of("update_server", "--wait").splitlines()
    assert said[1].startswith("✓ migrations succeeded")
    assert said[2] == "Updated: abc1234 new logo"


def test_update_server_fails_as_the_run_failed(journal_says: Callable[..., None]) -> None:
    journal_says(status="failed", message="migrations failed: exit code 1", hint="Mend it.")
    with pytest.raises(CommandError, match=r"failed: migrations failed: exit code 1\nMend it\."):
        output_of("update_server", "--wait")


def test_update_server_lets_no_terminal_obey_a_commit(
    journal_says: Callable[..., None],
) -> None:
    journal_says(status="succeeded", message="Updated: abc1234 \x1b]0;mine\x07\x1b[2J")
    said = output_of("update_server", "--wait")
    assert all(line.isprintable() for line in said.splitlines())


def test_update_server_fails_on_one_line_for_the_message_and_one_for_the_hint(
    journal_says: Callable[..., None],
) -> None:
    journal_says(status="failed", message="it said \x1b[2J\nmore", hint="Mend\rit.")
    with pytest.raises(CommandError) as raised:
        output_of("update_server", "--wait")
    assert str(raised.value) == "failed: it said \N{REPLACEMENT CHARACTER}[2J more\nMend it."


def test_update_server_shows_progress_on_a_terminal(
    journal_says: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    journal_says(status="succeeded", message="Updated")
    monkeypatch.setattr("admin_management.management.commands.update_server.follow", _look_once)
    terminal = Terminal()
    call_command("update_server", "--wait", stdout=io.StringIO(), stderr=terminal)
    assert "0 s  migrations …" in terminal.getvalue()


def test_update_server_shows_no_progress_in_a_file(
    journal_says: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    journal_says(status="succeeded", message="Updated")
    monkeypatch.setattr("admin_management.management.commands.update_server.follow", _look_once)
    file = io.StringIO()
    call_command("update_server", "--wait", stdout=io.StringIO(), stderr=file)
    assert file.getvalue() == ""


def _look_once(journal: Any, lock: Any, *, say: Any, show_progress: Any) -> Any:
    show_progress("migrations …")
    return replay(journal)


def test_update_status_prints_the_status_as_json(checkout: Checkout) -> None:
    status = json.loads(output_of("update_status", "--json"))
    assert status["branch"] == "master"


def test_update_status_reads_well(checkout: Checkout) -> None:
    said = output_of("update_status")
    assert "The first version" in said
    assert checkout.revision()[:7] in said


def test_settle_runs_says_how_many(checkout: Checkout) -> None:
    Run.objects.create(node=node(), trigger="api", status=Status.RUNNING)
    assert output_of("settle_runs") == "1 run settled\n"
    assert output_of("settle_runs") == "0 runs settled\n"
