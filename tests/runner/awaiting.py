"""Waiting for what happens in another process, by events and not by sleeping."""

import os
import select
import signal
from contextlib import suppress
from pathlib import Path

PATIENCE = 60.0
"""Seconds until a test gives up."""


class Pipe:
    """A named pipe, through which another process and the test tell each other lines."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = path
        self._descriptor = os.open(path, os.O_RDWR)

    def line(self) -> str:
        """The next line. Fails when nobody writes one."""
        read = b""
        while not read.endswith(b"\n"):
            ready, _, _ = select.select([self._descriptor], [], [], PATIENCE)
            assert ready, f"nobody wrote to {self.path.name}"
            read += os.read(self._descriptor, 1)
        return read.decode().rstrip("\n")

    def write(self, line: str) -> None:
        os.write(self._descriptor, line.encode() + b"\n")

    def close(self) -> None:
        os.close(self._descriptor)


class Watched:
    """A process that the test looks at. Make it while the process is alive."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._descriptor = os.pidfd_open(pid)

    @property
    def is_alive(self) -> bool:
        return not self._ends_within(0)

    def ends(self) -> bool:
        """Whether it ends. Waits for that."""
        return self._ends_within(PATIENCE)

    def _ends_within(self, seconds: float) -> bool:
        return bool(select.select([self._descriptor], [], [], seconds)[0])

    def close(self) -> None:
        """Kill it, if it is still there."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)
        os.close(self._descriptor)
