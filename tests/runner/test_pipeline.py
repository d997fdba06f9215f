"""The story of an update, with real git and real uv."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from admin_management.conf import AdminManagementSettings
from admin_management.runner.git import GitError, Repository
from admin_management.runner.journal import Journal, Progress, replay
from admin_management.runner.pipeline import perform
from admin_management.runner.plan import Step
from admin_management.runner.redact import Redactor
from admin_management.runner.state import StateDirectory
from admin_management.steps import Tools, ordered_steps
from tests.runner.conftest import GIT, LOCK, MANAGE, PROJECT, Site, program

EXECUTED = [
    *("preconditions", "fetch", "pull", "dependencies", "static_files", "migrations", "restart")
]
# This site has no health address.
ALL_STEPS = [*EXECUTED, "proof", "soak"]
UNDOING = [
    *("undo_migrations", "undo_pull", "undo_dependencies", "undo_static_files", "undo_restart")
]


BROKEN = f"""\
import pathlib
if (pathlib.Path(__file__).parent / ".git" / "broken").exists():
    raise SystemExit(1)
{MANAGE}"""


PRINTS_ITS_UMASK = """\
import os
mask = os.umask(0)
os.umask(mask)
print(oct(mask))
"""


def steps(progress: Progress) -> list[tuple[str, str]]:
    return [(step.name, step.status.value) for step in progress.steps]


def names(progress: Progress) -> list[str]:
    return [step.name for step in progress.steps]


def executed(site: Site) -> list[str]:
    return [words[0] for words in site.did()]


def snapshot(folder: Path) -> list[tuple[str, int, int]]:
    """Everything below a folder, so that any change of it is noticed."""
    found = [(each, each.lstat()) for each in sorted(folder.rglob("*"))]
    found = [(each, stat) for each, stat in found if "__pycache__" not in each.parts]
    return [(str(each), stat.st_ino, stat.st_mtime_ns) for each, stat in found if each.is_file()]


def new_dependencies(version: str) -> dict[str, str]:
    return {"pyproject.toml": PROJECT.format(version), "uv.lock": LOCK.format(version)}


def restart_script(site: Site) -> Path:
    (step,) = (step for step in site.plan.steps if step.name == "restart")
    return Path(step.argv[0])


def undone(progress: Progress) -> list[tuple[str, str]]:
    """The steps of the rollback."""
    return [(name, status) for name, status in steps(progress) if name in UNDOING]


def with_step(site: Site, extra: Step, *, before: str) -> tuple[Step, ...]:
    found = list(site.plan.steps)
    found.insert([step.name for step in found].index(before), extra)
    return tuple(found)


class TestAnUpdate:
    def test_brings_the_site_to_the_remotes_tip_step_by_step(self, live_site: Site) -> None:
        before = live_site.checkout.revision()
        revision = live_site.checkout.commit(
            {"version.txt": "2\n"} | new_dependencies("2"), "A new logo"
        )
        progress = live_site.update()
        assert steps(progress) == [
            *((name, "succeeded") for name in EXECUTED),
            *(("proof", "skipped"), ("soak", "skipped")),
        ]
        assert (progress.status, progress.failed_step, progress.hint) == ("succeeded", "", "")
        assert progress.message == f"Updated: {revision[:7]} A new logo"
        assert (progress.from_revision, progress.to_revision) == (before, revision)
        assert live_site.checkout.revision() == revision
        assert live_site.state.live_revision() == revision

    def test_executes_the_new_code_in_the_new_environment(self, live_site: Site) -> None:
        live_site.checkout.commit({"version.txt": "2\n"} | new_dependencies("2"))
        live_site.update()
        environment = str(live_site.link.resolve())
        link = str(live_site.link)
        assert live_site.did() == [
            ["check", "2", environment],
            ["collectstatic", "2", link],
            ["migrate", "2", link],
            ["restart", "site"],
        ]

    def test_with_nothing_new_ends_after_the_fetch(self, live_site: Site) -> None:
        revision = live_site.checkout.revision()
        progress = live_site.update()
        assert steps(progress) == [("preconditions", "succeeded"), ("fetch", "succeeded")]
        assert progress.status == "succeeded"
        assert progress.message == f"Already up to date: {revision[:7]} A site"
        assert (progress.from_revision, progress.to_revision) == (revision, revision)
        assert live_site.did() == []

    def test_that_is_forced_executes_every_step_with_nothing_new(self, live_site: Site) -> None:
        before = live_site.link.resolve()
        progress = live_site.update(force=True, run="11111111-0000")
        assert steps(progress) == [
            *((name, "succeeded") for name in EXECUTED),
            *(("proof", "skipped"), ("soak", "skipped")),
        ]
        assert executed(live_site) == ["check", "collectstatic", "migrate", "restart"]
        assert live_site.link.resolve() != before

    def test_is_not_up_to_date_while_the_tree_is_ahead_of_what_is_live(
        self, live_site: Site
    ) -> None:
        before = live_site.checkout.revision()
        revision = live_site.checkout.commit({"version.txt": "2\n"})
        live_site.checkout.git("pull", "--quiet")
        progress = live_site.update()
        assert names(progress) == ALL_STEPS
        assert (progress.from_revision, progress.to_revision) == (before, revision)
        assert executed(live_site) == ["collectstatic", "migrate", "restart"]
        assert live_site.state.live_revision() == revision

    def test_takes_the_tree_for_live_when_it_is_the_first(self, site: Site) -> None:
        progress = site.update()
        assert progress.message.startswith("Already up to date")
        assert site.state.live_revision() == site.checkout.revision()

    def test_takes_exactly_the_fetched_commit_though_origin_has_moved_on(
        self, live_site: Site
    ) -> None:
        checkout = live_site.checkout
        fetched = checkout.commit({"version.txt": "2\n"})
        (checkout.author / "version.txt").write_text("3\n")
        checkout.git("commit", "--quiet", "--all", "--message", "Later", cwd=checkout.author)
        push = (GIT, "-C", str(checkout.author), "push", "--quiet", "origin", "master")
        meanwhile = Step(name="meanwhile", argv=push, timeout=60, site_environment=True)
        progress = live_site.update(steps=with_step(live_site, meanwhile, before="pull"))
        assert progress.status == "succeeded"
        assert checkout.git("rev-parse", "master", cwd=checkout.origin) != fetched
        assert checkout.revision() == progress.to_revision == fetched
        assert live_site.state.live_revision() == fetched

    def test_works_over_ssh(self, live_site: Site, tmp_path: Path) -> None:
        checkout = live_site.checkout
        ssh = program(tmp_path / "ssh-on-this-machine", 'shift; exec sh -c "$1"')
        checkout.git("config", "core.sshCommand", ssh)
        checkout.git("config", "ssh.variant", "simple")
        checkout.git("remote", "set-url", "origin", f"example.com:{checkout.origin}")
        revision = checkout.commit({"version.txt": "2\n"})
        assert live_site.update().status == "succeeded"
        assert checkout.revision() == revision

    def test_runs_no_hook(self, live_site: Site, tmp_path: Path) -> None:
        for hook in ("post-merge", "reference-transaction", "post-checkout"):
            path = live_site.checkout.path / ".git" / "hooks" / hook
            program(path, f"touch '{tmp_path}/hook-was-run'")
        live_site.checkout.commit({"version.txt": "2\n"})
        assert live_site.update().status == "succeeded"
        assert not (tmp_path / "hook-was-run").exists()

    def test_keeps_untracked_files(self, live_site: Site) -> None:
        (live_site.checkout.path / ".env").write_text("SECRET=1")
        live_site.checkout.commit({"version.txt": "2\n"})
        assert live_site.update().status == "succeeded"
        assert (live_site.checkout.path / ".env").read_text() == "SECRET=1"

    def test_does_not_grow_without_end(self, live_site: Site) -> None:
        for version in range(2, 6):
            live_site.checkout.commit(new_dependencies(str(version)))
            assert live_site.update(run=f"{version}0000000").status == "succeeded"
        assert len(list(live_site.state.environments.iterdir())) == 3

    def test_hides_secrets_wherever_they_come_from(self, live_site: Site) -> None:
        secret = "hunter2-hunter2"
        live_site.checkout.commit({"version.txt": f"{secret}\n"}, f"Do not tell {secret}")
        show = Step(name=secret, argv=("cat", "version.txt", secret), timeout=60)
        progress = live_site.update(
            Redactor([secret]), steps=(*live_site.plan.steps[:3], replace(show, name="show"))
        )
        assert progress.failed_step == "show"
        (step,) = (step for step in progress.steps if step.name == "show")
        assert step.output.startswith("[REDACTED]\n")
        progress = live_site.update(Redactor([secret]), force=True)
        assert progress.message.endswith("Do not tell [REDACTED]")
        assert secret not in live_site.state.journal(live_site.plan.run).read_text()


class TestDependencies:
    def test_that_have_not_changed_are_left_alone(self, live_site: Site) -> None:
        before = live_site.link.resolve()
        untouched = snapshot(before)
        live_site.checkout.commit({"version.txt": "2\n"})
        progress = live_site.update(run="11111111-0000")
        (step,) = (step for step in progress.steps if step.name == "dependencies")
        assert (step.status, step.message) == (
            "skipped",
            "the locked dependencies have not changed",
        )
        assert live_site.link.resolve() == before
        assert snapshot(before) == untouched

    def test_that_changed_are_built_beside_and_the_old_ones_never_edited(
        self, live_site: Site
    ) -> None:
        before = live_site.link.resolve()
        untouched = snapshot(before)
        live_site.checkout.commit(new_dependencies("2"))
        assert live_site.update(run="11111111-0000").status == "succeeded"
        assert live_site.link.resolve() != before
        assert snapshot(before) == untouched

    def test_take_over_a_plain_environment_at_the_first_update(
        self, live_site: Site, uv: str
    ) -> None:
        live_site.link.unlink()
        environ = live_site.environ | {"UV_PYTHON": live_site.plan.base_python}
        subprocess.run(
            (uv, "sync", "--locked", "--quiet"),
            cwd=live_site.checkout.path,
            env=environ,
            check=True,
        )
        assert not live_site.link.is_symlink()
        inode = live_site.link.stat().st_ino
        live_site.checkout.commit({"version.txt": "2\n"})
        assert live_site.update(run="11111111-0000").status == "succeeded"
        assert live_site.link.is_symlink()
        kept = [path.stat().st_ino for path in live_site.state.environments.iterdir()]
        assert inode in kept
        assert live_site.checkout.git("status", "--porcelain") == ""

    def test_with_a_stale_lock_fail_and_the_live_environment_stays(self, live_site: Site) -> None:
        before = live_site.link.resolve()
        untouched = snapshot(before)
        live_site.checkout.commit({"pyproject.toml": PROJECT.format("2")})
        progress = live_site.update(run="11111111-0000")
        assert (progress.status, progress.failed_step) == ("rolled_back", "dependencies")
        (step,) = (step for step in progress.steps if step.name == "dependencies")
        assert "uv.lock" in step.output
        assert "uv lock" in progress.hint
        assert live_site.link.resolve() == before
        assert snapshot(before) == untouched
        assert executed(live_site) == []

    def test_that_the_site_does_not_work_with_never_go_live(self, live_site: Site) -> None:
        before = live_site.link.resolve()
        live_site.checkout.commit({"fail_check": ""} | new_dependencies("2"))
        progress = live_site.update(run="11111111-0000")
        assert (progress.status, progress.failed_step) == ("rolled_back", "dependencies")
        (step,) = (step for step in progress.steps if step.name == "dependencies")
        assert "check does not work" in step.output
        assert live_site.link.resolve() == before
        assert list(live_site.state.environments.iterdir()) == [before]

    def test_are_not_put_in_the_place_of_what_is_no_environment(
        self, live_site: Site, capsys: pytest.CaptureFixture[str]
    ) -> None:
        live_site.link.unlink()
        live_site.link.mkdir()
        live_site.checkout.commit({"version.txt": "2\n"})
        progress = live_site.update(run="11111111-0000")
        assert (progress.status, progress.failed_step) == ("rolled_back", "dependencies")
        assert "not a virtual environment" in progress.message
        assert "runner.log" in progress.hint
        assert ("dependencies", "failed") in steps(progress)
        assert live_site.link.is_dir()
        assert not live_site.link.is_symlink()
        assert "Traceback" in capsys.readouterr().err


class TestAFailure:
    @pytest.mark.parametrize(
        ("step", "command"), [("static_files", "collectstatic"), ("migrations", "migrate")]
    )
    def test_stops_the_run_names_the_step_and_is_undone(
        self, live_site: Site, step: str, command: str
    ) -> None:
        before = live_site.state.live_revision()
        assert before is not None
        live_site.checkout.commit({f"fail_{command}": ""})
        progress = live_site.update()
        assert (progress.status, progress.failed_step) == ("rolled_back", step)
        assert progress.message.startswith(
            f"{step} failed: exit code 1 The site is back at {before[:7]}."
        )
        assert progress.hint.startswith("Mend")
        forward = ALL_STEPS[: ALL_STEPS.index(step) + 1]
        assert names(progress) == forward + UNDOING
        failed = progress.steps[len(forward) - 1]
        assert failed.output == f"{command} says hello\n{command} does not work\n"
        assert undone(progress) == [
            *(("undo_migrations", "skipped"), ("undo_pull", "succeeded")),
            *(("undo_dependencies", "skipped"), ("undo_static_files", "succeeded")),
            ("undo_restart", "skipped"),
        ]
        assert "restart" not in executed(live_site)
        assert live_site.checkout.revision() == live_site.state.live_revision() == before

    def test_says_that_migrations_are_kept_where_no_rehearsal_knows_them(
        self, live_site: Site
    ) -> None:
        kept = (
            "But migrations that it had applied are kept: without a rehearsal they are not known."
        )
        live_site.checkout.commit({"fail_migrate": ""})
        assert live_site.update().message.endswith(kept)
        (live_site.checkout.author / "fail_migrate").unlink()
        live_site.checkout.commit({"fail_collectstatic": ""})
        assert kept not in live_site.update().message

    def test_is_mended_by_the_next_push(self, live_site: Site) -> None:
        live_site.checkout.commit({"fail_migrate": ""})
        assert live_site.update().status == "rolled_back"
        (live_site.checkout.author / "fail_migrate").unlink()
        revision = live_site.checkout.commit({"version.txt": "3\n"})
        progress = live_site.update()
        assert names(progress) == ALL_STEPS
        assert progress.status == "succeeded"
        assert live_site.state.live_revision() == revision

    def test_is_tried_again_without_a_push_only_if_that_is_forced(self, live_site: Site) -> None:
        revision = live_site.checkout.commit({"fail_migrate": ""})
        live_site.update(run="11111111-0000")
        progress = live_site.update(run="22222222-0000")
        assert (progress.status, progress.failed_step) == ("failed", "fetch")
        assert progress.message == (
            f"fetch failed: {revision[:7]} was rolled back before, by the update 11111111."
        )
        assert names(progress) == ["preconditions", "fetch"]
        progress = live_site.update(run="33333333-0000", force=True)
        assert (progress.status, progress.failed_step) == ("rolled_back", "migrations")

    def test_of_the_restart_is_undone_by_another_one(self, live_site: Site) -> None:
        before = live_site.state.live_revision()
        script = restart_script(live_site)
        works = script.read_text()
        program(script, f"{works}[ $(wc -l < version.txt) = 1 ] || exit 6")
        live_site.checkout.commit({"version.txt": "2\n2\n"})
        progress = live_site.update()
        assert (progress.status, progress.failed_step) == ("rolled_back", "restart")
        assert "did not stay up" in progress.hint
        assert undone(progress)[-1] == ("undo_restart", "succeeded")
        assert executed(live_site)[-1] == "restart"
        assert live_site.checkout.revision() == live_site.state.live_revision() == before

    def test_that_cannot_be_undone_says_what_to_do(self, live_site: Site) -> None:
        before = live_site.state.live_revision()
        assert before is not None
        program(restart_script(live_site), "exit 6")
        live_site.checkout.commit({"version.txt": "2\n"})
        progress = live_site.update()
        assert (progress.status, progress.failed_step) == ("rollback_failed", "restart")
        assert f"Going back to {before[:7]} did not succeed: undo_restart: exit code 6." in (
            progress.message
        )
        assert "mend the cause, then ask for a forced update" in progress.hint
        assert live_site.checkout.revision() == live_site.state.live_revision() == before

    def test_of_one_part_of_going_back_does_not_keep_the_next_from_being_tried(
        self, live_site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def dubious(self: Repository) -> Path:
            raise GitError("dubious ownership")

        monkeypatch.setattr(Repository, "git_directory", dubious)
        live_site.checkout.commit({"fail_collectstatic": ""})
        progress = live_site.update()
        assert progress.status == "rollback_failed"
        assert "undo_pull: dubious ownership" in progress.message
        assert [name for name, _ in undone(progress)] == UNDOING
        assert "dubious ownership" in capsys.readouterr().err

    def test_of_the_quarantine_does_not_keep_it_from_going_back(
        self, live_site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def full(*arguments: object) -> None:
            raise OSError("disk is full")

        monkeypatch.setattr(StateDirectory, "quarantine", full)
        live_site.checkout.commit({"fail_migrate": ""})
        assert live_site.update().status == "rolled_back"
        assert "disk is full" in capsys.readouterr().err

    def test_to_record_what_is_live_is_a_problem_of_going_back(
        self, live_site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*arguments: object) -> None:
            raise OSError("disk is full")

        live_site.checkout.commit({"manage.py": BROKEN})
        live_site.update()
        live_site.state.set_live_revision(live_site.checkout.revision(), "a digest")
        monkeypatch.setattr(StateDirectory, "set_live_revision", full)
        live_site.checkout.commit({"fail_collectstatic": ""})
        # Nothing that is recorded has changed.
        assert live_site.update().status == "rolled_back"
        (live_site.checkout.path / ".git" / "broken").touch()
        live_site.checkout.commit({"version.txt": "2\n"})
        progress = live_site.update()
        assert progress.status == "rollback_failed"
        assert "undo_static_files: exit code 1; live.json: disk is full" in progress.message

    def test_of_the_fetch_changes_nothing(self, live_site: Site) -> None:
        before = live_site.checkout.revision()
        live_site.checkout.commit({"version.txt": "2\n"})
        live_site.checkout.git("remote", "set-url", "origin", "/nowhere.git")
        progress = live_site.update()
        assert (progress.status, progress.failed_step) == ("failed", "fetch")
        assert "/nowhere.git" in progress.steps[-1].output
        assert live_site.checkout.revision() == before

    def test_of_a_precondition_executes_no_step(self, live_site: Site) -> None:
        live_site.checkout.commit({"version.txt": "2\n"})
        (live_site.checkout.path / "version.txt").write_text("edited\n")
        progress = live_site.update()
        assert (progress.status, progress.failed_step) == ("failed", "preconditions")
        assert progress.message == (
            "preconditions failed: The checkout has local changes: version.txt."
        )
        assert names(progress) == ["preconditions"]
        assert progress.steps[0].hint == progress.hint != ""

    def test_of_ours_is_told_too(
        self, site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(self: StateDirectory, revision: str) -> None:
            raise OSError("disk is full")

        monkeypatch.setattr(StateDirectory, "set_live_revision", full)
        progress = site.update()
        assert (progress.status, progress.failed_step) == ("failed", "fetch")
        assert progress.message == "fetch failed: disk is full"
        assert f"{site.state.path}/runner.log" in progress.hint
        assert "disk is full" in capsys.readouterr().err


class TestHistory:
    def test_that_was_rewritten_stops_at_the_fetch(self, live_site: Site) -> None:
        checkout = live_site.checkout
        checkout.commit({"version.txt": "2\n"})
        live_site.update()
        before = checkout.revision()
        checkout.git("reset", "--quiet", "--hard", "HEAD^", cwd=checkout.author)
        checkout.commit({"version.txt": "another 2\n"})
        progress = live_site.update()
        assert (progress.status, progress.failed_step) == ("failed", "fetch")
        assert progress.message == (
            "fetch failed: origin/master was rewritten: "
            "one commit of the checkout are not in it any more."
        )
        assert "accepts rewritten history" in progress.hint
        assert names(progress) == ["preconditions", "fetch"]
        assert checkout.revision() == before
        assert checkout.git("status", "--porcelain") == ""

    def test_of_commits_made_on_the_server_is_not_taken_for_the_remotes(
        self, live_site: Site
    ) -> None:
        checkout = live_site.checkout
        before = live_site.state.live_revision()
        (checkout.path / "version.txt").write_text("made here\n")
        checkout.git("commit", "--quiet", "--all", "--message", "Made on the server")
        made = checkout.revision()
        progress = live_site.update()
        assert (progress.status, progress.failed_step) == ("failed", "fetch")
        assert progress.message == (
            "fetch failed: The checkout has one commit that origin/master has not."
        )
        assert f"In {checkout.path}: push them; or accept that they are dropped" in progress.hint
        assert checkout.revision() == made
        assert live_site.state.live_revision() == before
        assert executed(live_site) == []

    def test_that_was_reset_to_an_older_commit_does_not_claim_to_serve_it(
        self, live_site: Site
    ) -> None:
        checkout = live_site.checkout
        checkout.commit({"version.txt": "2\n"})
        live_site.update()
        live = live_site.state.live_revision()
        checkout.git("reset", "--quiet", "--hard", "HEAD^", cwd=checkout.author)
        checkout.git("push", "--quiet", "--force", "origin", "master", cwd=checkout.author)
        assert live_site.update().failed_step == "fetch"
        assert live_site.state.live_revision() == live


class TestStrangeSettings:
    def site_with(self, site: Site, **settings: Any) -> Progress:
        conf = AdminManagementSettings(
            checkout=site.checkout.path, pm2_process="site", uv=site.plan.uv, **settings
        )
        tools = Tools(
            git=GIT,
            uv=site.plan.uv,
            pm2=site.plan.pm2,
            restart_script=str(restart_script(site)),
        )
        return site.update(
            remote=conf.remote, branch=conf.branch, steps=ordered_steps(conf, tools), force=True
        )

    def test_a_remote_named_like_an_option_runs_nothing(self, site: Site, tmp_path: Path) -> None:
        evil = program(tmp_path / "evil", f"touch '{tmp_path}/evil-was-run'")
        remote = f"--upload-pack={evil}"
        site.checkout.git("config", f"remote.{remote}.url", "/srv/site.git")
        progress = self.site_with(site, remote=remote)
        assert (progress.status, progress.failed_step) == ("failed", "fetch")
        assert not (tmp_path / "evil-was-run").exists()
        command = (GIT, "fetch", str(site.checkout.origin), f"--upload-pack={evil}")
        subprocess.run(command, cwd=site.checkout.path, check=False, capture_output=True)
        assert (tmp_path / "evil-was-run").exists(), "the program of this test works"

    def test_a_branch_named_like_a_command_runs_nothing(self, live_site: Site) -> None:
        branch = "weird$(touch${IFS}was-run)"
        checkout = live_site.checkout
        checkout.git(
            "push", "--quiet", "origin", f"master:refs/heads/{branch}", cwd=checkout.author
        )
        checkout.git("switch", "--quiet", "--create", branch)
        assert self.site_with(live_site, branch=branch).status == "succeeded"
        assert not (checkout.path / "was-run").exists()


class TestVariables:
    def environ_of(self, site: Site, step: Step, folder: Path) -> dict[str, str]:
        """The variables that a step's program sees."""
        seen = folder / "seen"
        argv = program(folder / "look", f"env -0 > '{seen}'")
        site.update(steps=(replace(step, argv=(argv,)),), prove_environment=("true",))
        words = seen.read_text().split("\0")
        return dict(word.split("=", 1) for word in words if word)

    def test_of_the_site_reach_its_own_steps_only(self, site: Site, tmp_path: Path) -> None:
        own = Step(name="warm_cache", argv=(), timeout=60, site_environment=True)
        assert self.environ_of(site, own, tmp_path)["SITE_VARIABLE"] == "of the site"
        tool = replace(own, name="restart", site_environment=False)
        seen = self.environ_of(site, tool, tmp_path)
        assert "SITE_VARIABLE" not in seen
        assert seen["PM2"] == site.plan.pm2
        assert seen["PM2_HOME"] == site.environ["PM2_HOME"]

    def test_keep_git_from_asking(self, site: Site, tmp_path: Path) -> None:
        step = Step(name="fetch-like", argv=(), timeout=60)
        assert self.environ_of(site, step, tmp_path)["GIT_TERMINAL_PROMPT"] == "0"

    def test_name_the_environment_and_the_interpreter_to_uv(
        self, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(
            "admin_management.runner.environment.Environments.switch_to", lambda *args: None
        )
        step = Step(name="dependencies", argv=(), timeout=60)
        seen = self.environ_of(site, step, tmp_path)
        assert Path(seen["UV_PROJECT_ENVIRONMENT"]).parent == site.state.environments
        assert seen["UV_PYTHON"] == site.plan.base_python
        assert seen["UV_PYTHON_DOWNLOADS"] == "never"
        site.checkout.commit({".python-version": "3.11\n"})
        site.checkout.git("pull", "--quiet")
        assert "UV_PYTHON" not in self.environ_of(site, step, tmp_path)


class TestStepsOfTheSitesOwn:
    def test_are_executed_in_their_place(self, live_site: Site) -> None:
        warm = Step(name="warm_cache", argv=("{python}", "manage.py", "warm_cache"), timeout=60)
        live_site.checkout.commit({"version.txt": "2\n"})
        progress = live_site.update(steps=with_step(live_site, warm, before="restart"))
        assert names(progress)[-4:] == ["warm_cache", "restart", "proof", "soak"]
        assert executed(live_site) == ["collectstatic", "migrate", "warm_cache", "restart"]

    def test_know_the_revision(self, live_site: Site) -> None:
        revision = live_site.checkout.commit({"version.txt": "2\n"})
        tell = Step(name="tell", argv=("echo", "{revision}"), timeout=60)
        progress = live_site.update(steps=with_step(live_site, tell, before="pull"))
        assert progress.steps[2].output == f"{revision}\n"
        assert progress.steps[2].argv == ["echo", revision]

    def test_stop_the_run_when_they_fail(self, live_site: Site) -> None:
        live_site.checkout.commit({"version.txt": "2\n"})
        fail = Step(name="smoke", argv=("false",), timeout=60)
        progress = live_site.update(steps=with_step(live_site, fail, before="restart"))
        assert (progress.status, progress.failed_step) == ("rolled_back", "smoke")
        assert "restart" not in executed(live_site)


def test_a_run_that_is_told_to_stop_ends_as_interrupted(site: Site) -> None:
    site.state.run("r").mkdir()
    journal = Journal(site.state.journal("r"))
    stop = os.eventfd(1)
    perform(site.plan, journal, site.environ, Redactor([]), stop)
    os.close(stop)
    journal.close()
    progress = replay(site.state.journal("r"))
    assert (progress.status, progress.failed_step) == ("interrupted", "fetch")
    assert progress.message == "The runner was told to stop."
    assert progress.steps[-1].status == "interrupted"
    assert "another update" in progress.hint


def test_what_the_site_has_of_an_update_may_be_read_by_a_web_server_of_another_user(
    live_site: Site,
) -> None:
    """The umask is the site's where git writes its files and where its own code is at work."""
    checkout = live_site.checkout
    checkout.commit({"new/style.css": "", "manage.py": f"{PRINTS_ITS_UMASK}{MANAGE}"}, "Styles")
    program(restart_script(live_site), "umask")
    before = os.umask(0o022)
    try:
        progress = live_site.update()
    finally:
        os.umask(before)
    said = {step.name: step.output.splitlines() for step in progress.steps}
    assert said["static_files"][0] == said["migrations"][0] == "0o22"
    assert said["restart"] == ["0077"]
    new = checkout.path / "new"
    assert oct(new.stat().st_mode & 0o777) == "0o755"
    assert oct((new / "style.css").stat().st_mode & 0o777) == "0o644"


def test_a_run_says_when_it_started_and_by_which_process(site: Site) -> None:
    site.update()
    first = site.state.journal(site.plan.run).read_text().splitlines()[0]
    assert f'"event": "started", "run": "{site.plan.run}", "pid": {os.getpid()}' in first
