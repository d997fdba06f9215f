"""Which generation serves, which one comes and which ones leave; the story of a switch."""

import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

from admin_management.runner.state import StateDirectory

from .generation import Generation
from .listener import shown
from .signals import STOPS, Signals


def say(text: str) -> None:
    """One line in PM2's log of errors."""
    sys.stderr.write(f"serve: {text}\n")
    sys.stderr.flush()


class Supervisor:
    """Serves on one socket until it is told to stop."""

    def __init__(
        self,
        listener: socket.socket,
        arguments: Sequence[str],
        signals: Signals,
        state: StateDirectory | None,
        timeout: float,
    ) -> None:
        """``timeout`` is in seconds: until all workers of a new generation must be good."""
        self._listener = listener
        self._bind = shown(listener)
        self._arguments = arguments
        self._signals = signals
        self._state = state
        self._timeout = timeout
        self._attempts = 0
        self._begun_at = datetime.now(UTC)
        self._serving: Generation | None = None
        self._upcoming: Generation | None = None
        self._leaving: list[Generation] = []
        self._wanted_again = False
        self._is_stopping = False
        self._exit_code: int | None = None
        self._selector = selectors.DefaultSelector()

    def run(self) -> int:
        """Returns the exit code: 0 after a stop, else that of a gunicorn that ended by itself."""
        self._signals.catch_stops()
        self._selector.register(self._signals, selectors.EVENT_READ, self._obey)
        self._start()
        while self._exit_code is None:
            for key, _ in self._selector.select(self._until_deadline()):
                # What came before in this round may have buried it.
                if self._selector.get_map().get(key.fileobj) is key:
                    key.data()
            self._press_who_is_late()
        return self._exit_code

    # A switch

    def _start(self) -> None:
        self._attempts += 1
        self._begun_at = datetime.now(UTC)
        try:
            new = Generation(self._attempts, self._arguments, self._listener.fileno())
        except OSError as error:
            if self._serving is None:
                self._exit_code = 1
            self._conclude("refused", "code", f"gunicorn cannot be started: {error}")
            return
        new.deadline = time.monotonic() + self._timeout
        self._upcoming = new
        self._selector.register(new.reports, selectors.EVENT_READ, partial(self._hear, new))
        self._selector.register(new.exited, selectors.EVENT_READ, partial(self._bury, new))

    def _hear(self, generation: Generation) -> None:
        for report in generation.take_reports():
            if report["problem"]:
                self._find_bad(generation, report)
        if generation.is_silent:
            self._hush(generation)
        if generation is self._upcoming and generation.is_ready:
            self._switch()

    def _hush(self, generation: Generation) -> None:
        with suppress(KeyError):
            self._selector.unregister(generation.reports)

    def _find_bad(self, generation: Generation, report: dict[str, Any]) -> None:
        reason = generation.failure = report["reason"]
        if generation is self._serving:
            say(f"a worker is not good: {reason}")
        elif generation is self._upcoming and self._serving:
            self._refuse(report["problem"], reason)
        elif generation is self._upcoming and report["loaded"]:
            # There is nobody else who could serve: some answers are better than none.
            say(f"this is served only for want of anything better: {reason}")

    def _switch(self) -> None:
        new, old = self._upcoming, self._serving
        assert new is not None  # noqa: S101 - for the type checker
        new.open_gate()
        self._serving, self._upcoming = new, None
        if old is None:
            self._conclude("started", "", new.failure)
        else:
            self._leave(old)
            self._conclude("switched", "", "")

    def _refuse(self, problem: str, reason: str) -> None:
        new, self._upcoming = self._upcoming, None
        assert new is not None  # noqa: S101 - for the type checker
        self._leave(new)
        self._conclude("refused", problem, reason)

    def _leave(self, generation: Generation) -> None:
        generation.end()
        self._leaving.append(generation)

    def _conclude(self, result: str, problem: str, reason: str) -> None:
        """Say what became of the last attempt, and make the next one if it was asked for."""
        self._record(result, problem, reason)
        say(f"{result} (attempt {self._attempts})" + (f": {reason}" if reason else ""))
        if self._wanted_again and self._exit_code is None and not self._is_stopping:
            self._wanted_again = False
            self._start()

    def _record(self, result: str, problem: str, reason: str) -> None:
        if self._state is None:
            return
        try:
            self._state.set_serve_report(
                {
                    "pid": os.getpid(),
                    "bind": self._bind,
                    "generation": self._serving.number if self._serving else None,
                    "attempt": self._attempts,
                    "result": result,
                    "problem": problem,
                    "reason": reason,
                    "begun_at": self._begun_at.isoformat(timespec="microseconds"),
                    "at": datetime.now(UTC).isoformat(timespec="microseconds"),
                }
            )
        except OSError as error:
            say(f"this could not be recorded: {error}")

    # An end

    def _bury(self, generation: Generation) -> None:
        """Whatever it was: it has exited."""
        self._hear(generation)
        self._hush(generation)
        self._selector.unregister(generation.exited)
        code = generation.reap()
        if generation in self._leaving:
            self._leaving.remove(generation)
        elif generation is self._upcoming:
            self._upcoming = None
            self._lose_upcoming(code, generation.failure)
        else:
            self._serving = None
            say(f"gunicorn ended by itself with exit code {code}")
            if self._upcoming is None:
                self._exit_code = code
        if self._is_stopping and not self._leaving:
            self._exit_code = 0

    def _lose_upcoming(self, code: int, failure: str) -> None:
        if self._serving is None:
            self._exit_code = code or 1
        self._conclude("refused", "code", failure or f"gunicorn ended with exit code {code}")

    def _obey(self) -> None:
        for number in self._signals.take():
            if number in STOPS:
                self._stop()
            elif number == signal.SIGUSR1:
                self._reopen_logs()
            elif number == signal.SIGHUP and self._upcoming:
                self._wanted_again = True
                say("one more switch follows")
            elif number == signal.SIGHUP and not self._is_stopping:
                self._start()

    def _reopen_logs(self) -> None:
        for generation in (self._serving, self._upcoming, *self._leaving):
            if generation is not None:
                generation.reopen_logs()

    def _stop(self) -> None:
        if self._is_stopping:
            for generation in self._leaving:
                generation.press()
            return
        self._is_stopping = True
        # Else who connects from here on would wait for nobody.
        self._listener.close()
        if self._upcoming is not None:
            self._refuse("stopped", "the server was told to stop")
        if self._serving is not None:
            self._leave(self._serving)
            self._serving = None

    # Time

    def _until_deadline(self) -> float | None:
        waiting = [self._upcoming, *self._leaving] if self._upcoming else self._leaving
        deadlines = [each.deadline for each in waiting if each is not None and each.deadline]
        return max(0.0, min(deadlines) - time.monotonic()) if deadlines else None

    def _press_who_is_late(self) -> None:
        now = time.monotonic()
        for generation in self._leaving:
            if generation.deadline is not None and generation.deadline <= now:
                generation.press()
        new = self._upcoming
        if new is not None and new.deadline is not None and new.deadline <= now:
            reason = (
                f"{len(new.waiting)} of {new.expected} workers are ready after {self._timeout:g} s"
            )
            if self._serving is None:
                new.failure = reason
                self._switch()
            else:
                self._refuse("time-out", reason)
