"""One gunicorn on the shared socket: started, listened to, ended."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

QUICK = 5.0
"""Seconds that a generation which serves nobody has for its end."""

SLACK = 5.0
"""Seconds that gunicorn may need beyond its own graceful time-out, and then for a quick end."""


class Generation:
    """A gunicorn with its workers, from its start until its process is gone.

    Its workers report on a pipe how they are, and accept nothing before the gate is open. The gate
    is an eventfd that nobody ever reads: once written it is open for every worker, those that come
    later too, and the death of this process opens none.
    """

    def __init__(self, number: int, arguments: Sequence[str], listener: int) -> None:
        """Raises OSError if it cannot be started."""
        self.number = number
        self.deadline: float | None = None
        self.expected = 0
        self.waiting: set[int] = set()
        self.failure = ""
        self.is_silent = False
        self._is_open = False
        self._grace = 0.0
        self._harder = [signal.SIGQUIT, signal.SIGKILL]
        self._rest = b""
        self._gate = os.eventfd(0)
        self.reports, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            # Only its pid and wait() are used: all else may reap it, and free its number too early.
            self._process = _start(arguments, (listener, writer, self._gate))
        except OSError:
            self._close(self.reports, self._gate)
            raise
        finally:
            os.close(writer)
        self.exited = os.pidfd_open(self._process.pid)

    @property
    def is_ready(self) -> bool:
        """Whether all of its workers wait at the gate."""
        return 0 < self.expected <= len(self.waiting)

    def take_reports(self) -> list[dict[str, Any]]:
        """What its workers have said of themselves since the last time."""
        lines: list[bytes] = []
        with suppress(BlockingIOError):
            while data := os.read(self.reports, 65_536):
                *complete, self._rest = (self._rest + data).split(b"\n")
                lines += complete
            self.is_silent = True
        reports = [json.loads(line) for line in lines]
        return [report for report in reports if self._is_of_a_worker(report)]

    def _is_of_a_worker(self, report: dict[str, Any]) -> bool:
        if "workers" in report:
            self.expected, self._grace = report["workers"], report["grace"]
            return False
        if "gone" in report:
            self.waiting.discard(report["gone"])
            return False
        if report["loaded"]:
            self.waiting.add(report["pid"])
        return True

    def open_gate(self) -> None:
        """Let its workers accept, those of now and those to come."""
        os.eventfd_write(self._gate, 1)
        self._is_open = True
        self.deadline = None

    def reopen_logs(self) -> None:
        # Before it has workers it has no handler either, and SIGUSR1 would end it.
        if self.waiting:
            self._signal(signal.SIGUSR1)

    def end(self) -> None:
        """End it: gracefully if it has served, else with all that it started.

        When ``deadline`` is over, ``press``.
        """
        if self._is_open:
            self._signal(signal.SIGTERM)
            self.deadline = time.monotonic() + self._grace + SLACK
        else:
            self._signal_group(signal.SIGTERM)
            self._harder = [signal.SIGKILL]
            self.deadline = time.monotonic() + QUICK

    def press(self) -> None:
        """The next harder way to end it. The last one spares nothing that it started."""
        number = self._harder.pop(0) if self._harder else signal.SIGKILL
        if number == signal.SIGKILL:
            self._signal_group(number)
        else:
            self._signal(number)
        self.deadline = time.monotonic() + SLACK

    def reap(self) -> int:
        """Forget it when it has exited. Its exit code, or 128 and the signal that ended it.

        Of one that was never let in nothing stays: its group is ended before its leader is reaped,
        as long as no other group can have its number.
        """
        if not self._is_open:
            self._signal_group(signal.SIGKILL)
        code = self._process.wait()
        self._close(self.exited, self.reports, self._gate)
        return code if code >= 0 else 128 - code

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.exited, number)

    def _signal_group(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    @staticmethod
    def _close(*descriptors: int) -> None:
        for descriptor in descriptors:
            os.close(descriptor)


def _start(arguments: Sequence[str], handed: tuple[int, int, int]) -> subprocess.Popen[bytes]:
    """Gunicorn, in a process group of its own."""
    numbers = ",".join(map(str, (os.getpid(), *handed)))
    # The path of this interpreter leads through the link to the environment that is live now,
    # which may be another one than ours.
    argv = (sys.executable, "-m", "admin_management.serve_gunicorn", numbers, *arguments)
    return subprocess.Popen(argv, stdin=subprocess.DEVNULL, pass_fds=handed, process_group=0)
