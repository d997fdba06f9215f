"""What ``manage.py doctor`` tells: each check where all is well, and where it is not."""

import io
import json
import os
import shutil
import subprocess
import threading
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core import checks
from django.core.management import CommandError, call_command
from django.db import connection, connections
from django.http import HttpResponse
from django.test import Client
from django.urls import include, path
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from admin_management.doctor import (
    CHECKS,
    GRACEFUL_TIMEOUT,
    Finding,
    ProblemError,
    Site,
    Verdict,
    examine,
    find,
    graceful_timeout,
    remember,
)
from admin_management.machine import node
from admin_management.models import Run
from admin_management.runner.state import StateDirectory
from admin_management.status import read_status
from tests import urls
from tests.conftest import Checkout
from webhooks.models import Delivery, Outcome

OK, WARN, FAIL = Verdict.OK, Verdict.WARN, Verdict.FAIL


def program(file: Path, script: str) -> str:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return str(file)


@dataclass
class Patient:
    """A site that lacks nothing: a real checkout, and a uv and a PM2 that answer as theirs do."""

    checkout: Checkout
    folder: Path
    settings: Any

    @property
    def pm2_home(self) -> Path:
        return self.folder / "pm2-home"

    @property
    def state(self) -> StateDirectory:
        return StateDirectory.of(self.checkout.path)

    def set(self, **changes: Any) -> None:
        self.settings.ADMIN_MANAGEMENT = {**self.settings.ADMIN_MANAGEMENT, **changes}

    def pm2_lists(self, *processes: dict[str, Any]) -> None:
        listing = self.folder / "listing"
        listing.write_text(json.dumps(processes))
        asked = self.folder / "asked"
        program(self.folder / "pm2" / "bin" / "pm2", f"echo $1 >> '{asked}'; cat '{listing}'")

    def finding(self, name: str) -> Finding:
        """What one check says, in a thread of its own, as it always has."""
        return find(name, dict(CHECKS)[name], Site())

    def verdict(self, name: str) -> tuple[Verdict, str]:
        finding = self.finding(name)
        assert bool(finding.advice) is (finding.verdict is not OK), finding
        return finding.verdict, finding.message


def a_ping() -> None:
    Delivery.objects.create(delivery_id="1", event="ping", outcome=Outcome.PING, secret="settings")


def process(name: str = "site", **env: Any) -> dict[str, Any]:
    env = {"status": "online", "kill_timeout": 35000, **env}
    return {"name": name, "pid": 42, "pm2_env": env}


@pytest.fixture
def patient(checkout: Checkout, tmp_path: Path, settings: Any, monkeypatch: Any) -> Patient:
    patient = Patient(checkout, tmp_path, settings)
    patient.pm2_home.mkdir(mode=0o700)
    (patient.pm2_home / "pm2.pid").write_text(str(os.getpid()))
    monkeypatch.setenv("PM2_HOME", str(patient.pm2_home))
    patient.pm2_lists(process("another"), process())
    (tmp_path / "pm2" / "package.json").write_text('{"version": "7.0.4"}')
    patient.set(
        PM2_PROCESS="site",
        PM2=str(tmp_path / "pm2" / "bin" / "pm2"),
        UV=program(tmp_path / "uv", "echo uv 0.13.9"),
    )
    settings.STATIC_ROOT = tmp_path / "collected"
    return patient


@pytest.mark.django_db(transaction=True)
class TestTheCommand:
    @pytest.fixture(autouse=True)
    def _ping(self, db: None) -> None:
        a_ping()

    def test_finds_nothing_at_a_site_that_lacks_nothing(self, patient: Patient) -> None:
        output = io.StringIO()
        call_command("doctor", stdout=output)
        lines = output.getvalue().splitlines()
        assert [line[0] for line in lines[:-1]] == ["✓"] * len(CHECKS), lines
        assert lines[-1] == f"{len(CHECKS)} checked, 0 warned, 0 failed"
        for line, (name, _) in zip(lines[:-1], CHECKS, strict=True):
            assert line.startswith(f"✓ {name:<14}  "), "the messages stand below each other"

    def test_says_how_to_mend_what_failed_and_exits_with_1(self, patient: Patient) -> None:
        patient.checkout.git("switch", "--quiet", "--create", "feature")
        output = io.StringIO()
        with pytest.raises(CommandError, match="mend what failed") as raised:
            call_command("doctor", stdout=output)
        assert raised.value.returncode == 1
        said = output.getvalue()
        assert "✗ branch " in said
        assert "→ In " in said
        assert "git switch master" in said

    def test_succeeds_with_warnings(self, patient: Patient) -> None:
        patient.pm2_home.chmod(0o755)
        output = io.StringIO()
        call_command("doctor", stdout=output)
        assert "! PM2_HOME " in output.getvalue()
        assert "1 warned, 0 failed" in output.getvalue()

    def test_tells_a_program_the_same(self, patient: Patient) -> None:
        patient.pm2_home.chmod(0o777)
        output = io.StringIO()
        with pytest.raises(CommandError):
            call_command("doctor", "--json", stdout=output)
        told = json.loads(output.getvalue())
        assert told["ok"] is False
        assert [each["name"] for each in told["findings"]] == [name for name, _ in CHECKS]
        (failed,) = (each for each in told["findings"] if each["verdict"] == "fail")
        assert failed == {
            "name": "PM2_HOME",
            "verdict": "fail",
            "message": f"Others than its owner can write to {patient.pm2_home} (777).",
            "advice": f"chmod 700 {patient.pm2_home}",
        }

    def test_is_remembered_by_the_status_with_what_is_to_be_mended(self, patient: Patient) -> None:
        assert read_status()["doctor"] is None
        call_command("doctor", stdout=io.StringIO())
        told = read_status()["doctor"]
        assert (told["verdict"], told["findings"]) == ("ok", [])
        assert abs(told["examined_at"] - timezone.now()) < timedelta(minutes=1)
        patient.pm2_home.chmod(0o777)
        with pytest.raises(CommandError):
            call_command("doctor", stdout=io.StringIO())
        told = read_status()["doctor"]
        assert told["verdict"] == "fail"
        assert [each["name"] for each in told["findings"]] == ["PM2_HOME"]

    def test_is_shown_on_the_dashboard_until_it_finds_nothing(
        self, patient: Patient, client: Client, alice: User
    ) -> None:
        client.force_login(alice)
        patient.pm2_home.chmod(0o777)
        with pytest.raises(CommandError):
            call_command("doctor", stdout=io.StringIO())
        page = client.get("/admin/dashboard/").content.decode()
        assert "found what keeps updates from working" in page
        assert f"PM2_HOME: Others than its owner can write to {patient.pm2_home}" in page
        patient.pm2_home.chmod(0o700)
        call_command("doctor", stdout=io.StringIO())
        assert "keeps updates from working" not in client.get("/admin/dashboard/").content.decode()

    def test_keeps_nothing_where_another_user_owns_the_checkout(
        self, patient: Patient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        owner = os.geteuid()
        monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
        remember([Finding("user", FAIL, "Another one.")])
        assert not patient.state.path.exists()

    def test_shows_on_a_terminal_what_it_is_at(self, patient: Patient) -> None:
        class Terminal(io.StringIO):
            def isatty(self) -> bool:
                return True

        terminal, file = Terminal(), io.StringIO()
        call_command("doctor", stdout=io.StringIO(), stderr=terminal)
        call_command("doctor", stdout=io.StringIO(), stderr=file)
        assert "… remote" in terminal.getvalue()
        assert file.getvalue() == ""

    def test_works_where_the_system_checks_do_not(self, patient: Patient, settings: Any) -> None:
        settings.ROOT_URLCONF = "nothing_like_this"
        found = {each.name: each for each in examine()}
        assert len(found) == len(CHECKS)
        assert "No module named 'nothing_like_this'" in found["system checks"].message
        assert found["database"].verdict is WARN
        assert found["health"].verdict is FAIL

    def test_changes_nothing(self, patient: Patient) -> None:
        def files() -> list[str]:
            return sorted(str(each) for each in patient.checkout.path.rglob("*"))

        before = files()
        list(examine())
        assert files() == before

    def test_asks_pm2_once(self, patient: Patient) -> None:
        list(examine())
        assert (patient.folder / "asked").read_text() == "jlist\n"

    def test_asks_pm2_once_even_if_it_does_not_answer(self, patient: Patient) -> None:
        asked = patient.folder / "asked"
        program(patient.folder / "pm2" / "bin" / "pm2", f"echo $1 >> '{asked}'; exit 1")
        found = {each.name: each for each in examine()}
        assert found["PM2 process"].message == "pm2 jlist failed with exit code 1"
        assert found["kill_timeout"].verdict is WARN
        assert asked.read_text() == "jlist\n"


class TestACheck:
    def test_that_raises_is_a_failure_that_says_what_happened(self, patient: Patient) -> None:
        def check(site: Site) -> str:
            raise ZeroDivisionError("of course")

        assert find("odd", check, Site()) == Finding(
            "odd", FAIL, "ZeroDivisionError: of course", "Mend what it says, and try again."
        )

    def test_that_exits_is_a_failure(self, patient: Patient) -> None:
        def check(site: Site) -> str:
            raise SystemExit(3)

        assert find("odd", check, Site()).message == "SystemExit: 3"

    def test_that_hangs_is_a_failure(self, patient: Patient) -> None:
        release = threading.Event()

        def check(site: Site) -> str:
            release.wait()
            return "at last"

        finding = find("odd", check, Site(), seconds=0.05)
        release.set()
        assert (finding.verdict, finding.message) == (FAIL, "It did not end within 0.05 s.")

    def test_shows_no_secret(self, patient: Patient, settings: Any) -> None:
        settings.PAYMENT_TOKEN = "hunter2-hunter2"
        finding = find("odd", lambda site: "It is hunter2-hunter2", Site())
        assert finding.message == "It is [REDACTED]"

        def check(site: Site) -> str:
            raise ProblemError("It is wrong.", "Write hunter2-hunter2")

        assert find("odd", check, Site()).advice == "Write [REDACTED]"

    @pytest.mark.django_db(transaction=True)
    def test_leaves_no_connection_to_the_database(self, patient: Patient) -> None:
        used: list[Any] = []

        def check(site: Site) -> str:
            used.append(connections["default"])
            connections["default"].ensure_connection()
            return "connected"

        assert find("odd", check, Site()).verdict is OK
        assert used[0].connection is None


def test_a_folder_that_is_no_checkout_is_told_once(patient: Patient, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    patient.set(CHECKOUT=tmp_path / "plain")
    assert [(each.name, each.verdict) for each in examine()] == [("settings", OK), ("user", FAIL)]


def test_wrong_settings_are_the_only_thing_told(patient: Patient) -> None:
    patient.set(BRANHC="main")
    (finding,) = examine()
    assert (finding.name, finding.verdict) == ("settings", FAIL)
    assert "BRANHC" in finding.message
    assert "The keys are " in finding.advice


class TestTools:
    @pytest.mark.parametrize(("name", "setting"), [("uv", "UV"), ("PM2", "PM2")])
    def test_that_are_not_there(self, patient: Patient, name: str, setting: str) -> None:
        assert patient.finding(name).verdict is OK
        patient.set(**{setting: "/nowhere/tool"})
        finding = patient.finding(name)
        assert (finding.verdict, finding.message) == (FAIL, "/nowhere/tool was not found.")
        assert f'ADMIN_MANAGEMENT["{setting}"]' in finding.advice

    def test_a_git_that_is_not_there(
        self, patient: Patient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert patient.finding("git").verdict is OK
        monkeypatch.setattr("admin_management.status.find_tool", lambda name: None)
        finding = patient.finding("git")
        assert finding.message == "git was not found."
        assert "Install git" in finding.advice

    @pytest.mark.parametrize(
        ("version", "verdict"),
        [("0.3.9", FAIL), ("0.4.0", OK), ("0.13.9", OK), ("1.0.0rc1", OK), ("?", WARN)],
    )
    def test_that_are_too_old(self, patient: Patient, version: str, verdict: Verdict) -> None:
        program(patient.folder / "uv", f"echo 'uv {version}'")
        finding = patient.finding("uv")
        assert finding.verdict is verdict
        assert version in finding.message
        assert ("0.4 or newer" in finding.advice) is (verdict is not OK)

    def test_an_old_pm2_is_known_without_starting_it(self, patient: Patient) -> None:
        (patient.folder / "pm2" / "package.json").write_text('{"version": "5.2.2"}')
        assert patient.verdict("PM2") == (FAIL, "PM2 is 5.2.2.")
        assert not (patient.folder / "asked").exists()

    def test_one_that_fails(self, patient: Patient) -> None:
        program(patient.folder / "uv", "exit 3")
        verdict, message = patient.verdict("uv")
        assert verdict is FAIL
        assert "exit status 3" in message


class TestTheCheckout:
    def test_of_another_user(self, patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
        assert patient.finding("user").verdict is OK
        monkeypatch.setattr("admin_management.launcher.os.geteuid", lambda: 12345)
        verdict, message = patient.verdict("user")
        assert verdict is FAIL
        assert "Do it as that user: sudo -u" in message

    def test_that_is_none(self, patient: Patient, tmp_path: Path) -> None:
        assert patient.finding("work tree").verdict is OK
        (tmp_path / "plain").mkdir()
        patient.set(CHECKOUT=tmp_path / "plain")
        for name in ("user", "work tree", "branch", "changes", "state folder", "disk"):
            verdict, message = patient.verdict(name)
            assert verdict is FAIL, name
            assert "Traceback" not in message
        assert "Clone the site with git" in patient.finding("work tree").advice

    def test_on_another_branch(self, patient: Patient) -> None:
        assert patient.verdict("branch") == (OK, "master")
        patient.checkout.git("checkout", "--quiet", "--detach")
        assert patient.verdict("branch") == (
            FAIL,
            "The checkout is on a detached HEAD, not on master.",
        )

    def test_whose_commits_need_no_signature(self, patient: Patient) -> None:
        assert patient.verdict("signers") == (
            OK,
            "Whoever can push to the branch decides: ALLOWED_SIGNERS is not set.",
        )

    def test_whose_list_of_signers_is_not_there_or_open_to_others(
        self, patient: Patient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        signers = patient.folder / "allowed_signers"
        patient.set(ALLOWED_SIGNERS=str(signers))
        assert "no update goes live" in patient.finding("signers").message
        signers.write_text("")
        signers.chmod(0o664)
        assert patient.finding("signers").advice == f"chmod go-w {signers}"
        signers.chmod(0o644)
        assert patient.verdict("signers")[0] is OK
        monkeypatch.setattr("admin_management.doctor.find_tool", lambda name: None)
        finding = patient.finding("signers")
        assert (finding.verdict, "ssh-keygen was not found" in finding.message) == (WARN, True)

    def test_whose_git_verifies_no_ssh_key(
        self, patient: Patient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("admin_management.doctor.version_of", lambda name: "git version 2.33.0")
        assert patient.verdict("git")[0] is OK
        patient.set(ALLOWED_SIGNERS=str(patient.folder / "allowed_signers"))
        finding = patient.finding("git")
        assert (finding.verdict, finding.advice) == (FAIL, "Install git 2.34 or newer.")

    def test_with_local_changes(self, patient: Patient) -> None:
        assert patient.finding("changes").verdict is OK
        (patient.checkout.path / "version.txt").write_text("by hand\n")
        finding = patient.finding("changes")
        assert finding.message == "The checkout has local changes: version.txt."
        assert "git stash" in finding.advice


class TestTheRemote:
    def test_answers(self, patient: Patient) -> None:
        tip = patient.checkout.commit({"version.txt": "2\n"})
        assert patient.verdict("remote") == (OK, f"origin answers: master is at {tip[:7]}.")

    def test_that_does_not_answer_may_lack_a_deploy_key(self, patient: Patient) -> None:
        patient.checkout.origin.rename(patient.folder / "moved")
        finding = patient.finding("remote")
        assert finding.verdict is FAIL
        assert "deploy key" in finding.advice
        assert "git ls-remote origin master" in finding.advice

    def test_that_has_no_such_branch(self, patient: Patient) -> None:
        patient.set(BRANCH="main")
        assert patient.verdict("remote") == (FAIL, "origin has no branch main.")

    def test_that_is_not_configured(self, patient: Patient) -> None:
        patient.checkout.git("remote", "remove", "origin")
        assert patient.verdict("remote address") == (FAIL, "The checkout has no remote origin.")

    @pytest.mark.parametrize(
        "url",
        [
            "https://alice:hunter2@example.com/site.git",
            "https://alice:it's@example.com/site.git",
            "https://ghp_0123456789abcdefghij0123456789abcdef@example.com/site.git",
            "ssh://git:hunter2@example.com/site.git",
        ],
    )
    def test_whose_address_holds_a_credential(self, patient: Patient, url: str) -> None:
        patient.checkout.git("remote", "set-url", "origin", url)
        finding = patient.finding("remote address")
        assert finding.verdict is FAIL
        assert "holds a password or token" in finding.message
        assert "git remote set-url origin" in finding.advice
        assert "example.com" not in str(finding)

    @pytest.mark.parametrize(
        "url",
        [
            "https://example.com/site.git",
            "https://alice@example.com/site.git",
            "https://example.com:8443/site.git",
            "git@example.com:owner/site.git",
            "ssh://git@example.com:2222/site.git",
        ],
    )
    def test_whose_address_holds_none(self, patient: Patient, url: str) -> None:
        patient.checkout.git("remote", "set-url", "origin", url)
        assert patient.verdict("remote address") == (OK, url)


@dataclass
class Ssh:
    """A real ssh with a configuration of the test's: it finds its user's whatever HOME says."""

    folder: Path

    @property
    def asked(self) -> str:
        return (self.folder / "asked").read_text()

    def tries(self, *keys: Path) -> None:
        lines = "".join(f"IdentityFile {key}\n" for key in keys)
        (self.folder / "config").write_text(lines)

    def key(self, name: str, *, passphrase: str = "") -> Path:
        made = self.folder / name
        argv = ("ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", made)
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)
        return made


@pytest.fixture
def ssh(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> Ssh:
    """What git starts for the remote of ``patient``, which is on GitHub."""
    ssh = Ssh(patient.folder / "ssh")
    real = shutil.which("ssh")
    script = f"""echo "$@" >> '{ssh.folder}/asked'; exec {real} -F '{ssh.folder}/config' "$@\""""
    program(ssh.folder / "ssh", script)
    monkeypatch.setenv("PATH", f"{ssh.folder}{os.pathsep}{os.environ['PATH']}")
    for name in ("GIT_SSH_COMMAND", "SSH_AUTH_SOCK"):
        monkeypatch.delenv(name, raising=False)
    patient.checkout.git("remote", "set-url", "origin", "git@github.com:octocat/site.git")
    return ssh


class TestTheDeployKey:
    @pytest.mark.parametrize("url", ["https://github.com/octocat/site.git", "/srv/site.git"])
    def test_is_not_needed_but_over_ssh(self, patient: Patient, ssh: Ssh, url: str) -> None:
        patient.checkout.git("remote", "set-url", "origin", url)
        assert patient.verdict("deploy key") == (
            OK,
            "None is needed: origin is not asked over SSH.",
        )

    def test_that_ssh_can_use(self, patient: Patient, ssh: Ssh) -> None:
        key = ssh.key("deploy")
        ssh.tries(patient.folder / "not_there", key)
        assert patient.verdict("deploy key") == (
            OK,
            f"ssh can use {key}: it has no passphrase.",
        )
        assert ssh.asked == "-G -oCanonicalizeHostname=no -- git@github.com\n"

    def test_is_looked_for_where_the_address_really_leads(self, patient: Patient, ssh: Ssh) -> None:
        ssh.tries(ssh.key("deploy"))
        patient.checkout.git("remote", "set-url", "origin", "https://github.com/octocat/site.git")
        replaced = ("url.ssh://git@example.com:2222/.insteadOf", "https://github.com/")
        patient.checkout.git("config", *replaced)
        assert patient.verdict("deploy key")[0] is OK
        assert ssh.asked == "-G -oCanonicalizeHostname=no -p 2222 -- git@example.com\n"

    def test_that_is_not_there_is_a_doubt_since_an_agent_may_have_one(
        self, patient: Patient, ssh: Ssh
    ) -> None:
        public = ssh.key("deploy").with_suffix(".pub")
        ssh.tries(patient.folder / "not_there", public)
        finding = patient.finding("deploy key")
        assert finding.verdict is WARN
        assert f"{patient.folder / 'not_there'}, {public}." in finding.message
        assert 'ssh-keygen -t ed25519 -N "" -f ~/.ssh/id_ed25519' in finding.advice
        assert "read-only" in finding.advice

    def test_that_ssh_refuses_is_a_failure(self, patient: Patient, ssh: Ssh) -> None:
        key = ssh.key("deploy")
        key.chmod(0o640)
        ssh.tries(key)
        finding = patient.finding("deploy key")
        assert (finding.verdict, finding.advice) == (FAIL, f"chmod 600 {key}")
        assert finding.message == (
            f"Others than its owner get at {key} (640): ssh refuses such a key."
        )

    def test_with_a_passphrase_is_a_doubt_where_an_agent_may_have_it(
        self, patient: Patient, ssh: Ssh, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        key = ssh.key("deploy", passphrase="of a person")
        ssh.tries(key)
        assert patient.verdict("deploy key")[0] is FAIL
        monkeypatch.setenv("SSH_AUTH_SOCK", str(ssh.folder / "agent"))
        finding = patient.finding("deploy key")
        assert finding.verdict is WARN
        assert f"{key} has a passphrase" in finding.message
        assert "An agent may have one: see that the site can ask it, too." in finding.message

    def test_is_not_known_where_ssh_does_not_accept_its_configuration(
        self, patient: Patient, ssh: Ssh
    ) -> None:
        (ssh.folder / "config").write_text("IdentityFlie x\n")
        finding = patient.finding("deploy key")
        assert finding.verdict is FAIL
        assert "Bad configuration option: identityflie" in finding.message

    def test_whose_name_is_no_text_is_told_as_well_as_can_be(
        self, patient: Patient, ssh: Ssh
    ) -> None:
        (ssh.folder / "config").write_bytes(b"IdentityFile /srv/\xff\x1b[2J\n")
        finding = patient.finding("deploy key")
        assert finding.verdict is WARN
        assert finding.message.isprintable()
        assert json.dumps(finding.message, ensure_ascii=False).encode()

    def test_without_ssh(self, patient: Patient, ssh: Ssh, monkeypatch: pytest.MonkeyPatch) -> None:
        git = shutil.which("git")
        assert git
        (patient.folder / "bin").mkdir()
        (patient.folder / "bin" / "git").symlink_to(git)
        monkeypatch.setenv("PATH", str(patient.folder / "bin"))
        finding = patient.finding("deploy key")
        assert (finding.verdict, finding.message) == (FAIL, "ssh was not found.")
        assert finding.advice == "apt-get install openssh-client"

    def test_that_the_checkout_or_the_site_has_chosen_is_left_alone(
        self, patient: Patient, ssh: Ssh, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        chosen = (OK, "GIT_SSH_COMMAND or core.sshCommand chooses it.")
        ssh.tries()
        monkeypatch.setenv("GIT_SSH_COMMAND", "ssh -i of_the_site")
        assert patient.verdict("deploy key") == chosen
        monkeypatch.delenv("GIT_SSH_COMMAND")
        patient.checkout.git("config", "core.sshCommand", "ssh -i of_the_checkout")
        assert patient.verdict("deploy key") == chosen
        assert not (ssh.folder / "asked").exists()

    def test_is_looked_at_before_the_remote_is_asked(self) -> None:
        names = [name for name, _ in CHECKS]
        assert names.index("deploy key") == names.index("remote") - 1


@given(st.integers(0, 10**6), st.booleans(), st.lists(st.sampled_from(["-w", "4", "--bind=:8000"])))
def test_the_patience_of_gunicorn_is_read_from_its_command_line(
    seconds: int, is_one_word: bool, others: list[str]
) -> None:
    option = "--graceful-timeout"
    given = [f"{option}={seconds}"] if is_one_word else [option, str(seconds)]
    assert graceful_timeout((*others, *given, *others)) == seconds
    assert graceful_timeout(tuple(others)) == GRACEFUL_TIMEOUT


@given(st.lists(st.text()))
def test_whatever_the_command_line_is_there_is_a_time(arguments: list[str]) -> None:
    assert graceful_timeout(tuple(arguments)) >= 0


class TestPm2:
    def test_without_a_daemon(self, patient: Patient) -> None:
        assert patient.finding("PM2 daemon").verdict is OK
        (patient.pm2_home / "pm2.pid").unlink()
        for name in ("PM2 daemon", "PM2 process"):
            verdict, message = patient.verdict(name)
            assert verdict is FAIL
            assert "No PM2 daemon runs for PM2_HOME=" in message
        assert patient.finding("kill_timeout").verdict is WARN
        assert not (patient.folder / "asked").exists()

    @pytest.mark.parametrize(
        ("mode", "verdict"),
        [(0o700, OK), (0o755, WARN), (0o740, WARN), (0o711, WARN), (0o775, FAIL), (0o702, FAIL)],
    )
    def test_whose_folder_is_open_to_others(
        self, patient: Patient, mode: int, verdict: Verdict
    ) -> None:
        patient.pm2_home.chmod(mode)
        found, message = patient.verdict("PM2_HOME")
        assert found is verdict
        assert f"({mode:o})" in message

    def test_whose_folder_is_not_there(
        self, patient: Patient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PM2_HOME", "/nowhere/pm2")
        assert patient.verdict("PM2_HOME") == (FAIL, "/nowhere/pm2 does not exist.")

    def test_that_does_not_know_the_process(self, patient: Patient) -> None:
        assert patient.verdict("PM2 process") == (OK, "site is online.")
        patient.pm2_lists(process("b"), process("a"))
        finding = patient.finding("PM2 process")
        assert finding.message == "PM2 knows no process 'site'; it knows a, b."
        assert 'ADMIN_MANAGEMENT["PM2_PROCESS"]' in finding.advice

    def test_that_has_given_up_on_the_process(self, patient: Patient) -> None:
        patient.pm2_lists(process(status="errored"))
        assert patient.verdict("PM2 process") == (FAIL, "site is errored.")

    @pytest.mark.parametrize(
        ("declared", "verdict"),
        [
            ({"kill_timeout": 35000}, OK),
            ({"kill_timeout": 34999}, WARN),
            ({"kill_timeout": None}, WARN),
            ({"kill_timeout": 10000, "args": ["--graceful-timeout", "5"]}, OK),
            ({"kill_timeout": 10000, "args": "gunicorn --graceful-timeout=5 site.wsgi"}, OK),
            ({"kill_timeout": 35000, "args": ["gunicorn", "--graceful-timeout", "60"]}, WARN),
        ],
    )
    def test_that_is_too_impatient(
        self, patient: Patient, declared: dict[str, Any], verdict: Verdict
    ) -> None:
        patient.pm2_lists(process(**declared))
        assert patient.verdict("kill_timeout")[0] is verdict

    def test_that_is_too_impatient_is_told_what_is_needed(self, patient: Patient) -> None:
        patient.pm2_lists(process(kill_timeout=None))
        finding = patient.finding("kill_timeout")
        assert "PM2 kills site after 1.6 s" in finding.message
        assert '"kill_timeout": 35000' in finding.advice


class TestTheStateFolder:
    def test_that_is_still_to_be_made(self, patient: Patient) -> None:
        assert patient.verdict("state folder") == (OK, "The first update makes it.")

    def test_that_others_get_into(self, patient: Patient) -> None:
        patient.state.create()
        assert patient.finding("state folder").verdict is OK
        patient.state.path.chmod(0o750)
        finding = patient.finding("state folder")
        assert finding.verdict is FAIL
        assert finding.advice == f"chmod 700 {patient.state.path}"

    def test_that_cannot_be_written_to(self, patient: Patient) -> None:
        # A file in its place: permissions do not keep root out.
        patient.state.path.touch(mode=0o700)
        verdict, message = patient.verdict("state folder")
        assert verdict is FAIL
        assert "cannot be written to: Not a directory." in message


class TestTheMachine:
    def test_a_disk_with_too_little_room(
        self, patient: Patient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        free = SimpleNamespace(f_bavail=200, f_frsize=2**20)
        monkeypatch.setattr("admin_management.doctor.os.statvfs", lambda folder: free)
        assert patient.verdict("disk") == (OK, "200 MB are free.")
        free.f_bavail = 199
        verdict, message = patient.verdict("disk")
        assert verdict is WARN
        assert message == "199 MB are free; trying an update needs 200 MB and more."


@pytest.mark.django_db(transaction=True)
class TestTheClock:
    def test_that_is_right(self, patient: Patient) -> None:
        Run.objects.create(node=node(), trigger="api")
        assert patient.finding("clock").verdict is OK

    def test_that_is_some_seconds_behind_another_machines(
        self, patient: Patient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        soon = timezone.now() + timedelta(seconds=45)
        monkeypatch.setenv("GIT_COMMITTER_DATE", soon.isoformat())
        patient.checkout.git("commit", "--quiet", "--allow-empty", "--message", "Soon")
        assert patient.finding("clock").verdict is OK

    def test_that_is_before_the_last_commit(
        self, patient: Patient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tomorrow = timezone.now() + timedelta(days=1)
        monkeypatch.setenv("GIT_COMMITTER_DATE", tomorrow.isoformat())
        patient.checkout.git("commit", "--quiet", "--allow-empty", "--message", "Later")
        finding = patient.finding("clock")
        assert finding.verdict is WARN
        assert f"the last commit was at {tomorrow:%Y-%m-%d %H:%M} UTC" in finding.message
        assert "Set the clock" in finding.advice

    def test_that_is_before_the_last_update(self, patient: Patient) -> None:
        tomorrow = timezone.now() + timedelta(days=1)
        Run.objects.create(node=node(), trigger="api", status="succeeded", finished_at=tomorrow)
        verdict, message = patient.verdict("clock")
        assert verdict is WARN
        assert "the last update was at" in message

    def test_where_the_updates_cannot_be_read(
        self, patient: Patient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(connection.settings_dict, "NAME", "/nowhere/db.sqlite3")
        finding = patient.finding("clock")
        assert finding.verdict is FAIL
        assert "The updates cannot be read from the database" in finding.message
        assert "manage.py migrate" in finding.advice


@pytest.fixture
def without_webhooks(settings: Any) -> None:
    settings.INSTALLED_APPS = [each for each in settings.INSTALLED_APPS if each != "webhooks"]
    settings.ROOT_URLCONF = tuple(urls.urlpatterns[:2])


@pytest.mark.django_db(transaction=True)
class TestTheSystemChecks:
    def test_an_error_of_any_app(self, patient: Patient, settings: Any) -> None:
        assert patient.verdict("system checks") == (OK, "No errors.")
        settings.USE_TZ = False
        finding = patient.finding("system checks")
        assert finding.verdict is FAIL
        assert "USE_TZ is False" in finding.message
        assert "Set USE_TZ = True" in finding.advice

    def test_what_the_site_has_silenced_is_not_told(self, patient: Patient, settings: Any) -> None:
        settings.USE_TZ = False
        settings.SILENCED_SYSTEM_CHECKS = ["admin_management.E004"]
        assert patient.finding("system checks").verdict is OK

    def test_a_warning_of_another_app_is_not_ours(
        self, patient: Patient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found = [checks.Warning("Old.", id="shop.W001"), checks.Error("Bad.", id="shop.E001")]
        monkeypatch.setattr("admin_management.doctor.checks.run_checks", lambda: found)
        assert patient.verdict("system checks") == (FAIL, "Bad.")

    def test_what_strangers_could_use_is_a_doubt(self, patient: Patient, settings: Any) -> None:
        fine = (OK, "Nothing that is not silenced is wrong with SECRET_KEY and DEBUG.")
        assert patient.verdict("production") == fine
        settings.SECRET_KEY = f"django-insecure-{settings.SECRET_KEY}"
        verdict, message = patient.verdict("production")
        assert verdict is WARN
        assert "SECRET_KEY" in message
        assert settings.SECRET_KEY not in message
        settings.SECRET_KEY_FALLBACKS = ["too short"]
        assert "SECRET_KEY_FALLBACKS[0]" in patient.verdict("production")[1]
        settings.DEBUG = True
        assert "DEBUG" in patient.verdict("production")[1]
        settings.SILENCED_SYSTEM_CHECKS = ["security.W009", "security.W018", "security.W025"]
        assert patient.verdict("production") == fine

    def test_the_admin_before_our_addresses(self, patient: Patient, settings: Any) -> None:
        assert patient.finding("URLs").verdict is OK
        ours, admin, hooks = urls.urlpatterns
        settings.ROOT_URLCONF = (admin, ours, hooks)
        finding = patient.finding("URLs")
        assert finding.verdict is FAIL
        assert 'include("admin_management.urls") before admin.site.urls' in finding.advice
        assert patient.finding("system checks").verdict is OK

    def test_static_files_without_a_folder(self, patient: Patient, settings: Any) -> None:
        assert patient.verdict("static files")[0] is OK
        settings.STATIC_ROOT = None
        finding = patient.finding("static files")
        assert finding.verdict is FAIL
        assert "STATIC_ROOT" in finding.message
        settings.STORAGES = {"default": settings.STORAGES["default"]}
        assert "say how static files are stored" in patient.finding("static files").message

    def test_a_database_whose_writers_do_not_wait(
        self, patient: Patient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found = [checks.Warning("Not so.", hint="Write it.", id="admin_management.W001")]
        monkeypatch.setattr("admin_management.doctor.checks.run_checks", lambda: found)
        assert patient.finding("database") == Finding("database", WARN, "Not so.", "Write it.")

    @pytest.mark.parametrize(
        ("secret", "verdict", "message"),
        [
            ("It's a Secret to Everybody", OK, "A secret is set."),
            ("", WARN, "There is no secret"),
            ("short", FAIL, "has fewer than 16 characters"),
        ],
    )
    def test_the_secret_of_the_webhook(
        self, patient: Patient, settings: Any, secret: str, verdict: Verdict, message: str
    ) -> None:
        settings.WEBHOOKS = {"SECRET": secret} if secret else {}
        finding = patient.finding("webhook")
        assert finding.verdict is verdict
        assert message in finding.message
        if secret:
            assert secret not in finding.message

    def test_wrong_settings_of_the_webhook(self, patient: Patient, settings: Any) -> None:
        settings.WEBHOOKS = {"SECERT": "x"}
        assert patient.verdict("webhook")[0] is FAIL

    def test_the_last_ping(self, patient: Patient) -> None:
        finding = patient.finding("last ping")
        assert finding.verdict is WARN
        assert "has not sent a ping yet" in finding.message
        assert "GitHub" in finding.advice
        a_ping()
        came_at = Delivery.objects.get().received_at
        assert patient.verdict("last ping") == (
            OK,
            f"GitHub's last ping came {came_at:%Y-%m-%d %H:%M} UTC.",
        )

    def test_nobody_knows_of_a_ping_where_the_settings_of_the_webhook_are_wrong(
        self, patient: Patient, settings: Any
    ) -> None:
        settings.WEBHOOKS = {"SECERT": "x"}
        verdict, message = patient.verdict("last ping")
        assert verdict is WARN
        assert "No delivery is accepted: WEBHOOKS has an unknown key 'SECERT'" in message

    @pytest.mark.usefixtures("without_webhooks")
    def test_a_site_without_webhooks(self, patient: Patient) -> None:
        finding = patient.finding("webhook")
        assert finding.verdict is WARN
        assert "poll_remote" in finding.advice


@pytest.mark.django_db(transaction=True)
class TestTheHealthAddress:
    @pytest.fixture(autouse=True)
    def _own_application(self, settings: Any) -> None:
        settings.WSGI_APPLICATION = None

    def test_that_answers(self, patient: Patient) -> None:
        assert patient.verdict("health") == (OK, "The health address answers.")

    @pytest.mark.parametrize(
        ("allowed", "verdict"),
        [
            (["example.com"], OK),
            ([".example.com"], OK),
            (["*"], OK),
            ([], FAIL),
            (["*.example.com"], FAIL),
        ],
    )
    def test_that_allowed_hosts_let_in(
        self, patient: Patient, settings: Any, allowed: list[str], verdict: Verdict
    ) -> None:
        settings.ALLOWED_HOSTS = allowed
        assert patient.verdict("ALLOWED_HOSTS")[0] is verdict
        assert patient.verdict("health")[0] is verdict

    def test_that_needs_no_allowed_hosts_with_debug(self, patient: Patient, settings: Any) -> None:
        settings.ALLOWED_HOSTS, settings.DEBUG = [], True
        assert patient.verdict("ALLOWED_HOSTS") == (OK, "localhost is allowed.")

    def test_without_a_database(self, patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(connection.settings_dict, "NAME", "/nowhere/db.sqlite3")
        finding = patient.finding("health")
        assert finding.verdict is FAIL
        assert "answered 503" in finding.message
        assert finding.advice == "Bring the database back."

    def test_of_the_site_that_is_not_well(self, patient: Patient, settings: Any) -> None:
        ill = path("ill/", lambda request: HttpResponse("ill", status=500))
        settings.ROOT_URLCONF = (*urls.urlpatterns, ill)
        patient.set(HEALTH_URL="/ill/")
        verdict, message = patient.verdict("health")
        assert verdict is FAIL
        assert "/ill/ answered 500" in message

    def test_that_is_not_included(self, patient: Patient, settings: Any) -> None:
        settings.ROOT_URLCONF = (path("webhooks/", include("webhooks.urls")),)
        for name in ("ALLOWED_HOSTS", "health"):
            assert patient.verdict(name) == (
                FAIL,
                'The site does not include "admin_management.urls".',
            )
