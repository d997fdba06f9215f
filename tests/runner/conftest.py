"""What the runner's tests need: a small site without Django that it can update, and its tools."""

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from admin_management.conf import AdminManagementSettings
from admin_management.runner.execution import Recorder
from admin_management.runner.journal import Journal, Progress, replay
from admin_management.runner.pipeline import perform
from admin_management.runner.plan import PYTHON, Plan
from admin_management.runner.redact import Redactor
from admin_management.runner.site import Site as RunnersSite
from admin_management.runner.state import StateDirectory
from admin_management.steps import Tools, ordered_steps
from tests.conftest import Checkout
from tests.runner.awaiting import Pipe, Watched

GIT = shutil.which("git") or "git"

RUN = "0f7c2a54-0000-4000-8000-000000000000"

MANAGE = """\
import os, pathlib, sys
command = sys.argv[1]
here = pathlib.Path(__file__).parent
with open(here / ".git" / "did", "a") as file:
    print(command, (here / "version.txt").read_text().strip(), sys.prefix, file=file)
print(command, "says hello")
if (here / f"fail_{command}").exists():
    sys.exit(f"{command} does not work")
"""

PROJECT = """\
[project]
name = "site"
version = "{}"
requires-python = ">=3.11"
dependencies = []
"""

LOCK = """\
version = 1
revision = 3
requires-python = ">=3.11"

[[package]]
name = "site"
version = "{}"
source = {{ virtual = "." }}
"""

IGNORED = ".venv\n.venv.new\n__pycache__/\n"


def files(version: str, **others: str) -> dict[str, str]:
    """A site without dependencies; uv makes its environment without a network."""
    return {
        "manage.py": MANAGE,
        "pyproject.toml": PROJECT.format(version),
        "uv.lock": LOCK.format(version),
        ".gitignore": IGNORED,
        **others,
    }


def program(path: Path, text: str) -> str:
    """Write an executable shell script and return its path."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@dataclass(frozen=True)
class Site:
    """A checkout that can be updated, and a PM2 that serves it as far as files tell."""

    checkout: Checkout
    plan: Plan
    state: StateDirectory
    environ: dict[str, str]

    @property
    def link(self) -> Path:
        return Path(self.plan.environment)

    def update(self, redactor: Redactor | None = None, **changes: Any) -> Progress:
        """Perform the plan, in this process. Returns what the journal says."""
        plan = replace(self.plan, **changes)
        folder = self.state.run(plan.run)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        journal = Journal(self.state.journal(plan.run))
        perform(plan, journal, self.environ, redactor or Redactor([]))
        journal.close()
        return replay(self.state.journal(plan.run))

    def progress(self) -> Progress:
        """What the journal of the run says."""
        return replay(self.state.journal(self.plan.run))

    @contextmanager
    def at_work(self, **changes: Any) -> Iterator[RunnersSite]:
        """The site as the parts of a run see it, with a journal to write into."""
        plan = replace(self.plan, **changes)
        self.state.run(plan.run).mkdir(exist_ok=True)
        journal = Journal(self.state.journal(plan.run))
        try:
            recorder = Recorder(journal, Redactor([]), self.checkout.path)
            yield RunnersSite(plan, recorder, self.environ)
        finally:
            journal.close()

    def did(self) -> list[list[str]]:
        """What was executed in the site so far: command, version of the code, environment."""
        log = self.checkout.path / ".git" / "did"
        return [line.split() for line in log.read_text().splitlines()] if log.exists() else []


@pytest.fixture
def site(checkout: Checkout, tmp_path: Path, settings: Any) -> Site:
    """A site one commit old, with a uv that builds nothing."""
    checkout.commit(files("1"), "A site")
    checkout.git("pull", "--quiet")
    pm2_home = tmp_path / "pm2-home"
    (pm2_home / "pids").mkdir(parents=True)
    for file in ("pm2.pid", "pids/site-0.pid"):
        (pm2_home / file).write_text(f"{os.getpid()}\n")
    settings.ADMIN_MANAGEMENT = {"CHECKOUT": checkout.path, "PM2_PROCESS": "site"}
    state = StateDirectory.of(checkout.path)
    state.create()
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PM2_HOME": str(pm2_home),
        "SITE_VARIABLE": "of the site",
    }
    return Site(checkout, _plan(checkout, state, tmp_path), state, environ)


def _plan(checkout: Checkout, state: StateDirectory, folder: Path) -> Plan:
    did = checkout.path / ".git" / "did"
    tools = Tools(
        git=GIT,
        uv=program(folder / "uv", "true"),
        pm2=program(folder / "pm2", "echo PM2 must not be asked; exit 1"),
        restart_script=program(folder / "restart.sh", f"echo restart $1 >> '{did}'"),
    )
    return Plan(
        run=RUN,
        force=False,
        checkout=str(checkout.path),
        state_directory=str(state.path),
        remote="origin",
        branch="master",
        environment=str(checkout.path / ".venv"),
        base_python=getattr(sys, "_base_executable", sys.executable),
        git=tools.git,
        uv=tools.uv,
        pm2=tools.pm2,
        pm2_process="site",
        steps=ordered_steps(AdminManagementSettings.load(), tools),
        prove_environment=(PYTHON, "manage.py", "check"),
        undo_migrations=(PYTHON, "manage.py", "undo_migrations"),
        settle=("true",),
    )


@pytest.fixture(scope="session")
def uv() -> str:
    found = os.environ.get("UV") or shutil.which("uv")
    if not found:
        pytest.skip("uv is not installed; name it in the variable UV")
    return found


@pytest.fixture
def live_site(site: Site, uv: str, tmp_path: Path) -> Site:
    """A site that an update has already put live, with the real uv and a cache of its own."""
    steps = tuple(
        replace(step, argv=(uv, *step.argv[1:])) if step.name == "dependencies" else step
        for step in site.plan.steps
    )
    environ = site.environ | {"UV_CACHE_DIR": str(tmp_path / "uv-cache"), "UV_OFFLINE": "1"}
    site = replace(site, plan=replace(site.plan, uv=uv, steps=steps), environ=environ)
    progress = site.update(force=True)
    assert progress.status == "succeeded", progress
    (site.checkout.path / ".git" / "did").unlink()
    return site


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[Pipe]:
    pipe = Pipe(tmp_path / "pipe")
    yield pipe
    pipe.close()


@pytest.fixture
def watch() -> Iterator[Callable[[int], Watched]]:
    """Look at a process by its pid. It is killed after the test, if it is still there."""
    watched: list[Watched] = []

    def begin(pid: int) -> Watched:
        watched.append(Watched(pid))
        return watched[-1]

    yield begin
    for each in watched:
        each.close()


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that does nothing for a long time, in a group of its own."""
    with subprocess.Popen(["sleep", "1000"], start_new_session=True) as process:
        yield process
        process.kill()
