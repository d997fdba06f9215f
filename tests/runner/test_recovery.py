"""What a dead runner has left is finished or undone. Where it died is in test_crash_points.py."""

import fcntl
import json
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from admin_management.runner import run as run_module
from admin_management.runner.journal import Journal, Progress, replay
from admin_management.runner.lock import Lock
from admin_management.runner.process import start_time
from admin_management.runner.recovery import ATTEMPTS, recover, unfinished_runs
from admin_management.runner.redact import REDACTED, Redactor
from admin_management.runner.rollback import Rollback
from tests.runner.awaiting import PATIENCE, Pipe
from tests.runner.conftest import RUN, Site, program

STEPS = ("fetch", "pull", "dependencies", "static_files", "migrations", "restart", "proof", "soak")

LATER = "11111111-0000-4000-8000-000000000000"


class Dead:
    """A run whose runner died: its journal is written by the test."""

    def __init__(self, site: Site, run: str = RUN) -> None:
        self.site, self.run = site, run
        self.before = site.checkout.revision()
        self.tip = site.checkout.commit({"version.txt": f"{run}\n"})
        site.checkout.git("fetch", "--quiet")
        site.state.set_live_revision(self.before)
        folder = site.state.run(run)
        folder.mkdir()
        replace(site.plan, run=run).write(folder / "plan.json")
        self.journal = Journal(site.state.journal(run))
        self.journal.event("started", run=run, pid=1, force=False)
        self.journal.event("revisions", from_revision=self.before, to_revision=self.tip)
        self.position = -1

    def changed(self) -> None:
        """It has come past the pull."""
        self.journal.event(
            "checkpoint",
            revision=self.before,
            environment=f"taken-over-{self.run[:8]}",
            static_files="",
            migrations=[],
        )
        self.step("pull")
        self.site.checkout.git("merge", "--quiet", "--ff-only", self.tip)

    def step(self, name: str, status: str | None = "succeeded", **facts: object) -> None:
        """One step; with no status it is the one in which the runner died."""
        self.position += 1
        self.journal.event("step_started", step=self.position, name=name, argv=[])
        if "process" in facts:
            self.journal.event("child", step=self.position, **facts)
        elif status:
            self.journal.event("step_finished", step=self.position, status=status, **facts)

    def recover(self, **options: Any) -> Progress:
        recover(self.site.state, self.run, self.site.environ, Redactor([]), **options)
        return self.progress()

    def progress(self) -> Progress:
        return replay(self.site.state.journal(self.run))


@pytest.fixture
def dead(site: Site) -> Iterator[Dead]:
    """A dead run on a site that has a plain environment, and a program that restarts it."""
    (site.link / "bin").mkdir(parents=True)
    (site.link / "pyvenv.cfg").write_text("the plain one")
    (site.link / "bin" / "python").symlink_to(sys.executable)
    dead = Dead(site)
    yield dead
    dead.journal.close()


def statuses(progress: Progress) -> dict[str, str]:
    return {step.name: step.status.value for step in progress.steps}


class TestWhatNeedsIt:
    def test_are_the_runs_without_an_end_in_the_order_of_their_plans(self, site: Site) -> None:
        first, second, third = (Dead(site, f"{number}0000000-0000") for number in (3, 2, 1))
        second.journal.event("finished", status="failed")
        for age, each in enumerate((third, second, first)):
            os.utime(site.state.run(each.run) / "plan.json", (1_000_000 - age,) * 2)
        # The last recovery of the first one was later than all of that.
        first.journal.event("recovering")
        assert unfinished_runs(site.state) == [first.run, third.run]
        for each in (first, second, third):
            each.journal.close()

    def test_are_not_those_that_never_began(self, site: Site) -> None:
        site.state.run(RUN).mkdir()
        assert unfinished_runs(site.state) == []


class TestARunThatHadChangedNothing:
    def test_is_closed_as_interrupted_in_its_last_step(self, dead: Dead) -> None:
        dead.step("fetch")
        dead.step("rehearsal", None)
        (dead.site.state.rehearsal / RUN).mkdir(parents=True)
        built = dead.site.state.environments / f"key-{RUN[:8]}"
        built.mkdir()
        progress = dead.recover()
        assert (progress.status, progress.failed_step) == ("interrupted", "rehearsal")
        assert progress.message == "The runner died before it could finish."
        assert progress.hint == "Ask for another update to go on from here."
        assert statuses(progress) == {"fetch": "succeeded", "rehearsal": "interrupted"}
        assert not dead.site.state.rehearsal.exists()
        assert not built.exists()
        assert dead.site.checkout.revision() == dead.before

    def test_names_the_last_step_when_none_was_at_work(self, dead: Dead) -> None:
        dead.step("fetch")
        assert dead.recover().failed_step == "fetch"

    def test_names_none_when_none_was_begun(self, dead: Dead) -> None:
        progress = dead.recover()
        assert (progress.status, progress.failed_step) == ("interrupted", "")

    def test_is_told_as_failed_when_it_had_failed(self, dead: Dead) -> None:
        dead.step("fetch", "failed", message="exit code 128", hint="Look.")
        progress = dead.recover()
        assert (progress.status, progress.failed_step, progress.hint) == (
            "failed",
            "fetch",
            "Look.",
        )
        assert progress.message == (
            "fetch failed: exit code 128. The runner died before it could finish."
        )


class TestARunThatHadChangedSomething:
    def test_is_rolled_back(self, dead: Dead) -> None:
        dead.changed()
        dead.step("dependencies", None)
        progress = dead.recover()
        assert (progress.status, progress.failed_step) == ("interrupted", "dependencies")
        assert progress.message == (
            f"The runner died before it could finish. The site is back at {dead.before[:7]}."
        )
        assert dead.site.checkout.revision() == dead.before
        assert dead.site.state.rolled_back() == {}

    def test_that_had_failed_is_told_as_rolled_back(self, dead: Dead) -> None:
        dead.changed()
        dead.step("migrations", "failed", message="exit code 1", hint="Mend it.")
        dead.step("undo_migrations", "failed", message="it could not be")
        dead.step("undo_pull", None)
        progress = dead.recover()
        assert (progress.status, progress.failed_step) == ("rolled_back", "migrations")
        assert progress.message.startswith("migrations failed: exit code 1. The runner died")
        assert progress.hint == "Mend it."

    def test_that_was_stopped_is_not_told_as_failed_by_a_part_of_its_rollback(
        self, dead: Dead
    ) -> None:
        dead.changed()
        dead.step("migrations", "interrupted")
        dead.step("undo_migrations", "failed", message="it could not be")
        dead.step("undo_pull", None)
        assert dead.recover().status == "interrupted"

    def test_restarts_what_it_had_restarted(self, dead: Dead) -> None:
        dead.changed()
        dead.step("restart", None)
        assert statuses(dead.recover())["undo_restart"] == "succeeded"
        assert dead.site.did()[-1] == ["restart", "site"]

    def test_restarts_nothing_before_the_site_is_up(self, dead: Dead) -> None:
        dead.changed()
        dead.step("restart", None)
        assert "undo_restart" not in statuses(dead.recover(is_at_boot=True))
        assert dead.site.did() == []

    def test_that_was_proved_is_finished(self, dead: Dead) -> None:
        dead.changed()
        dead.step("proof")
        dead.journal.event("proved")
        dead.step("soak", None)
        progress = dead.recover()
        assert progress.status == "succeeded"
        assert progress.message == "The runner died after the new revision was proved to serve."
        assert dead.site.checkout.revision() == dead.tip == dead.site.state.live_revision()

    def test_that_was_proved_and_then_failed_is_rolled_back(self, dead: Dead) -> None:
        dead.changed()
        dead.step("proof")
        dead.journal.event("proved")
        dead.step("soak", "failed", message="PM2 had to restart the new processes.")
        progress = dead.recover()
        assert (progress.status, progress.failed_step) == ("rolled_back", "soak")
        assert dead.site.checkout.revision() == dead.before

    def test_that_was_proved_and_was_being_undone_is_rolled_back(self, dead: Dead) -> None:
        dead.changed()
        dead.step("proof")
        dead.journal.event("proved")
        dead.step("soak", "interrupted")
        dead.journal.event("rolling_back")
        dead.step("undo_migrations", "skipped")
        assert dead.recover().status == "interrupted"
        assert dead.site.checkout.revision() == dead.before == dead.site.state.live_revision()

    def test_is_left_as_it_is_when_a_later_run_has_begun_from_there(self, dead: Dead) -> None:
        dead.changed()
        dead.step("dependencies", None)
        dead.site.state.set_live_revision(dead.tip)
        os.utime(dead.site.state.run(RUN) / "plan.json", (1_000_000, 1_000_000))
        later = Dead(dead.site, LATER)
        later.journal.event("finished", status="succeeded")
        later.journal.close()
        progress = dead.recover()
        assert progress.status == "interrupted"
        assert "undo_pull" not in statuses(progress)
        assert dead.site.checkout.revision() == dead.tip


class TestARecovery:
    def test_ends_what_the_dead_runner_had_started(
        self, dead: Dead, sleeper: subprocess.Popen[bytes]
    ) -> None:
        dead.step("migrations", None, process=sleeper.pid, process_start=start_time(sleeper.pid))
        dead.recover()
        assert sleeper.wait(PATIENCE) < 0

    def test_is_counted_before_it_is_made_and_not_begun_for_ever(
        self, dead: Dead, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Killed(BaseException):
            """The machine went down."""

        def go_down(self: Rollback) -> bool:
            raise Killed

        monkeypatch.setattr(Rollback, "perform", go_down)
        dead.changed()
        dead.step("static_files", None)
        for attempt in range(1, ATTEMPTS + 1):
            with pytest.raises(Killed):
                dead.recover()
            assert dead.progress().recoveries == attempt
        progress = dead.recover()
        assert (progress.status, progress.failed_step) == ("rollback_failed", "static_files")
        assert f"Recovery was begun {ATTEMPTS} times and did not end." in progress.message
        assert f"git reset --hard {dead.before}" in progress.hint

    @pytest.mark.parametrize("spoil", ["unlink", "version"])
    def test_of_a_plan_that_cannot_be_read_ends_all_the_same(self, dead: Dead, spoil: str) -> None:
        plan = dead.site.state.run(RUN) / "plan.json"
        plan.unlink() if spoil == "unlink" else plan.write_text('{"version": 1}')
        dead.step("fetch", None)
        progress = dead.recover()
        assert progress.status == "interrupted"
        assert "Its plan cannot be read: " in progress.message
        assert statuses(progress) == {"fetch": "interrupted"}
        assert unfinished_runs(dead.site.state) == []

    def test_of_such_a_plan_says_what_to_do_when_something_was_changed(self, dead: Dead) -> None:
        (dead.site.state.run(RUN) / "plan.json").write_text("{}")
        dead.changed()
        progress = dead.recover()
        assert progress.status == "rollback_failed"
        assert f"git reset --hard {dead.before}" in progress.hint
        assert dead.site.checkout.revision() == dead.tip


def at_boot(site: Site, **environ: str) -> subprocess.CompletedProcess[str]:
    """As PM2 or systemd calls it before the site is up."""
    return subprocess.run(
        (sys.executable, "-m", "admin_management.runner", "--recover", str(site.checkout.path)),
        cwd=Path(__file__).parents[2],
        env=site.environ | environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


class TestAtBoot:
    def test_each_run_is_told_in_a_line(self, dead: Dead) -> None:
        dead.changed()
        dead.step("dependencies", None)
        done = at_boot(dead.site)
        assert done.returncode == 0
        assert done.stderr == (
            f"{RUN}: interrupted. The runner died before it could finish. "
            f"The site is back at {dead.before[:7]}.\n"
        )
        assert dead.site.checkout.revision() == dead.before
        again = at_boot(dead.site)
        assert (again.returncode, again.stderr) == (0, "")

    def test_a_site_that_is_not_whole_is_an_error_and_the_others_are_seen_to(
        self, dead: Dead
    ) -> None:
        dead.changed()
        (dead.site.state.run(RUN) / "plan.json").write_text("{}")
        os.utime(dead.site.state.run(RUN) / "plan.json", (1_000_000, 1_000_000))
        later = Dead(dead.site, LATER)
        done = at_boot(dead.site)
        later.journal.close()
        assert done.returncode == 1
        lines = done.stderr.splitlines()
        assert [line.split(".")[0] for line in lines] == [
            f"{RUN}: rollback_failed",
            f"{LATER}: interrupted",
        ]

    def test_what_the_site_prints_is_hidden_because_its_secrets_are_unknown(
        self, dead: Dead
    ) -> None:
        dead.changed()
        dead.step("static_files", None)
        assert at_boot(dead.site).returncode == 0
        (step,) = (step for step in dead.progress().steps if step.name == "undo_static_files")
        assert dead.site.did()[0][0] == "collectstatic"
        assert step.output == f"{REDACTED}\n"

    def test_a_message_with_a_secret_of_the_environment_is_clean(self, dead: Dead) -> None:
        dead.changed()
        (dead.site.state.run(RUN) / "plan.json").write_text('{"version": "hunter2-hunter2"}')
        done = at_boot(dead.site, DB_PASSWORD="hunter2-hunter2")
        assert "hunter2" not in done.stderr
        assert "hunter2" not in dead.site.state.journal(RUN).read_text()

    def test_a_site_that_never_made_an_update_has_nothing_to_recover(
        self, site: Site, tmp_path: Path
    ) -> None:
        fresh = replace(site.checkout, path=tmp_path / "fresh")
        site.checkout.git("clone", "--quiet", str(site.checkout.origin), str(fresh.path))
        done = at_boot(replace(site, checkout=fresh))
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert not (fresh.path / ".git" / "admin-management").exists()

    def test_a_folder_without_git_is_an_error(self, site: Site, tmp_path: Path) -> None:
        elsewhere = replace(site.checkout, path=tmp_path / "pm2-home")
        done = at_boot(replace(site, checkout=elsewhere))
        assert done.returncode == 1
        assert "is not inside a git work tree" in done.stderr

    def test_an_update_at_work_is_let_alone(self, dead: Dead) -> None:
        dead.changed()
        lock = Lock.try_acquire(dead.site.state.lock)
        assert lock is not None
        with lock:
            done = at_boot(dead.site)
        assert (done.returncode, done.stderr) == (0, "An update is at work; nothing to recover.\n")
        assert dead.progress().status == "running"


class TestInTheBackground:
    """As the launcher starts it, in this process."""

    @pytest.fixture
    def begin(
        self, dead: Dead, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Callable[..., None]:
        def begin(*secrets: str) -> None:
            (tmp_path / "secrets").write_text(json.dumps(secrets))
            lock = Lock.try_acquire(dead.site.state.lock)
            assert lock is not None
            with open(tmp_path / "secrets") as given, monkeypatch.context() as patch:
                patch.setattr(sys, "stdin", given)
                for name, value in dead.site.environ.items():
                    patch.setenv(name, value)
                path = str(dead.site.checkout.path)
                run_module.recover_in_background(path, lock.descriptor)
            freed = Lock.try_acquire(dead.site.state.lock)
            assert freed is not None
            freed.release()

        return begin

    def test_it_recovers_hides_secrets_and_has_it_settled(
        self, dead: Dead, begin: Callable[..., None], tmp_path: Path
    ) -> None:
        plan = dead.site.state.run(RUN) / "plan.json"
        program(tmp_path / "settle", f"pwd > '{tmp_path}/settled'")
        replace(dead.site.plan, settle=(str(tmp_path / "settle"),)).write(plan)
        dead.changed()
        dead.step("static_files", None)
        begin("says hello")
        assert dead.progress().status == "interrupted"
        (step,) = (step for step in dead.progress().steps if step.name == "undo_static_files")
        assert step.output == f"collectstatic {REDACTED}\n"
        assert (tmp_path / "settled").read_text() == f"{dead.site.checkout.path}\n"

    def test_without_a_plan_that_can_be_read_nothing_is_settled(
        self, dead: Dead, begin: Callable[..., None], capsys: pytest.CaptureFixture[str]
    ) -> None:
        (dead.site.state.run(RUN) / "plan.json").write_text("{}")
        begin()
        assert dead.progress().status == "interrupted"
        assert "is not settled" not in capsys.readouterr().err

    def test_it_detaches_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        did: list[object] = []
        monkeypatch.setattr(sys, "argv", ["runner", "--recover", "/srv/site", "7"])
        monkeypatch.setattr(os, "fork", lambda: did.append("fork"))
        monkeypatch.setattr(
            run_module, "recover_in_background", lambda *arguments: did.append(arguments)
        )
        runpy.run_module("admin_management.runner", run_name="__main__")
        assert did == ["fork", ("/srv/site", 7)]


def test_a_recovery_holds_the_lock_until_it_is_done(dead: Dead, pipe: Pipe, tmp_path: Path) -> None:
    script = Path(next(step for step in dead.site.plan.steps if step.name == "restart").argv[0])
    program(script, f"echo $$ > '{pipe.path}'; exec sleep 1000")
    dead.changed()
    dead.step("restart", None)
    lock = Lock.try_acquire(dead.site.state.lock)
    assert lock is not None
    argv = ("--recover", str(dead.site.checkout.path), str(lock.descriptor))
    with lock, open(tmp_path / "log", "wb") as log:
        subprocess.run(
            (sys.executable, "-m", "admin_management.runner", *argv),
            cwd=Path(__file__).parents[2],
            env=dead.site.environ,
            input=b"[]",
            stdout=log,
            stderr=log,
            pass_fds=(lock.descriptor,),
            start_new_session=True,
            timeout=PATIENCE,
            check=True,
        )
    restart = int(pipe.line())
    assert Lock.try_acquire(dead.site.state.lock) is None
    os.kill(restart, signal.SIGKILL)
    with open(dead.site.state.lock, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
    assert dead.progress().status == "rollback_failed"
