"""A run, or a recovery, that kills itself at its n-th point.

    python -m tests.runner.killed N run PLAN
    python -m tests.runner.killed N recover PLAN

A point is a moment before an entry is written into the journal or a child is started. Exits with 0
when there are fewer than N of them.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from admin_management.runner.journal import Journal
from admin_management.runner.lock import Lock
from admin_management.runner.pipeline import perform
from admin_management.runner.plan import Plan
from admin_management.runner.process import Child
from admin_management.runner.recovery import recover, unfinished_runs
from admin_management.runner.redact import Redactor
from admin_management.runner.state import StateDirectory

passed = 0


def counted(function: Callable[..., Any], last: int) -> Callable[..., Any]:
    def wrapper(*arguments: Any, **options: Any) -> Any:
        global passed  # noqa: PLW0603
        passed += 1
        if passed == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)

    return wrapper


def main(last: int, what: str, path: Path) -> None:
    Journal._write = counted(Journal._write, last)  # type: ignore[method-assign]
    Child.__init__ = counted(Child.__init__, last)  # type: ignore[method-assign]
    plan = Plan.read(path)
    state = StateDirectory(Path(plan.state_directory))
    lock = Lock.try_acquire(state.lock)
    assert lock is not None
    with lock:
        if what == "run":
            journal = Journal(state.journal(plan.run))
            perform(plan, journal, os.environ, Redactor([]))
            journal.close()
        else:
            for run in unfinished_runs(state):
                recover(state, run, os.environ, Redactor([]))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
