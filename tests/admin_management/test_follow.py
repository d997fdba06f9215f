"""Following a run from its journal."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from admin_management.follow import LAST_LINES, PATIENCE, follow
from admin_management.runner.journal import Journal
from admin_management.runner.lock import Lock
from admin_management.runner.status import Status


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "journal")
    yield journal
    journal.close()


def test_says_each_step_once_and_returns_the_end(tmp_path: Path, journal: Journal) -> None:
    lock = Lock.try_acquire(tmp_path / "lock")
    assert lock is not None
    said: list[str] = []
    shown: list[str] = []
    # What the runner does between one look and the next.
    moves: Iterator[Callable[[], None]] = iter(
        [
            lambda: journal.event("started"),
            lambda: journal.event("step_started", step=0, name="fetch", argv=[]),
            lambda: journal.event("step_finished", step=0, status="succeeded"),
            lambda: journal.event("finished", status="succeeded", message="Updated"),
        ]
    )

    def show_progress(text: str) -> None:
        shown.append(text)
        next(moves)()

    with lock:
        progress = follow(
            tmp_path / "journal",
            tmp_path / "lock",
            say=said.append,
            show_progress=show_progress,
            interval=0,
        )
    assert progress.status is Status.SUCCEEDED
    assert [line.split(" in ")[0] for line in said] == ["✓ git fetch succeeded"]
    assert shown == ["waiting for the run before it", "…", "git fetch …", "…"]


def test_says_why_a_step_has_failed(tmp_path: Path, journal: Journal) -> None:
    journal.event("started")
    journal.event("step_started", step=0, name="rehearsal", argv=[])
    for number in range(LAST_LINES + 1):
        journal.event("output", step=0, text=f"line {number}\n")
    journal.event("step_finished", step=0, status="failed", message="exit code 1", hint="Mend it.")
    journal.event("finished", status="failed")
    said: list[str] = []
    follow(tmp_path / "journal", tmp_path / "lock", say=said.append, interval=0)
    assert said[:LAST_LINES] == [f"  line {number}" for number in range(1, LAST_LINES + 1)]
    closing, hint = said[LAST_LINES:]
    assert closing.startswith("✗ rehearsal failed in ")
    assert closing.endswith("s: exit code 1")
    assert hint == "  Mend it."


def test_a_dead_runner_is_reported_as_interrupted(tmp_path: Path, journal: Journal) -> None:
    journal.event("started")
    journal.event("step_started", step=0, name="pull", argv=[])
    progress = follow(tmp_path / "journal", tmp_path / "lock", say=print, interval=0)
    assert (progress.status, progress.failed_step) == (Status.INTERRUPTED, "pull")


def test_a_run_that_nobody_begins_is_given_up(tmp_path: Path) -> None:
    looks: list[str] = []
    progress = follow(
        tmp_path / "journal",
        tmp_path / "lock",
        say=print,
        show_progress=looks.append,
        interval=0,
    )
    assert progress.status is Status.INTERRUPTED
    assert len(looks) == PATIENCE
