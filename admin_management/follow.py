"""Follow a run from its journal alone: no database, no network, nothing that an update replaces."""

import time
from collections.abc import Callable
from pathlib import Path

from .runner.journal import Progress, replay
from .runner.lock import Lock
from .runner.render import closing_line, label
from .runner.status import StepStatus

INTERVAL = 0.2
"""Seconds between two looks at the journal."""


def follow(
    journal: Path, lock: Path, say: Callable[[str], object], interval: float = INTERVAL
) -> Progress:
    """Say each step as it begins and ends; return what the run came to.

    Waits for a run that has not begun. A run whose runner died is returned as interrupted.
    """
    said = 0
    while True:
        dead = journal.exists() and _is_free(lock)
        progress = replay(journal)
        lines = _lines(progress)
        for line in lines[said:]:
            say(line)
        said = len(lines)
        if progress.status.is_final:
            return progress
        if dead:
            progress.interrupt("The runner died before it could finish.")
            return progress
        time.sleep(interval)


def _lines(progress: Progress) -> list[str]:
    lines = []
    for step in progress.steps:
        lines.append(f"… {label(step.name)}")
        if step.status is not StepStatus.RUNNING:
            lines.append(closing_line(step))
    return lines


def _is_free(path: Path) -> bool:
    lock = Lock.try_acquire(path)
    if lock is None:
        return False
    lock.release()
    return True
