"""SIGKILL at every point of a run, one after the other; then recovery; then all must be whole.

The points are all moments before an entry of the journal and before a child (``killed.py``). What
must hold afterwards are the invariants of the design: one version on disk and in the answers, one
true final status, and a next update that works.
"""

import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from admin_management.runner.journal import replay
from admin_management.runner.lock import Lock
from admin_management.runner.plan import Step
from admin_management.runner.recovery import unfinished_runs
from admin_management.runner.status import Status
from tests.conftest import Checkout

from .served import ServedSite, whole

ROOT = Path(__file__).parents[2]


class Trial:
    """A site that goes from version to version, and the killing of what moves it."""

    def __init__(self, site: ServedSite) -> None:
        self.site = site
        self.version = 1
        self.run = ""

    def push(self, **others: str) -> None:
        self.version += 1
        self.site.checkout.commit(
            self.site.version(self.version, **others), f"Version {self.version}"
        )

    def take_back(self, *names: str) -> None:
        """A next push, without what made the last one fail."""
        for name in names:
            (self.site.checkout.author / name).unlink()
        self.push()

    def begin(self, point: int, **changes: Any) -> bool:
        """Begin a run that dies at its n-th point. False if it has fewer, and got through."""
        self.run = str(uuid.uuid4())
        folder = self.site.state.run(self.run)
        folder.mkdir()
        self.site.plan(run=self.run, **changes).write(folder / "plan.json")
        return self._killed(point, "run")

    def recover(self, point: int = 0) -> bool:
        """Recover, dying at the n-th point; 0 is never."""
        return self._killed(point, "recover")

    def _killed(self, point: int, what: str) -> bool:
        plan = self.site.state.run(self.run) / "plan.json"
        done = subprocess.run(
            (sys.executable, "-m", "tests.runner.killed", str(point), what, str(plan)),
            cwd=ROOT,
            env=self.site.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        assert done.returncode in (0, -signal.SIGKILL), done.stdout.decode()
        return done.returncode != 0

    def check(self, point: int) -> None:
        """The invariants, after whatever has happened."""
        site = self.site
        progress = replay(site.state.journal(self.run))
        told = f"point {point}: {progress.status} {progress.message}"
        # I4: nobody holds the lock, and nothing is left to recover
        lock = Lock.try_acquire(site.state.lock)
        assert lock is not None, told
        with lock:
            assert [run for run in unfinished_runs(site.state) if _has_begun(site, run)] == [], told
        # I2: what is on disk belongs to the revision that is recorded as live
        revision = site.state.live_revision()
        assert revision == site.checkout.revision(), told
        number = int(site.checkout.git("show", f"{revision}:version.txt"))
        assert site.on_disk() == whole(number), told
        # I1: and so does what answers
        answer = site.answer()
        assert answer["revision"] == revision, told
        assert (int(answer["version"]), len(answer["schema"])) == (number, number), told
        # I3: the final status is true
        if _has_begun(site, self.run):
            assert progress.status.is_final, told
            assert (progress.status == Status.SUCCEEDED) == (number == self.version), told
            assert progress.status != Status.ROLLBACK_FAILED, told

    def goes_on(self) -> None:
        """The next update works."""
        assert self.site.update(str(uuid.uuid4()), force=True).status == "succeeded"
        assert self.site.on_disk() == whole(self.version)


def _has_begun(site: ServedSite, run: str) -> bool:
    return replay(site.state.journal(run)).started_at is not None


@pytest.fixture
def trial(checkout: Checkout, tmp_path: Path) -> Iterator[Trial]:
    site = ServedSite(checkout, tmp_path)
    site.prepare()
    with site.served():
        assert site.update(str(uuid.uuid4()), force=True).status == "succeeded"
        yield Trial(site)


def test_a_run_killed_at_any_point_leaves_a_whole_site(trial: Trial) -> None:
    point, was_killed = 0, True
    while was_killed:
        point += 1
        trial.push()
        was_killed = trial.begin(point)
        trial.recover()
        trial.check(point)
        trial.goes_on()
    assert point > 30


def test_a_rollback_killed_at_any_point_leaves_a_whole_site(trial: Trial) -> None:
    point, was_killed = 0, True
    while was_killed:
        point += 1
        trial.push(broken="")
        was_killed = trial.begin(point)
        trial.recover()
        trial.check(point)
        trial.take_back("broken")
        trial.goes_on()
    assert point > 40


def test_going_back_by_hand_killed_at_any_point_leaves_a_whole_site(trial: Trial) -> None:
    earlier = trial.site.answer()["revision"]
    trial.push()
    trial.goes_on()
    point, was_killed = 0, True
    while was_killed:
        point += 1
        was_killed = trial.begin(point, target=earlier, reverse_migrations=("app.0002",))
        trial.recover()
        trial.version = 1
        trial.check(point)
        trial.version = 2
        trial.goes_on()
    assert point > 30


@pytest.mark.parametrize("died_after", ["migrations", "restart"])
def test_a_recovery_killed_at_any_point_leaves_a_whole_site(trial: Trial, died_after: str) -> None:
    point, was_killed = 0, True
    while was_killed:
        point += 1
        trial.push()
        _die_after(trial, died_after)
        was_killed = trial.recover(point)
        trial.recover()
        trial.check(point)
        trial.goes_on()
    assert point > 10


def test_a_runner_killed_while_git_writes_a_new_file_leaves_a_whole_site(trial: Trial) -> None:
    trial.push(**{"large.bin": "x" * 100, "notes.txt": "of the new revision\n"})
    mine = trial.site.checkout.path / "notes.txt"
    mine.write_text("mine\n")
    steps = trial.site.plan().steps
    argv = ("sh", "-c", "printf xxx > large.bin; kill -9 $PPID")
    _die(trial, tuple(replace(each, argv=argv) if each.name == "pull" else each for each in steps))
    trial.recover()
    assert mine.read_text() == "mine\n"
    mine.unlink()
    trial.check(1)
    trial.goes_on()


def _die_after(trial: Trial, step: str) -> None:
    """A run that dies when this step has ended."""
    (trial.site.checkout.path / ".git" / "die").touch()
    steps = trial.site.plan().steps
    after = [each.name for each in steps].index(step) + 1
    kill = Step(name="die", argv=("sh", "-c", "kill -9 $PPID"), timeout=5)
    _die(trial, (*steps[:after], kill, *steps[after:]))


def _die(trial: Trial, steps: tuple[Step, ...]) -> None:
    trial.run = str(uuid.uuid4())
    folder = trial.site.state.run(trial.run)
    folder.mkdir()
    trial.site.plan(run=trial.run, steps=steps).write(folder / "plan.json")
    assert trial._killed(0, "run")
