"""Every step, in every way that it can go wrong: the right status, the right step, a whole site.

A step's program is put into a wrapper that misbehaves once and then does what it should, so that
going back and the next update work with the very programs of the site. All cells share one site,
which goes from version to version, as long as it is whole.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from admin_management.runner import rehearsal as rehearsal_module
from admin_management.runner.journal import Progress, replay
from admin_management.runner.lock import Lock
from admin_management.runner.output import KEPT
from admin_management.runner.plan import Step
from admin_management.runner.recovery import recover, unfinished_runs
from admin_management.runner.redact import Redactor
from admin_management.runner.status import Status
from tests.conftest import Checkout

from .awaiting import PATIENCE
from .conftest import program
from .served import ServedSite
from .test_crash_points import Trial

ROOT = Path(__file__).parents[2]

STEPS = ("fetch", "rehearsal", "pull", "dependencies", "static_files", "migrations", "restart")
BEFORE_THE_PULL = ("fetch", "rehearsal")

WRAPPER = """\
if [ ! {where} ] || ! rm "{armed}" 2>/dev/null; then exec "$@"; fi
{fault}"""

FAULTS = {
    "exit 1": "echo it does not work; exit 1",
    "late exit 1": '"$@"; exit 1',
    "killed": "kill -KILL $$",
    "hang": "exec sleep 1000",
}
SAID = {
    "exit 1": "exit code 1",
    "late exit 1": "exit code 1",
    "killed": "it was ended by SIGKILL",
    "hang": "it was ended after its time-out of 0.6 s",
}
HARMLESS = {
    "1 GB of output": 'yes "it has a lot to say" | head -c 1000000000; exec "$@"',
    "one line of 64 MB": 'head -c 64000000 /dev/zero; exec "$@"',
    "invalid bytes": r"""printf '\377\376\000\033[31m\360\237\r\n\200 last\n'; exec "$@" """,
}

RUNNER = """\
import sys
from admin_management.runner.run import main
main(sys.argv[1], int(sys.argv[2]))
"""


@dataclass
class Workshop:
    """Makes sites, and hands the same one out while it is whole."""

    folder: Path
    stack: ExitStack
    trial: Trial | None = None

    def site(self) -> Trial:
        if self.trial is None:
            self.stack.close()
            folder = self.folder / str(uuid.uuid4())[:8]
            folder.mkdir()
            self.trial = self.stack.enter_context(made_in(folder))
        return self.trial


@contextmanager
def made_in(folder: Path) -> Iterator[Trial]:
    """A served site of version 1, with its repositories in a folder that there is."""
    checkout = Checkout.within(folder)
    checkout.begin()
    site = ServedSite(checkout, folder)
    site.prepare()
    with site.served():
        assert site.update(str(uuid.uuid4()), force=True).status == "succeeded"
        yield Trial(site)


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    with ExitStack() as stack:
        yield Workshop(tmp_path_factory.mktemp("grid"), stack)


@pytest.fixture
def trial(workshop: Workshop) -> Iterator[Trial]:
    trial = workshop.site()
    workshop.trial = None
    yield trial
    # Only a test that came to its end has left the site whole.
    if trial.run == "":
        workshop.trial = trial


def is_over(trial: Trial) -> None:
    """The end of each test: all is whole, and the next update works."""
    trial.check(0)
    trial.goes_on()
    trial.run = ""


def faulty(trial: Trial, name: str, fault: str, timeout: float = 20) -> tuple[Step, ...]:
    """The site's steps; the one of this name misbehaves the next time it is executed."""
    folder = trial.site.folder
    armed = folder / "armed"
    armed.touch()
    # uv is executed in the rehearsal, too.
    where = f'"$PWD" = "{trial.site.checkout.path}"' if name == "dependencies" else "1 = 1"
    text = WRAPPER.format(where=where, armed=armed, fault=fault)
    wrapper = program(folder / "wrapper", text)
    return tuple(
        replace(step, argv=(wrapper, *step.argv), timeout=timeout) if step.name == name else step
        for step in trial.site.plan().steps
    )


def patient(trial: Trial, name: str, timeout: float = 600) -> tuple[Step, ...]:
    """The site's steps, with another time-out for the one of this name."""
    return tuple(
        replace(step, timeout=timeout) if step.name == name else step
        for step in trial.site.plan().steps
    )


def update(trial: Trial, **changes: Any) -> Progress:
    trial.run = str(uuid.uuid4())
    return trial.site.update(trial.run, **changes)


def status_after(step: str) -> str:
    return "failed" if step in BEFORE_THE_PULL else "rolled_back"


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_fails(trial: Trial, step: str, fault: str) -> None:
    trial.push()
    timeout = 0.6 if fault == "hang" else 20
    progress = update(trial, steps=faulty(trial, step, FAULTS[fault], timeout))
    assert (progress.status, progress.failed_step) == (status_after(step), step)
    assert progress.message.startswith(f"{step} failed: {SAID[fault]}")
    assert progress.hint
    is_over(trial)


@pytest.mark.parametrize("fault", HARMLESS)
@pytest.mark.parametrize("step", STEPS)
def test_a_step_with_strange_output(trial: Trial, step: str, fault: str) -> None:
    trial.push()
    progress = update(trial, steps=faulty(trial, step, HARMLESS[fault], timeout=300))
    assert (progress.status, progress.failed_step) == ("succeeded", "")
    (recorded,) = (each for each in progress.steps if each.name == step)
    if fault == "invalid bytes":
        assert recorded.output.splitlines()[:2] == ["\ufffd\ufffd\ufffd\ufffd", "\ufffd last"]
    else:
        assert recorded.output_bytes >= (10**9 if fault == "1 GB of output" else 64 * 10**6)
        assert len(recorded.output) < 3 * KEPT
    assert trial.site.state.journal(trial.run).stat().st_size < 16 * KEPT
    is_over(trial)


@pytest.mark.parametrize("step", ["rehearsal", "migrations"])
def test_a_database_that_is_locked(trial: Trial, step: str) -> None:
    trial.push()
    locked = "echo 'django.db.utils.OperationalError: database is locked' >&2; exit 1"
    progress = update(trial, steps=faulty(trial, step, locked))
    assert (progress.status, progress.failed_step) == (status_after(step), step)
    (recorded,) = (each for each in progress.steps if each.name == step)
    assert "database is locked" in recorded.output
    is_over(trial)


def test_what_git_has_begun_to_write_is_taken_away_again(trial: Trial) -> None:
    trial.push(**{"large.bin": "x" * 100})
    steps = faulty(trial, "pull", "printf xxx > large.bin; exit 1")
    progress = update(trial, steps=steps)
    assert (progress.status, progress.failed_step) == (status_after("pull"), "pull")
    kept = trial.site.state.run(trial.run) / "left-behind"
    assert [path.read_text() for path in kept.rglob("large.bin")] == ["xxx"]
    is_over(trial)


def test_a_file_that_git_would_not_overwrite_is_still_there(trial: Trial) -> None:
    trial.push(**{"notes.txt": "of the new revision\n"})
    mine = trial.site.checkout.path / "notes.txt"
    mine.write_text("mine\n")
    progress = update(trial)
    assert (progress.status, progress.failed_step) == (status_after("pull"), "pull")
    assert mine.read_text() == "mine\n"
    mine.unlink()
    is_over(trial)


class TestTheRunner:
    """Told to stop, in the middle of each step; in a process of its own."""

    def start(self, trial: Trial, **changes: Any) -> subprocess.Popen[bytes]:
        trial.run = str(uuid.uuid4())
        state = trial.site.state
        state.run(trial.run).mkdir()
        plan = state.run(trial.run) / "plan.json"
        trial.site.plan(run=trial.run, **changes).write(plan)
        lock = Lock.try_acquire(state.lock)
        assert lock is not None
        with lock:
            runner = subprocess.Popen(
                (sys.executable, "-c", RUNNER, str(plan), str(lock.descriptor)),
                cwd=ROOT,
                env=trial.site.environ,
                stdin=subprocess.PIPE,
                pass_fds=(lock.descriptor,),
            )
        assert runner.stdin is not None
        runner.stdin.write(json.dumps([]).encode())
        runner.stdin.close()
        return runner

    def progress(self, trial: Trial) -> Progress:
        return replay(trial.site.state.journal(trial.run))

    def wait_for(self, trial: Trial, step: str) -> None:
        """Until this step is at work, and its fault with it."""
        deadline = time.monotonic() + PATIENCE
        while (trial.site.folder / "armed").exists() or not any(
            (each.name, each.status) == (step, "running") for each in self.progress(trial).steps
        ):
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def cancel(self, trial: Trial) -> None:
        (trial.site.state.run(trial.run) / "cancel").write_text("by alice: the wrong branch\n")

    @pytest.mark.parametrize("is_cancelled", [False, True])
    @pytest.mark.parametrize("step", STEPS)
    def test_in_a_step(self, trial: Trial, step: str, is_cancelled: bool) -> None:
        trial.push()
        stop = "exec sleep 1000"
        with self.start(trial, steps=faulty(trial, step, stop)) as runner:
            self.wait_for(trial, step)
            if is_cancelled:
                self.cancel(trial)
            runner.send_signal(signal.SIGTERM)
            assert runner.wait(PATIENCE) == 0
        self.check(trial, step, is_cancelled)

    @pytest.mark.parametrize("is_cancelled", [False, True])
    def test_in_the_proof(self, trial: Trial, is_cancelled: bool) -> None:
        trial.push(mute="")
        with self.start(trial, steps=patient(trial, "proof")) as runner:
            self.wait_for(trial, "proof")
            if is_cancelled:
                self.cancel(trial)
            runner.send_signal(signal.SIGTERM)
            assert runner.wait(PATIENCE) == 0
        trial.site.checkout.git("rm", "--quiet", "mute", cwd=trial.site.checkout.author)
        self.check(trial, "proof", is_cancelled)

    def test_in_the_soak(self, trial: Trial) -> None:
        trial.push()
        with self.start(trial, steps=patient(trial, "soak")) as runner:
            self.wait_for(trial, "soak")
            runner.send_signal(signal.SIGTERM)
            assert runner.wait(PATIENCE) == 0
        self.check(trial, "soak", False)

    def check(self, trial: Trial, step: str, is_cancelled: bool) -> None:
        progress = self.progress(trial)
        status = Status.CANCELLED if is_cancelled else Status.INTERRUPTED
        assert (progress.status, progress.failed_step) == (status, step)
        said = "Cancelled by alice: the wrong branch." if is_cancelled else "was told to stop."
        assert said in progress.message
        was_undone = "The site is back at" in progress.message
        assert was_undone == (step not in BEFORE_THE_PULL)
        assert trial.site.state.rolled_back().get(progress.to_revision) is None
        if step == "proof":
            trial.take_back()
        is_over(trial)


class TestTheNewProcesses:
    """What the proof and the soak find."""

    @pytest.mark.parametrize(
        ("what", "step", "said"),
        [
            ("broken", "proof", "answers 500"),
            ("mute", "proof", "does not answer: TimeoutError"),
            ("frail", "soak", "does not answer"),
        ],
    )
    def test_that_are_bad(self, trial: Trial, what: str, step: str, said: str) -> None:
        trial.push(**{what: ""})
        progress = update(trial)
        assert (progress.status, progress.failed_step) == ("rolled_back", step)
        assert said in progress.message
        trial.check(0)
        trial.take_back(what)
        is_over(trial)

    def test_that_never_came(self, trial: Trial) -> None:
        """A restart that does nothing, and says that it worked, with nothing new to tell by."""
        restart = trial.site.folder / "restart.sh"
        works = restart.read_text()
        program(restart, "exit 0")
        progress = update(trial, force=True)
        assert (progress.status, progress.failed_step) == ("rollback_failed", "proof")
        assert "a process from before the restart answers" in progress.message
        restart.write_text(works)
        trial.goes_on()
        trial.run = ""


class TestTheRemote:
    @pytest.fixture
    def over_ssh(self, trial: Trial) -> Iterator[Callable[[str], None]]:
        """Reached over SSH, by a program that a test writes."""
        checkout = trial.site.checkout

        def over_ssh(script: str) -> None:
            ssh = program(trial.site.folder / "ssh", script)
            checkout.git("config", "core.sshCommand", ssh)
            checkout.git("config", "ssh.variant", "simple")
            checkout.git("remote", "set-url", "origin", "example.com:site.git")

        yield over_ssh
        checkout.git("config", "--unset", "core.sshCommand")
        checkout.git("remote", "set-url", "origin", str(checkout.origin))

    def check(self, trial: Trial, progress: Progress, said: str) -> None:
        assert (progress.status, progress.failed_step) == ("failed", "fetch")
        assert said in progress.message
        assert [step.name for step in progress.steps] == ["preconditions", "fetch"]
        trial.check(0)

    def test_that_refuses(self, trial: Trial, over_ssh: Callable[[str], None]) -> None:
        trial.push()
        over_ssh("echo 'connection refused' >&2; exit 255")
        progress = update(trial)
        assert "connection refused" in progress.steps[-1].output
        self.check(trial, progress, "exit code 128")
        trial.run = ""

    def test_that_accepts_and_never_answers(
        self, trial: Trial, over_ssh: Callable[[str], None]
    ) -> None:
        trial.push()
        with socket.create_server(("127.0.0.1", 0)) as silent:
            talk = f"import socket; socket.create_connection({silent.getsockname()}).recv(1)"
            over_ssh(f'exec "{sys.executable}" -S -c "{talk}"')
            progress = update(trial, steps=patient(trial, "fetch", 2))
            connection, _ = silent.accept()
            # Nobody is left who waits for an answer.
            assert connection.recv(1) == b""
            connection.close()
        self.check(trial, progress, "it was ended after its time-out of 2 s")
        trial.run = ""

    def test_without_the_branch(self, trial: Trial) -> None:
        trial.push()
        checkout = trial.site.checkout
        checkout.git("branch", "--move", "master", "elsewhere", cwd=checkout.origin)
        progress = update(trial)
        self.check(trial, progress, "exit code 128")
        checkout.git("branch", "--move", "elsewhere", "master", cwd=checkout.origin)
        trial.goes_on()
        trial.run = ""


FILL = 'cat /dev/zero > "{filler}" 2>/dev/null'


class TestAFullDisk:
    """The checkout, and with it all that a run writes, is on a small disk of its own."""

    @pytest.fixture(scope="class")
    @classmethod
    def small(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
        folder = tmp_path_factory.mktemp("full")
        (folder / "site").mkdir()
        mount = ("mount", "-t", "tmpfs", "-o", "size=260m,mode=700", "tmpfs", str(folder / "site"))
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"a small disk cannot be mounted: {done.stderr.strip()}")
        try:
            with ExitStack() as stack:
                trial = stack.enter_context(made_in(folder))
                yield Workshop(folder, stack, trial)
        finally:
            subprocess.run(("umount", str(folder / "site")), check=True)

    @pytest.fixture
    def trial(self, small: Workshop) -> Iterator[Trial]:
        assert small.trial is not None
        small.trial.site.state.create()
        assert small.trial.site.state.ballast.path.exists()
        yield small.trial
        self.filler(small.trial).unlink(missing_ok=True)

    def filler(self, trial: Trial) -> Path:
        return trial.site.checkout.path / ".git" / "filler"

    def fill(self, trial: Trial) -> str:
        return FILL.format(filler=self.filler(trial))

    def is_over(self, trial: Trial) -> None:
        assert trial.site.answer()["revision"] == trial.site.state.live_revision()
        # Git could not even look at a work tree on a disk that is full.
        self.filler(trial).unlink()
        trial.site.state.create()
        is_over(trial)

    @pytest.mark.parametrize("step", STEPS)
    def test_in_a_step_that_fails_by_it(self, trial: Trial, step: str) -> None:
        trial.push()
        fault = f"{self.fill(trial)}; echo it does not fit; exit 1"
        progress = update(trial, steps=faulty(trial, step, fault))
        assert (progress.status, progress.failed_step) == (status_after(step), step)
        assert progress.message.startswith(f"{step} failed: exit code 1")
        self.is_over(trial)

    @pytest.mark.parametrize("step", ["fetch", "pull"])
    def test_in_a_git_that_runs_into_it(self, trial: Trial, step: str) -> None:
        trial.push(**{"large.bin": "x" * 2_000_000 + str(uuid.uuid4())})
        progress = update(trial, steps=faulty(trial, step, f'{self.fill(trial)}; exec "$@"'))
        assert (progress.status, progress.failed_step) == (status_after(step), step)
        self.is_over(trial)

    @pytest.mark.parametrize("step", ["static_files", "restart"])
    def test_costs_output_and_not_the_step(self, trial: Trial, step: str) -> None:
        trial.push()
        talk = f'{self.fill(trial)}; yes "it has a lot to say" | head -n 20000; "$@"'
        progress = update(trial, steps=faulty(trial, step, f"{talk}; rm {self.filler(trial)}"))
        assert progress.status == "succeeded"
        (recorded,) = (each for each in progress.steps if each.name == step)
        assert recorded.output_bytes >= 20_000 * 20
        assert "lines could not be written: the disk was full …]\n" in recorded.output
        self.filler(trial).touch()
        self.is_over(trial)

    def test_between_the_restart_and_the_proof_is_no_failure(self, trial: Trial) -> None:
        trial.push()
        progress = update(
            trial, steps=faulty(trial, "restart", f'"$@"; {self.fill(trial)}; exit 0')
        )
        assert progress.status == "succeeded"
        assert not trial.site.state.ballast.path.exists()
        self.is_over(trial)

    def test_does_not_keep_a_dead_run_from_being_recovered(self, trial: Trial) -> None:
        trial.push()
        trial.run = str(uuid.uuid4())
        folder = trial.site.state.run(trial.run)
        folder.mkdir()
        die = f"{self.fill(trial)}; kill -KILL $PPID"
        steps = faulty(trial, "migrations", f'"$@"; {die}')
        trial.site.plan(run=trial.run, steps=steps).write(folder / "plan.json")
        assert trial._killed(0, "run")
        with Lock.inherited(os.open(trial.site.state.lock, os.O_RDWR)):
            assert unfinished_runs(trial.site.state) == [trial.run]
            recover(trial.site.state, trial.run, trial.site.environ, Redactor([]))
        progress = replay(trial.site.state.journal(trial.run))
        assert (progress.status, progress.failed_step) == ("interrupted", "migrations")
        assert "The site is back at" in progress.message
        self.is_over(trial)

    def test_is_found_by_the_rehearsal(self, trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(rehearsal_module, "ROOM", 2**30)
        trial.push()
        progress = update(trial)
        assert (progress.status, progress.failed_step) == ("failed", "rehearsal")
        assert "MB free; trying an update needs 1024 MB" in progress.message
        monkeypatch.undo()
        self.filler(trial).touch()
        self.is_over(trial)
