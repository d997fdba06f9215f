"""What the demo and the tests need, installed below one folder: uv, PM2, the pinned environment.

Nothing outside that folder is changed, but for the caches of pip, uv and npm.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

REQUIREMENTS = ROOT / "requirements"

FAILURE = ROOT / ".demo" / "failure.log"
"""What the last command that failed has said."""


class CannotBeginError(Exception):
    """Something outside this project is missing. The message says what, and what to do."""


@contextmanager
def progress(what: str) -> Iterator[None]:
    """Say what takes a while, and how long it took."""
    print(f"{what} … ", end="", flush=True)
    started = time.monotonic()
    try:
        yield
    except BaseException:
        print("failed", flush=True)
        raise
    print(f"{time.monotonic() - started:.1f} s", flush=True)


def free_port() -> int:
    """A port of this machine's own address at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def require(program: str, advice: str) -> str:
    """The full path of a program. Raises CannotBeginError with the advice where there is none."""
    found = shutil.which(program)
    if found is None:
        raise CannotBeginError(f"{program} was not found. {advice}")
    return found


def pinned_requirements() -> Path:
    """The newest Django that this Python runs; both are tested."""
    django = "6.1" if sys.version_info >= (3, 12) else "5.2"
    return REQUIREMENTS / f"django-{django}.txt"


@dataclass(frozen=True, slots=True)
class Toolbox:
    """The tools below ``folder``. Each is installed when it is first asked for."""

    folder: Path

    @property
    def uv(self) -> Path:
        return self.folder / "uv" / "bin" / "uv"

    @property
    def pm2(self) -> Path:
        return self.folder / "pm2" / "node_modules" / ".bin" / "pm2"

    @property
    def environment(self) -> Path:
        """The environment of the tests, one for each Python."""
        major, minor = sys.version_info[:2]
        return self.folder / f"environment-{major}.{minor}"

    def environ(self) -> dict[str, str]:
        """The variables with which these tools are found and ask for nothing else."""
        folders = (self.environment / "bin", self.uv.parent, self.pm2.parent)
        path = [*map(str, folders), os.environ.get("PATH", os.defpath)]
        return os.environ | {
            "PATH": os.pathsep.join(path),
            "UV": str(self.uv),
            "UV_PYTHON_DOWNLOADS": "never",
        }

    def install_uv(self) -> None:
        """By pip into a folder, which works where the system's Python refuses to install."""
        wanted = REQUIREMENTS / "uv.txt"
        with self._missing("uv", self.uv, wanted) as missing:
            if missing:
                argv = (sys.executable, "-m", "pip", "install", "--quiet", "--target")
                run(
                    (*argv, str(self.folder / "uv"), "--upgrade", "--require-hashes", "-r", wanted),
                    advice="Are network and pip there? For example: apt-get install python3-pip.",
                )

    def install_pm2(self) -> None:
        """From the committed lock file."""
        npm = require("npm", "Install Node.js and npm, for example: apt-get install nodejs npm")
        lock = ROOT / "demo" / "pm2" / "package-lock.json"
        with self._missing("PM2", self.pm2, lock) as missing:
            if missing:
                target = self.folder / "pm2"
                shutil.copytree(lock.parent, target, dirs_exist_ok=True)
                run(
                    (npm, "ci", "--no-audit", "--no-fund", "--loglevel=error", "--fetch-retries=1"),
                    cwd=target,
                    advice="Is the network there?",
                )

    def install_environment(self) -> None:
        """All that the tests import, exactly as pinned, and this package in place."""
        wanted = pinned_requirements()
        python = self.environment / "bin" / "python"
        with self._missing("the pinned environment", python, wanted) as missing:
            if missing:
                self._uv("venv", "--clear", "--python", sys.executable, str(self.environment))
                self._uv("pip", "sync", "--python", str(python), "--require-hashes", str(wanted))
                argv = ("--no-deps", "--no-build-isolation", "--editable", str(ROOT))
                self._uv("pip", "install", "--python", str(python), *argv)

    def build_wheel(self, into: Path) -> None:
        """This package as a site installs it."""
        pins = ("--build-constraints", str(pinned_requirements()), "--require-hashes")
        self._uv("build", "--wheel", "--out-dir", str(into), *pins, str(ROOT))

    def _uv(self, *arguments: str) -> None:
        argv = (str(self.uv), *arguments, "--quiet")
        run(argv, advice="Is the network there?", environ=self.environ())

    @contextmanager
    def _missing(self, what: str, program: Path, pins: Path) -> Iterator[bool]:
        """Whether ``what`` is not there yet as pinned; remembered once it was installed."""
        stamp = program.with_name(f"{program.name}.pins")
        # With the place: what is installed in it names it by full path.
        pinned = f"{ROOT}\n{pins.read_text(encoding='utf-8')}"
        if program.exists() and stamp.exists() and stamp.read_text(encoding="utf-8") == pinned:
            yield False
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with progress(f"Installing {what}"):
            yield True
        stamp.write_text(pinned, encoding="utf-8")


def run(
    argv: tuple[str | Path, ...],
    *,
    advice: str,
    cwd: Path = ROOT,
    environ: dict[str, str] | None = None,
) -> str:
    """What a command printed. Raises CannotBeginError when it fails, and keeps what it said."""
    done = subprocess.run(
        argv,
        cwd=cwd,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        FAILURE.write_text(f"{' '.join(map(str, argv))}\n{done.stdout}", encoding="utf-8")
        name = Path(argv[0]).name
        raise CannotBeginError(f"{name} failed. {advice} What it said is in {FAILURE}")
    return done.stdout
