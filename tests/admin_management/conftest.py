"""A run that goes on, without a runner: its journal is written by the test."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from django.utils import timezone

from admin_management import launcher
from admin_management.machine import node
from admin_management.models import Run
from admin_management.runner.journal import Journal
from admin_management.runner.lock import Lock
from admin_management.runner.plan import Plan
from admin_management.runner.state import StateDirectory
from admin_management.runner.status import Status
from tests.conftest import Checkout


@dataclass
class LiveRun:
    """What a runner would write, one call each."""

    run: Run
    journal: Journal
    folder: Path
    lock: Lock
    position: int = field(default=-1)

    def begin(self, name: str) -> None:
        if self.position >= 0:
            self.end()
        self.position += 1
        self.journal.event("step_started", step=self.position, name=name, argv=["git", name])

    def say(self, text: str) -> None:
        self.journal.output(self.position, text)

    def end(self, status: str = "succeeded", message: str = "", exit_code: int = 0) -> None:
        self.journal.event(
            "step_finished",
            step=self.position,
            status=status,
            message=message,
            exit_code=exit_code,
        )

    def finish(self, message: str = "Updated: abc1234 new logo") -> None:
        if self.position >= 0:
            self.end()
        self.journal.event("finished", status="succeeded", message=message)
        self.lock.release()

    def fail(self, name: str, message: str, hint: str) -> None:
        self.end("failed", message, 1)
        self.journal.event(
            "finished",
            status="failed",
            failed_step=name,
            message=f"{name} failed: {message}",
            hint=hint,
        )
        self.lock.release()


@pytest.fixture
def live_run(db: None, checkout: Checkout) -> Iterator[LiveRun]:
    state = StateDirectory.of(checkout.path)
    state.create()
    lock = Lock.try_acquire(state.lock)
    assert lock is not None
    run = Run.objects.create(
        node=node(),
        trigger="webhook",
        actor_name="octocat",
        reason="push to master",
        status=Status.RUNNING,
        started_at=timezone.now(),
    )
    folder = state.run(str(run.pk))
    folder.mkdir()
    journal = Journal(state.journal(str(run.pk)))
    journal.event("started")
    with lock:
        yield LiveRun(run, journal, folder, lock)
    journal.close()


@pytest.fixture
def no_runner(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits goes on waiting."""
    monkeypatch.setattr("admin_management.launcher.start_next", lambda: None)


@pytest.fixture
def uncounted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep is more than anybody may send in a minute."""
    for throttle in ("ChangeThrottle", "FetchThrottle", "WrongTokenThrottle"):
        monkeypatch.setattr(f"admin_management.throttling.{throttle}.rate", "100000/min")


@pytest.fixture
def spawned(monkeypatch: pytest.MonkeyPatch) -> list[Plan]:
    """The plans of the runners that would have been started, instead of starting them."""
    plans: list[Plan] = []

    def spawn(arguments: tuple[str, ...], state: StateDirectory, lock: Lock) -> None:
        plans.append(Plan.read(Path(*arguments)))

    monkeypatch.setattr(launcher, "_spawn", spawn)
    return plans
