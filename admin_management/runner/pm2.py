"""PM2, asked carefully: any of its commands would start an empty daemon where none runs."""

import json
import os
import pwd
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .process import PRIVATE

QUERY_TIMEOUT = 15.0
"""Seconds that ``pm2 jlist`` may take."""

KILL_TIMEOUT = 1.6
"""PM2's own ``kill_timeout``, in seconds, where a process has none."""


class Pm2Error(Exception):
    """PM2 could not be asked; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pm2Process:
    """The few fields of ``pm2 jlist`` that are used. The rest holds the whole environment."""

    name: str
    pid: int
    status: str
    restarts: int
    started_ms: int
    memory: int
    kill_timeout: float = KILL_TIMEOUT
    """Seconds from the stop signal to SIGKILL."""
    arguments: tuple[str, ...] = field(default=(), repr=False)
    """Of its command line. Not to be shown: it may hold a secret."""


def home(environ: Mapping[str, str]) -> Path:
    given = environ.get("PM2_HOME")
    return Path(given) if given else Path(environ.get("HOME") or _home_of_this_user()) / ".pm2"


def _home_of_this_user() -> str:
    return pwd.getpwuid(os.geteuid()).pw_dir


def daemon_runs(pm2_home: Path) -> bool:
    """Whether a PM2 daemon serves this home. Reads its pid file and starts nothing."""
    return _living_pid(pm2_home / "pm2.pid") is not None


def has_process(pm2_home: Path, name: str) -> bool:
    """Whether a process of this name runs, by the pid file that PM2 keeps of it.

    A quick yes; a no only means that PM2 must be asked (``pids/<name>-<id>.pid``, PM2 7
    lib/Common.js).
    """
    return pid_of(pm2_home, name) is not None


def pid_of(pm2_home: Path, name: str) -> int | None:
    """The pid of a process of this name, by its pid file; None if none is known to run."""
    file_name = re.compile(re.escape(re.sub(r"[^a-zA-Z0-9.-]", "-", name)) + r"-\d+\.pid")
    for path in sorted((pm2_home / "pids").glob("*.pid")):
        if file_name.fullmatch(path.name) and (pid := _living_pid(path)):
            return pid
    return None


def processes(pm2: str, environ: Mapping[str, str]) -> list[Pm2Process]:
    """All processes of the running daemon. Raises Pm2Error; never starts a daemon."""
    pm2_home = home(environ)
    if not daemon_runs(pm2_home):
        raise Pm2Error(f"No PM2 daemon runs for PM2_HOME={pm2_home}")
    try:
        done = subprocess.run(
            (pm2, "jlist", "--no-color", "--silent"),
            env=environ,
            stdin=subprocess.DEVNULL,
            umask=PRIVATE,
            capture_output=True,
            timeout=QUERY_TIMEOUT,
            check=True,
        )
    except subprocess.TimeoutExpired as error:
        raise Pm2Error(f"pm2 jlist did not answer in {QUERY_TIMEOUT:g} s") from error
    except subprocess.CalledProcessError as error:
        raise Pm2Error(f"pm2 jlist failed with exit code {error.returncode}") from error
    except OSError as error:
        raise Pm2Error(f"{pm2} cannot be started: {error.strerror}") from error
    return listed(done.stdout)


def listed(output: bytes) -> list[Pm2Process]:
    """The processes that ``pm2 jlist`` has printed. Raises Pm2Error if it is no such list."""
    try:
        return [_fields(each) for each in json.loads(_listing(output))]
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        raise Pm2Error("pm2 jlist printed something that is not its list of processes") from error


def _listing(output: bytes) -> bytes:
    """The line of JSON: PM2 may print notices of its own, ``[PM2] …``, before it."""
    for line in output.splitlines():
        if line.startswith((b"[{", b"[]")):
            return line
    raise ValueError("no list")


def _fields(process: dict[str, dict[str, object]]) -> Pm2Process:
    env, usage = process["pm2_env"], process.get("monit") or {}
    return Pm2Process(
        name=str(process["name"]),
        pid=int(str(process.get("pid") or 0)),
        status=str(env["status"]),
        restarts=int(str(env.get("restart_time") or 0)),
        started_ms=int(str(env.get("pm_uptime") or 0)),
        memory=int(str(usage.get("memory") or 0)),
        kill_timeout=_kill_timeout(env.get("kill_timeout")),
        arguments=_words(env.get("args")),
    )


def _kill_timeout(milliseconds: object) -> float:
    return KILL_TIMEOUT if milliseconds is None else int(str(milliseconds)) / 1000


def _words(arguments: object) -> tuple[str, ...]:
    """PM2 keeps what was one string as a list, or as it was given."""
    words = arguments.split() if isinstance(arguments, str) else arguments
    return tuple(map(str, words)) if isinstance(words, list) else ()


def _living_pid(pid_file: Path) -> int | None:
    try:
        pid = int(pid_file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return pid if Path(f"/proc/{pid}").exists() else None
