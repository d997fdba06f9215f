"""PM2, asked without starting it."""

import json
import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin_management.runner import pm2
from admin_management.runner.pm2 import Pm2Error, Pm2Process, daemon_runs, has_process, processes
from tests.runner.conftest import program

LISTED = """\
[{"pid":4711,"name":"site","pm2_env":{"name":"site","status":"online","restart_time":2,\
"pm_uptime":1767225600000,"env":{"SECRET_KEY":"hunter2"}},"pm_id":0,\
"monit":{"memory":52428800,"cpu":0.1}},\
{"pid":0,"name":"worker","pm2_env":{"status":"stopped"},"pm_id":1}]"""

BANNER = """\

                        -------------

__/\\\\\\\\\\\\\\\\\\\\\\\\\\____/\\\\____________/\\\\____/\\\\\\\\\\\\\\\\\\_____

                          Runtime Edition

[PM2] Spawning PM2 daemon with pm2_home=/home/site/.pm2
[PM2] PM2 Successfully daemonized
"""


@dataclass
class Daemon:
    """A PM2 home with a daemon that is alive, and a pm2 that prints what a test wants."""

    home: Path
    program: Path

    @property
    def environ(self) -> dict[str, str]:
        return {"PM2_HOME": str(self.home), "PATH": os.environ["PATH"]}

    def prints(self, text: str, then: str = "") -> None:
        answer = self.home / "answer"
        answer.write_text(text)
        program(self.program, f"touch '{self.home}/was-asked'; cat '{answer}'; {then}")

    def processes(self) -> list[Pm2Process]:
        return processes(str(self.program), self.environ)


@pytest.fixture
def daemon(tmp_path: Path) -> Daemon:
    daemon = Daemon(tmp_path / "home", tmp_path / "pm2")
    (daemon.home / "pids").mkdir(parents=True)
    (daemon.home / "pm2.pid").write_text(f"{os.getpid()}")
    daemon.prints(LISTED)
    return daemon


@pytest.fixture
def dead_pid() -> int:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    return process.pid


@pytest.mark.parametrize("args", ["-m serve --bind", ["-m", "serve", "--bind"]])
def test_what_is_declared_is_told_in_words_and_seconds(daemon: Daemon, args: object) -> None:
    env = {"status": "online", "kill_timeout": 35000, "args": args}
    daemon.prints(json.dumps([{"name": "site", "pm2_env": env}]))
    (site,) = daemon.processes()
    assert (site.kill_timeout, site.arguments) == (35.0, ("-m", "serve", "--bind"))
    assert "serve" not in repr(site)


def test_what_is_not_declared_is_pm2s_default(daemon: Daemon) -> None:
    site, _ = daemon.processes()
    assert (site.kill_timeout, site.arguments) == (1.6, ())


def test_of_the_list_only_a_few_fields_are_taken(daemon: Daemon) -> None:
    site, worker = daemon.processes()
    assert site == Pm2Process(
        name="site",
        pid=4711,
        status="online",
        restarts=2,
        started_ms=1_767_225_600_000,
        memory=52_428_800,
    )
    assert (worker.pid, worker.status, worker.restarts, worker.memory) == (0, "stopped", 0, 0)
    assert "hunter2" not in repr(site)


def test_banners_before_the_list_are_passed_over(daemon: Daemon) -> None:
    daemon.prints(BANNER + LISTED + "\n")
    assert [each.name for each in daemon.processes()] == ["site", "worker"]


def test_a_daemon_without_processes_has_an_empty_list(daemon: Daemon) -> None:
    daemon.prints("[]\n")
    assert daemon.processes() == []


def test_where_no_daemon_runs_pm2_is_not_even_started(daemon: Daemon, dead_pid: int) -> None:
    (daemon.home / "pm2.pid").write_text(f"{dead_pid}")
    with pytest.raises(Pm2Error, match=f"No PM2 daemon runs for PM2_HOME={daemon.home}"):
        daemon.processes()
    (daemon.home / "pm2.pid").unlink()
    with pytest.raises(Pm2Error, match="No PM2 daemon runs"):
        daemon.processes()
    assert not (daemon.home / "was-asked").exists()


@pytest.mark.parametrize(
    "text",
    [
        *("", "Error: connect ECONNREFUSED", "[{", '[{"name": "site"}]', "[{}]", '[{"a":1}, 5]'),
        '[{"name": "site", "pm2_env": {"status": "online"}, "monit": "none"}]',
        '[{"name": "site", "pm2_env": {"status": "online", "kill_timeout": 1%s}}]' % ("0" * 400),
    ],
)
def test_an_answer_that_is_no_list_of_processes_is_said_to_be_none(
    daemon: Daemon, text: str
) -> None:
    daemon.prints(text)
    with pytest.raises(Pm2Error, match="not its list of processes"):
        daemon.processes()


def test_a_failure_is_said(daemon: Daemon) -> None:
    daemon.prints("", then="exit 7")
    with pytest.raises(Pm2Error, match="pm2 jlist failed with exit code 7"):
        daemon.processes()


def test_a_pm2_that_does_not_answer_is_given_up(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pm2, "QUERY_TIMEOUT", 0.01)
    daemon.prints("", then="exec sleep 1000")
    with pytest.raises(Pm2Error, match=r"pm2 jlist did not answer in 0\.01 s"):
        daemon.processes()


def test_a_pm2_that_cannot_be_started_is_named(daemon: Daemon) -> None:
    daemon.program.unlink()
    with pytest.raises(Pm2Error, match=f"{daemon.program} cannot be started: No such file"):
        daemon.processes()


def test_its_home_is_a_variable_or_in_the_home_of_the_user() -> None:
    assert pm2.home({"PM2_HOME": "/srv/pm2", "HOME": "/home/site"}) == Path("/srv/pm2")
    assert pm2.home({"PM2_HOME": "", "HOME": "/home/site"}) == Path("/home/site/.pm2")
    account = pwd.getpwuid(os.geteuid())
    assert pm2.home({}) == Path(account.pw_dir) / ".pm2"


@pytest.mark.parametrize("content", ["", "no number", "-1", "0"])
def test_a_pid_file_that_names_no_process_is_no_daemon(daemon: Daemon, content: str) -> None:
    (daemon.home / "pm2.pid").write_text(content)
    assert not daemon_runs(daemon.home)


def test_a_process_is_known_by_its_pid_file(daemon: Daemon, dead_pid: int) -> None:
    (daemon.home / "pids" / "site-3.pid").write_text(f"{os.getpid()}")
    (daemon.home / "pids" / "worker-1.pid").write_text(f"{dead_pid}")
    assert has_process(daemon.home, "site")
    assert not has_process(daemon.home, "worker")
    assert not has_process(daemon.home, "sit")


def test_a_process_whose_name_begins_the_same_is_another_one(daemon: Daemon) -> None:
    (daemon.home / "pids" / "site-2-0.pid").write_text(f"{os.getpid()}")
    assert has_process(daemon.home, "site-2")
    assert not has_process(daemon.home, "site")


def test_a_name_that_cannot_be_a_file_name_is_spelled_as_pm2_does(daemon: Daemon) -> None:
    (daemon.home / "pids" / "my-site--3.11--0.pid").write_text(f"{os.getpid()}")
    assert has_process(daemon.home, "my site [3.11]")
    assert not has_process(daemon.home, "my-site--3x11-")


def test_a_home_without_pid_files_has_no_process(tmp_path: Path) -> None:
    assert not has_process(tmp_path, "site")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
NUMBERS = st.integers(0, 2**53)
PLACES = st.sampled_from(
    [
        *(("name",), ("pid",), ("monit",), ("monit", "memory"), ("pm2_env",)),
        *(("pm2_env", name) for name in ("status", "restart_time", "kill_timeout", "args")),
    ]
)


@st.composite
def like_a_list(draw: st.DrawFn) -> bytes:
    """What PM2 prints, with anything in one place of it."""
    process: Any = json.loads(LISTED)[0]
    *way, last = draw(PLACES)
    inner = process
    for name in way:
        inner = inner[name]
    inner[last] = draw(JSON)
    return json.dumps([process]).encode()


@given(like_a_list() | st.lists(JSON).map(json.dumps).map(str.encode) | st.binary())
def test_any_output_is_a_list_of_processes_or_said_to_be_none(output: bytes) -> None:
    try:
        found = pm2.listed(output)
    except Pm2Error:
        return
    for each in found:
        assert isinstance(each.pid, int)
        assert isinstance(each.kill_timeout, float)
        assert all(isinstance(word, str) for word in each.arguments)


@given(st.lists(st.tuples(st.text(), NUMBERS, NUMBERS), max_size=3), st.binary(max_size=20))
def test_what_pm2_lists_is_read_whatever_it_prints_before(
    listed: list[tuple[str, int, int]], notice: bytes
) -> None:
    lines = json.dumps(
        [
            {"name": name, "pid": pid, "pm2_env": {"status": "online", "restart_time": restarts}}
            for name, pid, restarts in listed
        ],
        separators=(",", ":"),
    )
    found = pm2.listed(b"[PM2] " + notice.replace(b"[", b"") + b"\n" + lines.encode())
    assert [(each.name, each.pid, each.restarts) for each in found] == listed
