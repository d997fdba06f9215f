"""A runner's life: take over the lock, perform the plan, let go, have it settled."""

import json
import os
import signal
import sys
from pathlib import Path

from .journal import Journal, replay
from .lock import Lock
from .output import OutputSink
from .pipeline import perform
from .plan import PYTHON, Plan
from .process import OF_THE_SITE, Child
from .recovery import recover, unfinished_runs
from .redact import Redactor, secrets_in_environment
from .state import NotAGitCheckoutError, StateDirectory
from .status import Status

SETTLE_TIMEOUT = 120.0
"""Seconds for the last act. If it does not get done, the next request to the site does it."""


def main(plan_path: str, lock_descriptor: int) -> None:
    """Perform the plan at ``plan_path`` under the lock that the launcher handed over."""
    lock = Lock.inherited(lock_descriptor)
    stop = _stop_requests()
    plan = Plan.read(Path(plan_path))
    secrets = [*json.load(sys.stdin), *secrets_in_environment(os.environ)]
    state = StateDirectory(Path(plan.state_directory))
    journal = Journal(state.journal(plan.run), state.ballast)
    redactor = Redactor(secrets)
    perform(plan, journal, os.environ, redactor, stop)
    journal.close()
    # Before the settling, which starts the next run if one waits.
    lock.release()
    _settle(plan, redactor)


def recover_in_background(checkout: str, lock_descriptor: int) -> None:
    """Bring dead runs to their end, under the lock that the launcher handed over; then settle."""
    lock = Lock.inherited(lock_descriptor)
    redactor = Redactor([*json.load(sys.stdin), *secrets_in_environment(os.environ)])
    state = StateDirectory.of(Path(checkout))
    recovered = [recover(state, run, os.environ, redactor) for run in unfinished_runs(state)]
    lock.release()
    for plan in list(filter(None, recovered))[-1:]:
        _settle(plan, redactor)


def recover_at_boot(checkout: str) -> int:
    """Bring dead runs to their end before the site is up. Returns the exit code."""
    try:
        state = StateDirectory.of(Path(checkout).resolve())
    except NotAGitCheckoutError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    if not state.path.exists():
        return 0
    lock = Lock.try_acquire(state.lock)
    if lock is None:
        print("An update is at work; nothing to recover.", file=sys.stderr)  # noqa: T201
        return 0
    # The site's own secrets are not known here, so that nothing it prints is kept.
    redactor = Redactor(secrets_in_environment(os.environ), hides_output=True)
    is_whole = True
    with lock:
        for run in unfinished_runs(state):
            recover(state, run, os.environ, redactor, is_at_boot=True)
            progress = replay(state.journal(run))
            print(f"{run}: {progress.status}. {progress.message}", file=sys.stderr)  # noqa: T201
            is_whole &= progress.status is not Status.ROLLBACK_FAILED
    return 0 if is_whole else 1


def _stop_requests() -> int:
    """A descriptor that becomes readable when a signal asks the runner to stop.

    Nothing is raised from a handler: that could strike between starting a child and knowing it,
    or in the clean-up after a first signal.
    """
    stop = os.eventfd(0)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os.eventfd_write(stop, 1))
    # Not SIG_IGN, which the children would inherit.
    signal.signal(signal.SIGHUP, lambda *_: None)
    return stop


def _settle(plan: Plan, redactor: Redactor) -> None:
    """The site's own code, which may print what it likes: it goes into the log as a step's does."""
    python = str(Path(plan.environment) / "bin" / "python")
    argv = [python if word == PYTHON else word for word in plan.settle]
    said = OutputSink(_log, redactor)
    try:
        with Child(
            argv,
            cwd=Path(plan.checkout),
            environ=os.environ,
            receive=said.receive,
            umask=OF_THE_SITE,
        ) as child:
            ending = child.wait(SETTLE_TIMEOUT)
        problem = "" if ending.succeeded else ending.describe(SETTLE_TIMEOUT)
    except OSError as error:
        problem = str(error)
    said.close()
    if problem:
        _log(f"{plan.run} is not settled yet: {problem}\n")


def _log(text: str) -> None:
    print(text, end="", file=sys.stderr)  # noqa: T201
