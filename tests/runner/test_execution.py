"""Executing the commands of a step, and what the journal says of it."""

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from admin_management.runner import execution
from admin_management.runner.execution import Recorder, StepFailedError
from admin_management.runner.journal import Journal, StepProgress, replay
from admin_management.runner.process import StoppedError
from admin_management.runner.redact import Redactor

PATH = {"PATH": os.environ["PATH"]}


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "journal")
    yield journal
    journal.close()


@pytest.fixture
def recorder(journal: Journal, tmp_path: Path) -> Recorder:
    return Recorder(journal, Redactor(["hunter2-hunter2"]), tmp_path)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Time that passes only when a test says so."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(execution, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def recorded(folder: Path) -> StepProgress:
    (step,) = replay(folder / "journal").steps
    return step


def shell(recorder: Recorder, script: str, name: str = "warm_cache") -> None:
    with recorder.step(name, ["sh", "-c", script], 60) as step:
        step.run(["sh", "-c", script], PATH)


def test_a_step_that_succeeds(recorder: Recorder, tmp_path: Path) -> None:
    shell(recorder, "echo hello; pwd")
    step = recorded(tmp_path)
    assert (step.name, step.argv) == ("warm_cache", ["sh", "-c", "echo hello; pwd"])
    assert (step.status, step.exit_code, step.signal, step.timed_out) == (
        "succeeded",
        0,
        None,
        False,
    )
    assert step.output == f"hello\n{tmp_path}\n"
    assert step.output_bytes == len(step.output)
    assert step.output_sha256 == hashlib.sha256(step.output.encode()).hexdigest()
    assert step.process is not None
    assert step.process_start is not None
    assert (step.message, step.hint) == ("", "")


def test_a_step_that_fails_says_how_and_what_to_do(recorder: Recorder, tmp_path: Path) -> None:
    with pytest.raises(StepFailedError, match="exit code 3") as raised:
        shell(recorder, "echo it does not work >&2; exit 3", name="migrations")
    step = recorded(tmp_path)
    assert (step.status, step.exit_code, step.message) == ("failed", 3, "exit code 3")
    assert step.output == "it does not work\n"
    assert step.hint == raised.value.hint != ""
    assert recorder.current_step == "migrations"


def test_a_step_that_a_signal_ends(recorder: Recorder, tmp_path: Path) -> None:
    with pytest.raises(StepFailedError, match="it was ended by SIGKILL"):
        shell(recorder, "kill -KILL $$")
    step = recorded(tmp_path)
    assert (step.exit_code, step.signal) == (None, 9)


def test_a_step_that_takes_too_long(recorder: Recorder, tmp_path: Path) -> None:
    with pytest.raises(StepFailedError, match="time-out of 0 s"), recorder.step("fetch") as step:
        step.run(["sleep", "1000"], PATH)
    assert recorded(tmp_path).timed_out
    assert 'ADMIN_MANAGEMENT["TIMEOUTS"]' in recorded(tmp_path).hint


def test_its_commands_share_its_time(
    recorder: Recorder, clock: SimpleNamespace, tmp_path: Path
) -> None:
    with (  # noqa: PT012
        pytest.raises(StepFailedError, match="time-out of 60 s"),
        recorder.step("dependencies", [], 60) as step,
    ):
        step.run(["echo", "built"], PATH)
        clock.now += 61
        step.run(["sleep", "1000"], PATH)
    assert recorded(tmp_path).output == "built\n"


def test_its_commands_share_its_output(recorder: Recorder, tmp_path: Path) -> None:
    with recorder.step("dependencies", [], 60) as step:
        step.run(["echo", "built"], PATH)
        step.run(["echo", "proved"], PATH)
    assert recorded(tmp_path).output == "built\nproved\n"
    assert recorded(tmp_path).output_bytes == len("built\nproved\n")


def test_a_program_that_cannot_be_started(recorder: Recorder, tmp_path: Path) -> None:
    with (
        pytest.raises(StepFailedError, match="exit code 127"),
        recorder.step("fetch", ["/nowhere/git"], 60) as step,
    ):
        step.run(["/nowhere/git"], PATH)
    assert recorded(tmp_path).output == (
        "/nowhere/git cannot be started: No such file or directory\n"
    )
    assert recorded(tmp_path).exit_code == 127


def test_a_step_that_is_not_needed_says_why(recorder: Recorder, tmp_path: Path) -> None:
    with recorder.step("dependencies", [], 60) as step:
        step.skip("nothing has changed")
    found = recorded(tmp_path)
    assert (found.status, found.message) == ("skipped", "nothing has changed")
    assert (found.exit_code, found.output_bytes, found.output_sha256) == (None, 0, "")


def test_an_error_of_our_own_fails_the_step(recorder: Recorder, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="disk is full"), recorder.step("dependencies"):
        raise OSError("disk is full")
    assert (recorded(tmp_path).status, recorded(tmp_path).message) == ("failed", "disk is full")


def test_a_stopped_step_is_interrupted(journal: Journal, tmp_path: Path) -> None:
    stop = os.eventfd(1)
    recorder = Recorder(journal, Redactor([]), tmp_path, stop)
    with pytest.raises(StoppedError):
        shell(recorder, "exec sleep 1000")
    os.close(stop)
    assert recorded(tmp_path).status == "interrupted"


def test_no_secret_reaches_the_journal(recorder: Recorder, tmp_path: Path) -> None:
    with (
        pytest.raises(StepFailedError),
        recorder.step("warm_cache", ["curl", "https://u:hunter2-hunter2@x"], 60) as step,
    ):
        step.run(["sh", "-c", "printf hunter2-; printf hunter2; echo; exit 1"], PATH)
    with pytest.raises(StepFailedError), recorder.step("pull"):
        raise StepFailedError("fatal: hunter2-hunter2 is wrong")
    written = (tmp_path / "journal").read_text()
    assert "hunter2" not in written
    assert written.count("[REDACTED]") == 3


def test_steps_are_numbered_in_their_order(recorder: Recorder, tmp_path: Path) -> None:
    for name in ("fetch", "pull"):
        shell(recorder, f"echo {name}", name=name)
    assert [(step.name, step.output) for step in replay(tmp_path / "journal").steps] == [
        ("fetch", "fetch\n"),
        ("pull", "pull\n"),
    ]


def test_its_pid_is_on_the_disk_while_it_runs(recorder: Recorder, tmp_path: Path) -> None:
    shell(recorder, f'while ! grep -q "\\"process\\": $$," {tmp_path}/journal; do :; done')
    text = (tmp_path / "journal").read_text()
    assert re.findall(r'"event": "(\w+)"', text) == ["step_started", "child", "step_finished"]
