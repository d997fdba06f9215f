"""One child process and everything it started: output as it comes, a time-out, a sure end.

``subprocess.run(timeout=…)`` leaves grandchildren alive, and they hold the pipe open. So each
child leads a process group of its own, is read against a deadline and not to the end of file, and
whatever it leaves behind in its group is ended with it.
"""

import os
import select
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL."""

PRIVATE = 0o077
"""The umask of a child: what it writes is for the user of the site alone."""

OF_THE_SITE = -1
"""The umask that the site was started with: for what a web server of another user reads."""

CHUNK = 65_536
DRAINED_CHUNKS = 64
"""Chunks read after the exit: a grandchild that never stops writing must not hold a run up."""


class StoppedError(BaseException):
    """The runner was told to stop. Not an Exception: nothing but the story's end catches it."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a child ended: ``exit_code``, or None and the ``signal`` that ended it."""

    exit_code: int | None
    signal: int | None
    timed_out: bool

    @property
    def succeeded(self) -> bool:
        return self.exit_code == 0 and not self.timed_out

    def describe(self, timeout: float) -> str:
        if self.timed_out:
            return f"it was ended after its time-out of {timeout:g} s"
        if self.signal is not None:
            return f"it was ended by {signal.Signals(self.signal).name}"
        return f"exit code {self.exit_code}"


class Child:
    """A started child. Use as a context manager: leaving it ends the whole process group.

    ``stop`` is a descriptor that becomes readable when the runner is told to stop.
    """

    def __init__(  # noqa: PLR0913 - four of them are what a process is made of
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        environ: Mapping[str, str],
        receive: Callable[[bytes], None],
        stop: int | None = None,
        umask: int = PRIVATE,
    ) -> None:
        """Start ``argv``, without a shell, its input closed. Raises OSError if it cannot start."""
        if stop is not None and select.select([stop], [], [], 0)[0]:
            raise StoppedError
        self._receive = receive
        self._stop = stop
        self._process = subprocess.Popen(
            argv,
            cwd=cwd,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=umask,
            bufsize=0,
        )
        assert self._process.stdout is not None  # noqa: S101 - for the type checker
        self._pipe = self._process.stdout.fileno()
        os.set_blocking(self._pipe, False)
        self._exit = os.pidfd_open(self._process.pid)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._pipe, selectors.EVENT_READ)
        self._selector.register(self._exit, selectors.EVENT_READ)
        if stop is not None:
            self._selector.register(stop, selectors.EVENT_READ)

    @property
    def pid(self) -> int:
        """Also the id of its process group and session."""
        return self._process.pid

    def wait(self, timeout: float) -> Ending:
        """Pass its output on until it exits or ``timeout`` seconds are over.

        Raises StoppedError.
        """
        exited = self._read_until_exit(timeout)
        self.end()
        status = self._process.returncode
        return Ending(
            exit_code=status if status >= 0 else None,
            signal=-status if status < 0 else None,
            timed_out=not exited,
        )

    def end(self) -> None:
        """End the group: SIGTERM, time to say last words, SIGKILL. Harmless the second time."""
        if self._process.returncode is not None:
            return
        self._ignore_stop()
        deadline = time.monotonic() + GRACE
        had_ended = bool(select.select([self._exit], [], [], 0)[0])
        self._signal(signal.SIGTERM)
        self._read_until_exit(GRACE)
        if not had_ended:
            _await_group(self.pid, deadline)
        # Before the leader is reaped: until then nobody else can get its number.
        self._signal(signal.SIGKILL)
        self._process.wait()

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *exception: object) -> None:
        self.end()
        self._selector.close()
        os.close(self._exit)
        assert self._process.stdout is not None  # noqa: S101 - for the type checker
        self._process.stdout.close()

    def _ignore_stop(self) -> None:
        if self._stop is not None:
            self._selector.unregister(self._stop)
            self._stop = None

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def _read_until_exit(self, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        while (remaining := deadline - time.monotonic()) > 0:
            ready = {key.fd for key, _ in self._selector.select(remaining)}
            if self._stop in ready:
                raise StoppedError
            if self._exit in ready:
                self._drain()
                return True
            if self._pipe in ready and not self._read():
                self._selector.unregister(self._pipe)
        return False

    def _read(self) -> bool:
        try:
            data = os.read(self._pipe, CHUNK)
        except BlockingIOError:
            return False
        self._receive(data)
        return bool(data)

    def _drain(self) -> None:
        for _ in range(DRAINED_CHUNKS):
            if not self._read():
                return


def ticks_now() -> int:
    """This moment, in clock ticks since boot: what ``start_time()`` can be compared with."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK"))


def start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; with its pid that names it for good.

    Field 22 of /proc/<pid>/stat, proc(5). None if there is no such process.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(stat.rpartition(b")")[2].split()[19])


def open_process(pid: int, started: int | None) -> int | None:
    """A descriptor, pidfd_open(2), of the very process that started then; None if it is gone.

    Opened first and compared after that: what the descriptor names cannot change any more.
    """
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    if started is None or start_time(pid) != started:
        os.close(descriptor)
        return None
    return descriptor


def end_orphan(pid: int, started: int | None) -> bool:
    """End the group that a dead runner's child leads, if that very process is still there.

    SIGTERM first: git takes its locks away then.
    """
    if started is None or start_time(pid) != started:
        return False
    with suppress(ProcessLookupError):
        exited = os.pidfd_open(pid)
        try:
            deadline = time.monotonic() + GRACE
            os.killpg(pid, signal.SIGTERM)
            select.select([exited], [], [], GRACE)
            _await_group(pid, deadline)
            os.killpg(pid, signal.SIGKILL)
        finally:
            os.close(exited)
    return True


def _await_group(group: int, deadline: float) -> None:
    """Give the whole group time to end: a git below another one takes its lock away when it may.

    There is no event for this; a process that became a zombie has ended.
    """
    while time.monotonic() < deadline and _has_members(group):
        time.sleep(0.02)


def _has_members(group: int) -> bool:
    """Field 3 of /proc/<pid>/stat is the state, field 5 the process group, proc(5)."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, member_of = path.read_bytes().rpartition(b")")[2].split()[:3]
            if int(member_of) == group and state not in (b"Z", b"X"):
                return True
    return False
