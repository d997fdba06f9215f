"""Alive means holding the lock: one ``flock(2)`` on the checkout, held for a runner's whole life.

The kernel frees it on any death, so there is no stale lock to clean up. It is close-on-exec: a
child that inherited it would keep it held after the runner is gone.
"""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self


class Lock:
    """The right to run an update in one checkout. Use as a context manager."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @classmethod
    def try_acquire(cls, path: Path) -> "Lock | None":
        """The lock, or None at once when somebody alive holds it."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return cls(descriptor)

    @staticmethod
    def is_free(path: Path) -> bool:
        """Whether nobody holds it, without taking it: a look must not keep a runner from starting.

        By its inode in /proc/locks, proc(5). Not by its device too, which some file systems (btrfs)
        tell differently there; that another file with this inode is locked only lasts a while.
        """
        try:
            inode = str(path.stat().st_ino)
        except FileNotFoundError:
            return True
        lines = map(str.split, Path("/proc/locks").read_text(encoding="ascii").splitlines())
        return not any("FLOCK" in line and line[-3].endswith(f":{inode}") for line in lines)

    @classmethod
    def inherited(cls, descriptor: int) -> Self:
        """The lock that the launcher took and handed over; from here on no child gets it."""
        os.set_inheritable(descriptor, False)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return cls(descriptor)

    def release(self) -> None:
        """Let go of this descriptor. Harmless the second time.

        Closing, not LOCK_UN: an unlock would also take the lock from a runner that it was
        handed over to, which shares the open file description.
        """
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()
