"""Signals as something to wait for: nothing happens inside a handler."""

import os
import signal

CAUGHT = (signal.SIGHUP, signal.SIGUSR1)
"""Caught from the first moment on: they would end the process otherwise."""

STOPS = (signal.SIGTERM, signal.SIGINT)


class Signals:
    """Reads as a file descriptor does: readable while there are signals to ``take``."""

    def __init__(self) -> None:
        self._pipe, wakeup = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wakeup)
        self._catch(*CAUGHT)

    def catch_stops(self) -> None:
        """From here on SIGTERM and SIGINT do not end this process either."""
        self._catch(*STOPS)

    def fileno(self) -> int:
        return self._pipe

    def take(self) -> list[int]:
        """The signals since the last time, in their order."""
        try:
            return list(os.read(self._pipe, 4096))
        except BlockingIOError:
            return []

    @staticmethod
    def _catch(*numbers: signal.Signals) -> None:
        # Not SIG_IGN, which the children would inherit.
        for number in numbers:
            signal.signal(number, lambda *_: None)
