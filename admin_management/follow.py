"""Follow a run from its journal alone: no database, no network, nothing that an update replaces."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from .runner.journal import Progress, StepProgress, replay
from .runner.lock import Lock
from .runner.render import closing_line, label
from .runner.status import StepStatus

INTERVAL = 0.2
"""Seconds between two looks at the journal."""

LAST_LINES = 20
"""Of the output of a step that has failed, which tell why."""

PATIENCE = 50
"""Looks at a free lock until a run that has not begun is given up: nobody is going to begin it."""


def follow(
    journal: Path,
    lock: Path,
    *,
    say: Callable[[str], object],
    show_progress: Callable[[str], object] = lambda text: None,
    interval: float = INTERVAL,
) -> Progress:
    """Say how each step ended, and why it failed, a line at a time; show what is happening
    meanwhile; return what the run came to.

    Waits for a run that is still queued. A run whose runner died is returned as interrupted.
    """
    said = idle = 0
    while True:
        # The lock first: a runner that lets go of it has written its end before.
        idle = idle + 1 if Lock.is_free(lock) else 0
        progress = replay(journal)
        ended = [step for step in progress.steps if step.status is not StepStatus.RUNNING]
        for step in ended[said:]:
            for line in _ending(step):
                say(line)
        said = len(ended)
        if progress.status.is_final:
            return progress
        if idle and (progress.started_at or idle > PATIENCE):
            progress.interrupt("The runner died before it could finish.")
            return progress
        show_progress(_now(progress))
        time.sleep(interval)


def _ending(step: StepProgress) -> Iterator[str]:
    if step.status not in (StepStatus.SUCCEEDED, StepStatus.SKIPPED):
        for line in step.output.splitlines()[-LAST_LINES:]:
            yield f"  {line}"
    yield from closing_line(step).splitlines()


def _now(progress: Progress) -> str:
    if progress.started_at is None:
        return "waiting for the run before it"
    running = [step for step in progress.steps if step.status is StepStatus.RUNNING]
    return f"{label(running[-1].name)} …" if running else "…"
