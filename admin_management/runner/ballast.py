"""Room on a full disk: a file that is given up, so that a run can still say how it ended.

A disk that is full refuses exactly the last write, which is the one that says what happened.
"""

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

SIZE = 1024 * 1024
"""Bytes: the entries of many runs, and the index of a git work tree."""

PLENTY = 8 * SIZE
"""Bytes that must be free before it is put back: it must not take what a run has just freed."""

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)

_T = TypeVar("_T")


@dataclass(slots=True)
class Ballast:
    """The file at ``path``. ``is_given_up`` is whether this object has given it up."""

    path: Path
    is_given_up: bool = False

    def put(self) -> None:
        """Put it there, if it is missing and there is plenty of room. Never an error."""
        with suppress(OSError):
            if self.path.exists() or self._free() < PLENTY:
                return
            # Random, because a file system that compresses keeps no room for zeros.
            made = self.path.with_suffix(f".{os.getpid()}")
            try:
                made.touch(mode=0o600)
                made.write_bytes(os.urandom(SIZE))
                made.replace(self.path)
            finally:
                made.unlink(missing_ok=True)

    def give_up_if_short(self) -> None:
        """Make room for what is going to be written by others."""
        with suppress(OSError):
            if self._free() < SIZE:
                self._give_up()

    def saves(self, act: Callable[[], _T]) -> _T:
        """Do it; if the disk is full, give the ballast up and do it once more. Raises OSError."""
        try:
            return act()
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            self._give_up()
            return act()

    def _give_up(self) -> None:
        self.is_given_up = True
        self.path.unlink(missing_ok=True)

    def _free(self) -> int:
        space = os.statvfs(self.path.parent)
        return space.f_bavail * space.f_frsize
