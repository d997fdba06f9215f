"""How the site stands, as plain data: git, PM2, runs, versions.

Every part that cannot be read is ``{"error": "a sentence"}`` and leaves the others alone.
"""

import json
import logging
import os
import platform
import subprocess
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import django

from .conf import AdminManagementSettings
from .exceptions import AdminManagementError
from .machine import find_tool, node, open_repository, program
from .models import Hold, Run, running_on
from .redaction import redactor
from .runner import pm2
from .runner.execution import StepFailedError
from .runner.git import GitError, Repository, hardened
from .runner.pm2 import Pm2Error
from .runner.preconditions import check_remote_address
from .runner.process import PRIVATE, Child
from .runner.redact import Redactor
from .runner.state import NotAGitCheckoutError, StateDirectory
from .runner.variables import for_tools
from .serializers import HoldSerializer, RunSerializer

logger = logging.getLogger("admin_management")

FETCH_TIMEOUT = 15.0
VERSION_TIMEOUT = 5.0

ASKED = "refs/admin-management/asked"
"""Where the branch was when somebody last asked the remote without updating."""

LISTED = 20
"""Commits and files listed at most."""

_COMMIT = "%H%x00%s%x00%an%x00%cI"


class NotReadableError(AdminManagementError):
    """A part of the status cannot be read; the message says why."""


def read_status(*, fetch: bool = False) -> dict[str, Any]:
    """Look at the site. Asks no network, unless ``fetch``; starts no PM2 daemon."""
    site = _Site()
    # The fetch comes first: it changes what the parts after it see.
    status: dict[str, Any] = {"fetched": _part(site.fetch) if fetch else False}
    for name in _PARTS:
        status[name] = _part(getattr(site, name))
    status["versions"] = {name: _part(read) for name, read in site.versions().items()}
    return {name: _redacted(value, site.redactor) for name, value in status.items()}


_PARTS = (
    *("checkout", "branch", "live", "remote", "pending", "dirty_files", "pm2"),
    *("hold", "current_run", "waiting_run", "last_run", "doctor"),
)


class _Site:
    """Reads one part per method. Each raises whatever keeps it from reading."""

    @cached_property
    def redactor(self) -> Redactor:
        return redactor()

    @cached_property
    def _conf(self) -> AdminManagementSettings:
        return AdminManagementSettings.load()

    @cached_property
    def _repository(self) -> Repository:
        return open_repository(self._conf)

    @cached_property
    def _live_revision(self) -> str:
        """What the last successful run put live; before the first one, what is on disk."""
        recorded = StateDirectory.of(self._conf.checkout).live_revision()
        return recorded or self._repository.revision()

    @cached_property
    def _remote_revision(self) -> str:
        remote, branch = self._conf.remote, self._conf.branch
        try:
            return self._repository.revision(f"refs/remotes/{remote}/{branch}")
        except GitError:
            raise NotReadableError(f"Nothing was fetched yet from {remote}/{branch}.") from None

    def fetch(self) -> bool:
        """Ask the remote for its branch, as the step of a run does, with less patience."""
        conf = self._conf
        if running_on.exists(node()):
            raise NotReadableError("An update is running and asks the remote itself.")
        check_remote_address(conf.remote, self._repository)
        # Into a reference of its own: two that fetch into one at the same time fail, and the other
        # one may be a run.
        refspec = f"+refs/heads/{conf.branch}:{ASKED}"
        argv = hardened(program("git"), "fetch", "--no-tags", "--quiet", "--", conf.remote, refspec)
        environ = self._repository.environment_for(conf.remote)
        said: list[bytes] = []
        with Child(argv, cwd=conf.checkout, environ=environ, receive=said.append) as child:
            ending = child.wait(FETCH_TIMEOUT)
        if not ending.succeeded:
            reason = b"".join(said).decode(errors="replace").strip()
            raise NotReadableError(f"git fetch: {reason or ending.describe(FETCH_TIMEOUT)}")
        with suppress(GitError):
            tracking = f"refs/remotes/{conf.remote}/{conf.branch}"
            self._repository.ask("update-ref", tracking, ASKED)
        return True

    def checkout(self) -> str:
        return str(self._conf.checkout)

    def branch(self) -> str:
        # Asked first, because a folder that is no work tree has no branch either.
        self._repository.revision()
        branch = self._repository.branch()
        if not branch:
            raise NotReadableError("The checkout is on no branch (detached HEAD).")
        return branch

    def live(self) -> dict[str, Any]:
        return self._commits("-1", self._live_revision)[0]

    def remote(self) -> dict[str, Any]:
        """``behind``: commits of the remote that are not live. ``ahead``: local ones it has not."""
        return {
            "name": self._conf.remote,
            "branch": self._conf.branch,
            "ahead": self._repository.count(f"{self._remote_revision}..HEAD"),
            "behind": self._repository.count(f"{self._live_revision}..{self._remote_revision}"),
        }

    def pending(self) -> list[dict[str, Any]]:
        return self._commits(f"-{LISTED}", f"{self._live_revision}..{self._remote_revision}")

    def dirty_files(self) -> list[str]:
        return self._repository.changed_files()[:LISTED]

    def pm2(self) -> dict[str, Any]:
        """PM2's process; of a cluster the first one, with the sums of all."""
        path = program(self._conf.pm2)
        found = pm2.processes(path, for_tools(os.environ, [path]))
        same = [each for each in found if each.name == self._conf.pm2_process]
        if not same:
            names = ", ".join(sorted({each.name for each in found})) or "none"
            raise NotReadableError(
                f"PM2 knows no process {self._conf.pm2_process!r}; it knows {names}."
            )
        first = same[0]
        uptime = max(0.0, datetime.now(UTC).timestamp() - first.started_ms / 1000)
        return {
            "name": first.name,
            "status": first.status,
            "pid": first.pid or None,
            "instances": len(same),
            "restarts": sum(each.restarts for each in same),
            "uptime": round(uptime) if first.status == "online" else None,
            "memory": sum(each.memory for each in same),
        }

    def hold(self) -> dict[str, Any] | None:
        hold = Hold.objects.in_force()
        return None if hold is None else dict(HoldSerializer(hold).data)

    def current_run(self) -> dict[str, Any] | None:
        return _shown(Run.objects.here().running().first())

    def waiting_run(self) -> dict[str, Any] | None:
        return _shown(Run.objects.here().queued().first())

    def last_run(self) -> dict[str, Any] | None:
        return _shown(Run.objects.here().finished().order_by("-finished_at").first())

    def doctor(self) -> dict[str, Any] | None:
        """What ``manage.py doctor`` found when somebody asked it last."""
        report = StateDirectory.of(self._conf.checkout).doctor_report()
        if report is None:
            return None
        return {**report, "examined_at": datetime.fromisoformat(str(report["examined_at"]))}

    def versions(self) -> dict[str, Callable[[], str]]:
        return {
            "admin_management": lambda: version("django-admin-management"),
            "django": django.get_version,
            "python": platform.python_version,
            "git": lambda: version_of("git").removeprefix("git version "),
            "uv": lambda: version_of(self._conf.uv).removeprefix("uv "),
            "pm2": lambda: version_of_pm2(self._conf.pm2),
        }

    def _commits(self, *which: str) -> list[dict[str, Any]]:
        options = ("--no-show-signature", "--encoding=UTF-8", f"--format={_COMMIT}")
        listing = self._repository.ask("log", *options, *which, "--")
        return [_commit(line) for line in listing.split("\n") if line]


def _part(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except (
        *(AdminManagementError, StepFailedError, NotAGitCheckoutError),
        *(GitError, Pm2Error, OSError, subprocess.SubprocessError),
    ) as error:
        return {"error": str(error)}
    except Exception:
        logger.exception("A part of the status could not be read")
        return {"error": "It could not be read; the log of the site says why."}


def _commit(line: str) -> dict[str, Any]:
    revision, subject, author, committed = line.split("\0")
    committed_at = datetime.fromisoformat(committed)
    age = datetime.now(UTC) - committed_at
    return {
        "revision": revision,
        "subject": subject,
        "author": author,
        "committed_at": committed_at,
        "age": max(0, round(age.total_seconds())),
    }


def _shown(run: Run | None) -> dict[str, Any] | None:
    return None if run is None else dict(RunSerializer(run).data)


def version_of(tool: str) -> str:
    """What it says itself. Raises NotReadableError, OSError or subprocess.SubprocessError."""
    path = find_tool(tool)
    if path is None:
        raise NotReadableError(f"{tool} was not found.")
    done = subprocess.run(
        (path, "--version"),
        env=for_tools(os.environ, [path]),
        stdin=subprocess.DEVNULL,
        umask=PRIVATE,
        capture_output=True,
        timeout=VERSION_TIMEOUT,
        check=True,
    )
    return done.stdout.decode(errors="replace").strip()


def version_of_pm2(tool: str) -> str:
    """From its package: every pm2 command, even ``--version``, starts a daemon where none runs."""
    path = find_tool(tool)
    if path is None:
        raise NotReadableError(f"{tool} was not found.")
    package = Path(path).resolve().parents[1] / "package.json"
    try:
        return str(json.loads(package.read_text(encoding="utf-8"))["version"])
    except (OSError, ValueError, KeyError, TypeError):
        raise NotReadableError(f"{tool} does not say its version.") from None


def _redacted(value: Any, redactor: Redactor) -> Any:
    """The same data without secrets: a commit's subject or a remote's address may hold one."""
    if isinstance(value, str):
        return redactor.line(value)
    if isinstance(value, dict):
        return {key: _redacted(inner, redactor) for key, inner in value.items()}
    if isinstance(value, list):
        return [_redacted(inner, redactor) for inner in value]
    return value
