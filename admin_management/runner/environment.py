"""Virtual environments: built aside, proved, switched to by one rename, never edited in place.

Killed inside ``uv sync``, 52 of 53 environments could not import Django, and uv called most of
them fine afterwards. So the live one is a symbolic link, and a new one replaces it whole.
"""

import errno
import hashlib
import json
import os
import shutil
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PROVED = "admin-management-proved"
"""A file in each environment that was finished and imported from."""

SPARE = 2
"""Environments kept beside the live one: what still serves, and what to go back to."""

_TAKEN_OVER = "taken-over"
PINNED_PYTHON = ".python-version"


@dataclass(frozen=True, slots=True)
class Environments:
    """The environments of one checkout: ``folder`` holds them, ``link`` names the live one."""

    folder: Path
    link: Path

    def key(self, tree: Path, base_python: str) -> str:
        """Names the environment that a source tree asks for: same key, same environment."""
        digest = hashlib.sha256(base_python.encode())
        for content in (_project(tree), _content(tree / "uv.lock"), _content(tree / PINNED_PYTHON)):
            digest.update(f"{len(content)} ".encode() + content)
        return digest.hexdigest()[:16]

    def is_live(self, key: str) -> bool:
        """Whether the live environment is one of ours, proved, and of this key."""
        if not self.link.is_symlink():
            return False
        target = self.link.resolve()
        return target.name.partition("-")[0] == key and (target / PROVED).exists()

    def start_new(self, key: str, run: str) -> Path:
        """An unused path for a new environment; the remains of an earlier try are removed."""
        path = self.folder / f"{key}-{run[:8]}"
        shutil.rmtree(path, ignore_errors=True)
        return path

    def share_bytecode(self, built: Path) -> None:
        """Give a new environment what the live one has compiled of the very same sources.

        uv compiles nothing, and to compile Django takes longer than all the rest of a rehearsal.
        """
        live = self.link.resolve()
        for cache in live.glob("lib/python*/site-packages/**/__pycache__"):
            sources = built / cache.parent.relative_to(live)
            for compiled in cache.glob("*.pyc"):
                if _is_compiled_from(sources / f"{compiled.name.partition('.')[0]}.py", compiled):
                    # Python never writes into such a file; it replaces it.
                    with suppress(OSError):
                        (sources / cache.name).mkdir(exist_ok=True)
                        os.link(compiled, sources / cache.name / compiled.name)

    def switch_to(self, environment: Path, run: str) -> None:
        """Make it the live one, for ``run``. There is no moment without a live one.

        A plain environment at the live path is kept beside the others. Raises OSError, also when
        something else is there.
        """
        is_plain = self.link.exists() and not self.link.is_symlink()
        if is_plain and not (self.link / "pyvenv.cfg").exists():
            raise OSError(errno.ENOTDIR, "not a virtual environment", str(self.link))
        (environment / PROVED).touch()
        replacement = self.link.with_name(self.link.name + ".new")
        self._clear(replacement, run)
        # Resolved: the system follows the link from where its folder really is.
        target = os.path.relpath(environment.resolve(), self.link.parent.resolve())
        replacement.symlink_to(target)
        if is_plain:
            _exchange(replacement, self.link)
            self._clear(replacement, run)
        else:
            replacement.replace(self.link)

    def before(self, run: str) -> str:
        """Names what is live now, so that ``switch_back()`` finds it after ``run`` has switched."""
        if not self.link.is_symlink():
            return _taken_over(run)
        target = self.link.resolve()
        # The link of a site's own may lead anywhere.
        return target.name if target.parent == self.folder.resolve() else str(target)

    def switch_back(self, name: str, run: str) -> bool:
        """Make live again what ``before()`` has named. False if it still is. Raises OSError."""
        self._clear(self.link.with_name(self.link.name + ".new"), run)
        wanted = self.folder / name
        if self.link.resolve() == wanted.resolve() or not (self.link.is_symlink()):
            return False
        if not (wanted / "pyvenv.cfg").exists():
            raise OSError(errno.ENOENT, "the environment from before is gone", str(wanted))
        self.switch_to(wanted, run)
        return True

    def _clear(self, leftover: Path, run: str) -> None:
        """Free a path; a plain environment found there is kept beside the others."""
        if leftover.is_dir() and not leftover.is_symlink():
            leftover.rename(self.folder / _taken_over(run))
        else:
            leftover.unlink(missing_ok=True)

    def discard(self, run: str) -> None:
        """Delete what a run has built that did not go live."""
        live = self.link.resolve()
        for path in self.folder.glob(f"*-{run[:8]}"):
            if path.resolve() != live and not path.name.startswith(_TAKEN_OVER):
                shutil.rmtree(path, ignore_errors=True)

    def prune(self) -> None:
        """Delete all but the live environment and the newest spare ones."""
        live = self.link.resolve()
        # Nothing here may fail: the new revision serves already.
        with suppress(OSError):
            others = [each for each in self.folder.iterdir() if each.resolve() != live]
            others.sort(key=_worth, reverse=True)
            for old in others[SPARE:]:
                shutil.rmtree(old, ignore_errors=True)


def _is_compiled_from(source: Path, compiled: Path) -> bool:
    """By the time and size of its source, in the header of a file of bytecode (PEP 552)."""
    try:
        found = source.stat()
        with compiled.open("rb") as file:
            _, flags, time, size = struct.unpack("<4sIII", file.read(16))
    except (OSError, struct.error):
        return False
    wanted = (int(found.st_mtime) & 0xFFFFFFFF, found.st_size & 0xFFFFFFFF)
    return flags == 0 and (time, size) == wanted


def _project(tree: Path) -> bytes:
    """What of pyproject.toml an environment depends on: the rest is for other tools."""
    # Not at the top: it takes 10 ms, and a run that has nothing to do does not come here.
    import tomllib

    content = _content(tree / "pyproject.toml")
    try:
        project = tomllib.loads(content.decode())
    except ValueError:
        return content
    uv = project.get("tool", {}).get("uv", {})
    parts = [project.get(name) for name in ("project", "build-system", "dependency-groups")]
    return json.dumps([*parts, uv], sort_keys=True, default=str).encode()


def _content(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def _worth(environment: Path) -> tuple[bool, float]:
    """One that was never finished is of no use to go back to."""
    is_whole = (environment / PROVED).exists() or environment.name.startswith(_TAKEN_OVER)
    return is_whole, environment.lstat().st_mtime


def _taken_over(run: str) -> str:
    """The name of the plain environment that a run has found at the live path."""
    return f"{_TAKEN_OVER}-{run[:8]}"


def _exchange(one: Path, other: Path) -> None:
    """Swap two paths in one step: renameat2(2) with RENAME_EXCHANGE, Linux only."""
    # Not at the top: only the first update of a site comes here.
    import ctypes

    at_fdcwd, rename_exchange = -100, 2
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        renameat2 = libc.renameat2
    except AttributeError:
        raise OSError(errno.ENOSYS, "cannot swap a folder and a link", str(other)) from None
    if renameat2(at_fdcwd, os.fsencode(one), at_fdcwd, os.fsencode(other), rename_exchange):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(other))
