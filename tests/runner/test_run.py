"""A runner's life, as the launcher starts it: detached, with the lock and the secrets it gets."""

import fcntl
import json
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import admin_management.runner as runner_package
from admin_management.runner import run
from admin_management.runner.journal import Progress, replay
from admin_management.runner.lock import Lock
from admin_management.runner.plan import Plan, Step
from tests.runner.awaiting import PATIENCE, Pipe, Watched
from tests.runner.conftest import Site, program

Watch = Callable[[int], Watched]

SECRET = "hunter2-hunter2"

SETTLE = """\
import fcntl, json, os, sys
lock = os.open(sys.argv[1], os.O_RDWR)
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    is_free = True
except BlockingIOError:
    is_free = False
runner = os.getppid()
parent = int(open(f"/proc/{runner}/stat").read().rpartition(")")[2].split()[1])
facts = {"is_free": is_free, "runner": runner, "parent": parent, "folder": os.getcwd()}
with open(sys.argv[2], "w") as pipe:
    print(json.dumps(facts), file=pipe)
"""
"""Run as a runner's last act: says what it finds."""


@dataclass
class Started:
    """A runner that was started, and the pipe on which its last act reports."""

    site: Site
    settled: Pipe
    first_process: int

    def facts_of_settling(self) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads(self.settled.line())
        return facts

    def progress(self) -> Progress:
        return replay(self.site.state.journal(self.site.plan.run))


@pytest.fixture
def settled(tmp_path: Path) -> Iterator[Pipe]:
    pipe = Pipe(tmp_path / "settled")
    yield pipe
    pipe.close()


@pytest.fixture
def start(site: Site, settled: Pipe, tmp_path: Path) -> Callable[..., Started]:
    """Starts a runner for these steps as the launcher does."""
    (tmp_path / "settle.py").write_text(SETTLE)

    def start(*steps: Step) -> Started:
        settle = (
            *(sys.executable, str(tmp_path / "settle.py")),
            *(str(site.state.lock), str(settled.path)),
        )
        site.state.run(site.plan.run).mkdir()
        path = site.state.run(site.plan.run) / "plan.json"
        replace(site.plan, steps=steps, settle=settle).write(path)
        return Started(site, settled, launch(site, path))

    return start


def launch(site: Site, path: Path) -> int:
    """Start a runner, as launcher.py does. Returns the pid of its first process, which ended."""
    lock = Lock.try_acquire(site.state.lock)
    assert lock is not None
    with (
        lock,
        open(site.state.log, "ab") as log,
        subprocess.Popen(
            (sys.executable, "-P", "-m", runner_package.__name__, path, str(lock.descriptor)),
            cwd=site.state.path,
            env=os.environ | site.environ,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            pass_fds=(lock.descriptor,),
            start_new_session=True,
        ) as first,
    ):
        first.communicate(json.dumps([SECRET]).encode(), timeout=PATIENCE)
    assert first.returncode == 0
    return first.pid


def script(text: str, name: str = "work") -> Step:
    return Step(name=name, argv=("sh", "-c", text), timeout=600)


class TestALife:
    def test_performs_the_plan_and_has_it_settled_after_letting_go_of_the_lock(
        self, start: Callable[..., Started]
    ) -> None:
        runner = start(script("echo working"))
        facts = runner.facts_of_settling()
        assert facts["is_free"]
        assert facts["folder"] == runner.site.plan.checkout
        progress = runner.progress()
        assert progress.status == "succeeded"
        assert progress.steps[-1].output == "working\n"

    def test_is_spent_as_nobodys_child(self, start: Callable[..., Started], pipe: Pipe) -> None:
        runner = start(script(f"echo $PPID > '{pipe.path}'"))
        facts = runner.facts_of_settling()
        assert int(pipe.line()) == facts["runner"]
        assert facts["runner"] != runner.first_process
        # Init, or the nearest process that takes orphans in.
        assert facts["parent"] not in (os.getpid(), runner.first_process)

    def test_hides_the_secrets_that_came_over_standard_input(
        self, start: Callable[..., Started]
    ) -> None:
        runner = start(script(f"echo it is {SECRET}"))
        runner.facts_of_settling()
        assert runner.progress().steps[-1].output == "it is [REDACTED]\n"
        written = [path for path in runner.site.state.path.rglob("*") if path.is_file()]
        plan = runner.site.state.run(runner.site.plan.run) / "plan.json"
        assert plan in written
        for path in written:
            assert path == plan or SECRET.encode() not in path.read_bytes()

    def test_holds_the_lock_which_its_children_do_not_inherit(
        self, start: Callable[..., Started], pipe: Pipe, watch: Watch
    ) -> None:
        # The daemon leaves the group, so it lives on when the step has ended.
        runner = start(script(f"setsid sh -c 'echo $$ > {pipe.path}; exec sleep 1000' & wait"))
        daemon = watch(int(pipe.line()))
        assert Lock.try_acquire(runner.site.state.lock) is None
        pid = runner_pid(runner)
        os.kill(pid, signal.SIGTERM)
        assert runner.facts_of_settling()["is_free"]
        assert daemon.is_alive

    def test_frees_the_lock_when_it_is_killed(
        self, start: Callable[..., Started], site: Site, pipe: Pipe, watch: Watch
    ) -> None:
        # A step may be quicker than the runner's note of it.
        known = f"grep -q '\"child\"' '{site.state.journal(site.plan.run)}'"
        runner = start(
            script(f"until {known}; do :; done; echo $$ > '{pipe.path}'; exec sleep 1000")
        )
        step = watch(int(pipe.line()))
        os.kill(runner_pid(runner), signal.SIGKILL)
        with open(runner.site.state.lock, "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
        assert step.is_alive
        assert runner.progress().status == "running"
        assert runner.progress().steps[-1].process == step.pid


def runner_pid(runner: Started) -> int:
    first_line = runner.site.state.journal(runner.site.plan.run).read_text().splitlines()[0]
    return int(json.loads(first_line)["pid"])


class TestBeingStopped:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_ends_the_child_and_the_run_as_interrupted_with_the_step_named(
        self, start: Callable[..., Started], pipe: Pipe, watch: Watch, number: signal.Signals
    ) -> None:
        runner = start(
            script(f"echo $$ > '{pipe.path}'; exec sleep 1000"), script("true", name="later")
        )
        child = watch(int(pipe.line()))
        os.kill(runner_pid(runner), number)
        assert runner.facts_of_settling()["is_free"]
        assert child.ends()
        progress = runner.progress()
        assert (progress.status, progress.failed_step) == ("interrupted", "work")
        assert [(step.name, step.status.value) for step in progress.steps] == [
            ("preconditions", "succeeded"),
            ("work", "interrupted"),
        ]

    def test_twice_does_not_disturb_the_clean_up(
        self, start: Callable[..., Started], pipe: Pipe, watch: Watch
    ) -> None:
        text = f"""
            trap 'kill -INT $PPID; kill -TERM $PPID; echo last words; exit' TERM
            echo $$ > '{pipe.path}'
            while :; do :; done"""
        runner = start(script(text))
        child = watch(int(pipe.line()))
        os.kill(runner_pid(runner), signal.SIGTERM)
        runner.facts_of_settling()
        assert child.ends()
        assert runner.progress().status == "interrupted"
        assert runner.progress().steps[-1].output == "last words\n"

    def test_by_a_terminal_that_goes_away_does_not_happen(
        self, start: Callable[..., Started], pipe: Pipe
    ) -> None:
        runner = start(script(f"kill -HUP $PPID; echo > '{pipe.path}'; kill -HUP $PPID"))
        pipe.line()
        runner.facts_of_settling()
        assert runner.progress().status == "succeeded"

    def test_is_not_forbidden_to_the_children(
        self, start: Callable[..., Started], pipe: Pipe
    ) -> None:
        runner = start(script(f"grep SigIgn /proc/self/status > '{pipe.path}'"))
        ignored = int(pipe.line().split()[1], 16)
        runner.facts_of_settling()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
            assert not ignored & 1 << (number - 1), number


class TestMain:
    """The same in this process, where what it calls can be replaced."""

    @pytest.fixture(autouse=True)
    def signals(self) -> Iterator[None]:
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        before = [signal.getsignal(number) for number in numbers]
        yield
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)

    @pytest.fixture
    def main(
        self, site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> Callable[..., Progress]:
        def main(**changes: Any) -> Progress:
            plan: Plan = replace(site.plan, **changes)
            site.state.run(plan.run).mkdir()
            plan.write(tmp_path / "plan.json")
            (tmp_path / "secrets").write_text(json.dumps([SECRET]))
            lock = Lock.try_acquire(site.state.lock)
            assert lock is not None
            with open(tmp_path / "secrets") as secrets, monkeypatch.context() as patch:
                patch.setattr(sys, "stdin", secrets)
                for name, value in site.environ.items():
                    patch.setenv(name, value)
                run.main(str(tmp_path / "plan.json"), lock.descriptor)
            assert Lock.try_acquire(site.state.lock) is not None
            return replay(site.state.journal(plan.run))

        return main

    def test_settles_with_the_environment_that_is_live_then(
        self, main: Callable[..., Progress], site: Site, tmp_path: Path
    ) -> None:
        (site.link / "bin").mkdir(parents=True)
        program(site.link / "bin" / "python", f'echo "$@" > "{tmp_path}/did"; pwd >> "$2"')
        progress = main(steps=(), settle=("{python}", "settle_runs", str(tmp_path / "where")))
        assert progress.status == "succeeded"
        assert (tmp_path / "did").read_text() == f"settle_runs {tmp_path}/where\n"
        assert (tmp_path / "where").read_text() == f"{site.checkout.path}\n"

    def test_hides_the_secrets_of_the_environment_too(
        self, main: Callable[..., Progress], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DB_PASSWORD", "of-the-database")
        progress = main(steps=(script(f"echo of-the-database {SECRET}"),))
        assert progress.steps[-1].output == "[REDACTED] [REDACTED]\n"

    @pytest.mark.parametrize("settle", [("false",), ("/nowhere/python",)])
    def test_says_in_its_log_that_it_could_not_be_settled(
        self,
        main: Callable[..., Progress],
        capsys: pytest.CaptureFixture[str],
        settle: tuple[str, ...],
        site: Site,
    ) -> None:
        assert main(steps=(), settle=settle).status == "succeeded"
        assert f"{site.plan.run} is not settled yet: " in capsys.readouterr().err

    def test_hides_secrets_in_what_the_settling_says(
        self, main: Callable[..., Progress], capsys: pytest.CaptureFixture[str]
    ) -> None:
        main(steps=(), settle=("sh", "-c", f"echo with {SECRET}; echo and {SECRET} >&2; exit 3"))
        first, second, last = capsys.readouterr().err.splitlines()
        assert (first, second) == ("with [REDACTED]", "and [REDACTED]")
        assert last.endswith("is not settled yet: exit code 3")

    def test_does_not_wait_for_a_settling_that_never_ends(
        self,
        main: Callable[..., Progress],
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(run, "SETTLE_TIMEOUT", 0.01)
        main(steps=(), settle=("sleep", "1000"))
        assert "time-out" in capsys.readouterr().err

    def test_notes_a_request_to_stop_without_raising(self, main: Callable[..., Progress]) -> None:
        progress = main(steps=(script("kill -HUP $PPID; kill -TERM $PPID; exec sleep 1000"),))
        assert (progress.status, progress.failed_step) == ("interrupted", "work")


class TestUsage:
    def run_module(self, monkeypatch: pytest.MonkeyPatch, *argv: str) -> None:
        monkeypatch.setattr(sys, "argv", ["runner", *argv])
        runpy.run_module("admin_management.runner", run_name="__main__")

    def test_somebody_who_starts_it_by_hand_is_told_what_to_do_instead(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with pytest.raises(SystemExit, match=r"manage\.py update_server"):
            self.run_module(monkeypatch)

    def test_the_first_process_ends_as_soon_as_there_is_a_second(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(os, "fork", lambda: 4711)
        monkeypatch.setattr(os, "_exit", sys.exit)
        with pytest.raises(SystemExit) as raised:
            self.run_module(monkeypatch, "plan.json", "3")
        assert raised.value.code == 0

    def test_the_second_process_performs_the_plan(self, monkeypatch: pytest.MonkeyPatch) -> None:
        performed: list[tuple[str, int]] = []
        monkeypatch.setattr(os, "fork", lambda: 0)
        monkeypatch.setattr(run, "main", lambda *arguments: performed.append(arguments))
        self.run_module(monkeypatch, "plan.json", "3")
        assert performed == [("plan.json", 3)]
