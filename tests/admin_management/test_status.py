"""Reading the site's status: real git, a stand-in for PM2."""

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User

from admin_management import status
from admin_management.machine import node
from admin_management.models import Run
from admin_management.runner.git import Repository
from admin_management.runner.state import StateDirectory
from admin_management.status import read_status
from tests.conftest import Checkout

from .conftest import LiveRun

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _no_pm2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PM2_HOME", str(tmp_path / "pm2"))


def executable(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


class TestGit:
    def test_what_is_live(self, checkout: Checkout) -> None:
        checkout.commit({"version.txt": "2\n"})
        checkout.git("pull", "--quiet")
        told = read_status()
        assert (told["checkout"], told["branch"]) == (str(checkout.path), "master")
        live = told["live"]
        assert live["revision"] == checkout.revision()
        assert (live["subject"], live["author"]) == ("Change the site", "Tester")
        assert 0 <= live["age"] < 60

    def test_what_was_put_live_counts_more_than_what_is_on_disk(self, checkout: Checkout) -> None:
        before = checkout.revision()
        state = StateDirectory.of(checkout.path)
        state.create()
        state.set_live_revision(before)
        after = checkout.commit({"version.txt": "2\n"}, "The second version")
        checkout.git("pull", "--quiet")
        told = read_status()
        assert told["live"]["revision"] == before
        assert [commit["revision"] for commit in told["pending"]] == [after]
        assert (told["remote"]["ahead"], told["remote"]["behind"]) == (0, 1)

    def test_what_is_pending_is_what_the_last_fetch_saw(self, checkout: Checkout) -> None:
        checkout.commit({"version.txt": "2\n"})
        told = read_status()
        assert (told["fetched"], told["pending"]) == (False, [])

    def test_the_remote_is_asked_on_request(self, checkout: Checkout) -> None:
        new = checkout.commit({"version.txt": "2\n"}, "A subject\u2028with a line separator")
        told = read_status(fetch=True)
        assert told["fetched"] is True
        assert told["pending"][0]["revision"] == new
        assert told["pending"][0]["subject"] == "A subject\u2028with a line separator"
        assert told["remote"] == {"name": "origin", "branch": "master", "ahead": 0, "behind": 1}

    def test_a_remote_that_refuses_is_one_problem_only(self, checkout: Checkout) -> None:
        checkout.git("remote", "set-url", "origin", str(checkout.origin / "gone"))
        told = read_status(fetch=True)
        assert told["fetched"]["error"].startswith("git fetch: ")
        assert told["pending"] == []

    def test_a_remote_whose_address_holds_a_password_is_not_asked(self, checkout: Checkout) -> None:
        checkout.git("remote", "set-url", "origin", "https://user:secret-word@127.0.0.1:1/x.git")
        problem = read_status(fetch=True)["fetched"]["error"]
        assert problem == "The address of origin holds a password or token, in the clear."

    def test_a_remote_that_never_answers_is_given_up(
        self, checkout: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ssh = executable(tmp_path / "ssh", "sleep 60")
        checkout.git("remote", "set-url", "origin", "ssh://site.example/site.git")
        monkeypatch.setenv("GIT_SSH_COMMAND", str(ssh))
        monkeypatch.setattr(status, "FETCH_TIMEOUT", 0.3)
        assert "time-out of 0.3 s" in read_status(fetch=True)["fetched"]["error"]

    def test_the_remote_is_not_asked_while_a_run_goes_on(self, live_run: LiveRun) -> None:
        assert "An update is running" in read_status(fetch=True)["fetched"]["error"]

    def test_local_changes_and_commits_are_told(self, checkout: Checkout) -> None:
        (checkout.path / "version.txt").write_text("by hand\n")
        assert read_status()["dirty_files"] == ["version.txt"]
        checkout.git("commit", "--quiet", "--all", "--message", "By hand")
        told = read_status()
        assert (told["dirty_files"], told["remote"]["ahead"]) == ([], 1)

    def test_long_lists_are_cut(self, checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(status, "LISTED", 2)
        for number in range(3):
            checkout.commit({"version.txt": f"{number}\n"}, f"Commit {number}")
        told = read_status(fetch=True)
        assert [each["subject"] for each in told["pending"]] == ["Commit 2", "Commit 1"]
        assert told["remote"]["behind"] == 3

    def test_a_detached_head_is_said(self, checkout: Checkout) -> None:
        checkout.git("checkout", "--quiet", "--detach")
        assert "detached HEAD" in read_status()["branch"]["error"]

    def test_a_remote_that_was_never_fetched_is_said(
        self, checkout: Checkout, settings: Any
    ) -> None:
        settings.ADMIN_MANAGEMENT = {"CHECKOUT": checkout.path, "BRANCH": "other"}
        told = read_status()
        for part in ("remote", "pending"):
            assert told[part] == {"error": "Nothing was fetched yet from origin/other."}
        assert told["branch"] == "master"

    def test_a_folder_without_git_leaves_the_other_parts(
        self, tmp_path: Path, settings: Any
    ) -> None:
        settings.ADMIN_MANAGEMENT = {"CHECKOUT": tmp_path}
        told = read_status()
        assert "not inside a git work tree" in told["live"]["error"]
        assert "not a git repository" in told["branch"]["error"]
        assert told["current_run"] is None

    def test_wrong_settings_leave_the_other_parts(self, settings: Any) -> None:
        settings.ADMIN_MANAGEMENT = {"CHEKOUT": "/srv/site"}
        told = read_status()
        assert "unknown key 'CHEKOUT'" in told["checkout"]["error"]
        assert told["versions"]["django"]

    def test_secrets_are_hidden(self, checkout: Checkout, settings: Any) -> None:
        settings.API_TOKEN = "canary-in-a-setting"
        checkout.commit({"a": "b"}, "Use canary-in-a-setting")
        checkout.git("remote", "set-url", "origin", "https://alice:canary@127.0.0.1:1/site.git")
        told = json.dumps(read_status(fetch=True), default=str)
        checkout.git("remote", "set-url", "origin", str(checkout.origin))
        told += json.dumps(read_status(fetch=True), default=str)
        assert "canary" not in told
        assert "Use [REDACTED]" in told

    def test_the_unexpected_is_logged_and_not_shown(
        self, checkout: Checkout, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail(self: object) -> None:
            raise ZeroDivisionError("details")

        monkeypatch.setattr(Repository, "changed_files", fail)
        told = read_status()
        assert told["dirty_files"] == {
            "error": "It could not be read; the log of the site says why."
        }
        assert told["branch"] == "master"
        assert "ZeroDivisionError" in caplog.text


class TestPm2:
    @pytest.fixture
    def pm2_lists(
        self, checkout: Checkout, tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> Callable[..., None]:
        """A stand-in for PM2 whose daemon runs and that lists these processes."""

        def arrange(*processes: dict[str, Any]) -> None:
            home = tmp_path / "pm2"
            home.mkdir()
            (home / "pm2.pid").write_text(str(os.getpid()))
            listing = tmp_path / "listing"
            listing.write_text(f"[PM2] a notice\n{json.dumps(processes)}\n")
            package = tmp_path / "package"
            pm2 = executable(package / "bin" / "pm2", f"cat {listing}")
            (package / "package.json").write_text('{"version": "7.0.4"}')
            settings.ADMIN_MANAGEMENT = {
                "CHECKOUT": checkout.path,
                "PM2": str(pm2),
                "PM2_PROCESS": "site",
            }

        return arrange

    @staticmethod
    def process(name: str = "site", **env: Any) -> dict[str, Any]:
        env = {"status": "online", "restart_time": 2, "pm_uptime": 1_000, "KEY": "canary"} | env
        return {"name": name, "pid": 42, "pm2_env": env, "monit": {"memory": 1024}}

    def test_its_process_is_told_without_its_environment(
        self, pm2_lists: Callable[..., None], caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        pm2_lists(self.process("other"), self.process())
        told = read_status()
        uptime = told["pm2"].pop("uptime")
        assert told["pm2"] == {
            "name": "site",
            "status": "online",
            "pid": 42,
            "instances": 1,
            "restarts": 2,
            "memory": 1024,
        }
        assert uptime > 1_000_000
        assert "canary" not in json.dumps(told, default=str) + caplog.text

    def test_a_cluster_is_summed_up(self, pm2_lists: Callable[..., None]) -> None:
        pm2_lists(self.process(), self.process())
        pm2 = read_status()["pm2"]
        assert (pm2["instances"], pm2["restarts"], pm2["memory"]) == (2, 4, 2048)

    def test_a_stopped_process_has_no_uptime(self, pm2_lists: Callable[..., None]) -> None:
        pm2_lists(self.process(status="stopped") | {"pid": 0})
        pm2 = read_status()["pm2"]
        assert (pm2["status"], pm2["pid"], pm2["uptime"]) == ("stopped", None, None)

    def test_an_unknown_process_is_said(self, pm2_lists: Callable[..., None]) -> None:
        pm2_lists(self.process("other"))
        assert read_status()["pm2"] == {"error": "PM2 knows no process 'site'; it knows other."}

    def test_no_daemon_is_said_and_none_is_started(
        self, pm2_lists: Callable[..., None], tmp_path: Path
    ) -> None:
        pm2_lists(self.process())
        (tmp_path / "pm2" / "pm2.pid").unlink()
        assert "No PM2 daemon runs" in read_status()["pm2"]["error"]

    def test_its_version_is_read_without_starting_it(
        self, pm2_lists: Callable[..., None], tmp_path: Path
    ) -> None:
        pm2_lists()
        (tmp_path / "pm2" / "pm2.pid").unlink()
        started = tmp_path / "started"
        executable(tmp_path / "package" / "bin" / "pm2", f"touch '{started}'; exit 1")
        assert read_status()["versions"]["pm2"] == "7.0.4"
        assert not started.exists()
        (tmp_path / "package" / "package.json").write_text("{}")
        assert "does not say its version" in read_status()["versions"]["pm2"]["error"]


class TestRuns:
    def test_there_may_be_none(self, checkout: Checkout) -> None:
        told = read_status()
        assert [told[part] for part in ("current_run", "waiting_run", "last_run")] == [None] * 3

    def test_the_current_the_waiting_and_the_last_are_told(
        self, live_run: LiveRun, alice: User
    ) -> None:
        waiting = Run.objects.create(node=node(), trigger="api")
        last = Run.objects.create(node=node(), trigger="api", status="failed")
        Run.objects.create(node="elsewhere", trigger="api", status="running")
        told = read_status()
        assert told["current_run"]["id"] == str(live_run.run.pk)
        assert told["waiting_run"]["id"] == str(waiting.pk)
        assert told["last_run"]["id"] == str(last.pk)


class TestVersions:
    def test_tools_tell_theirs(self, checkout: Checkout, tmp_path: Path, settings: Any) -> None:
        uv = executable(tmp_path / "uv", "echo uv 0.13.9")
        settings.ADMIN_MANAGEMENT = {"CHECKOUT": checkout.path, "UV": str(uv)}
        told = read_status()["versions"]
        assert told["uv"] == "0.13.9"
        assert told["git"][0].isdigit()

    def test_missing_tools_are_said(self, checkout: Checkout, settings: Any) -> None:
        settings.ADMIN_MANAGEMENT = {"CHECKOUT": checkout.path, "UV": "/no/uv", "PM2": "/no/pm2"}
        told = read_status()["versions"]
        assert told["uv"] == {"error": "/no/uv was not found."}
        assert told["pm2"] == {"error": "/no/pm2 was not found."}

    def test_a_tool_that_fails_is_said(
        self, checkout: Checkout, tmp_path: Path, settings: Any
    ) -> None:
        uv = executable(tmp_path / "uv", "exit 3")
        settings.ADMIN_MANAGEMENT = {"CHECKOUT": checkout.path, "UV": str(uv)}
        assert "exit status 3" in read_status()["versions"]["uv"]["error"]
