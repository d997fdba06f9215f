"""Executing the commands of one step at a time, and writing down how each step went."""

import select
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from .hints import hint_for
from .journal import Journal
from .output import OutputSink
from .process import PRIVATE, Child, Ending, StoppedError, start_time
from .redact import Redactor
from .status import StepStatus

CANNOT_START = 127
"""The exit code that shells give for a program that is not there."""


class StepFailedError(Exception):
    """A step failed: what happened, and in ``hint`` what to do about it."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Recorder:
    """Numbers the steps of a run and writes each into the journal, however it ends."""

    def __init__(
        self,
        journal: Journal,
        redactor: Redactor,
        checkout: Path,
        stop: int | None = None,
        *,
        recorded: int = 0,
    ) -> None:
        self.journal = journal
        self.redactor = redactor
        self.checkout = checkout
        self.stop = stop
        self.position = recorded - 1
        self.current_step = ""

    @contextmanager
    def step(
        self, name: str, argv: Sequence[str] = (), timeout: float = 0
    ) -> Iterator["StepExecution"]:
        """Record what happens inside as one step; errors are recorded and passed on."""
        self.position += 1
        self.current_step = name
        shown = [self.redactor.line(word) for word in argv]
        self.journal.event("step_started", step=self.position, name=name, argv=shown)
        execution = StepExecution(self, name, timeout)
        try:
            yield execution
        except StepFailedError as failure:
            execution.finish(StepStatus.FAILED, message=str(failure), hint=failure.hint)
            raise
        except StoppedError:
            execution.finish(StepStatus.INTERRUPTED)
            raise
        except Exception as error:
            execution.finish(StepStatus.FAILED, message=str(error))
            raise
        execution.finish(execution.status, message=execution.message)


class StepExecution:
    """One step in progress. Its commands share the step's time-out and its output."""

    def __init__(self, recorder: Recorder, name: str, timeout: float) -> None:
        self.status = StepStatus.SUCCEEDED
        self.message = ""
        self._recorder = recorder
        self._name = name
        self._timeout = timeout
        self._deadline = time.monotonic() + timeout
        self._ending: Ending | None = None
        self._lost_lines = 0
        self._sink = OutputSink(self._emit, recorder.redactor)

    def skip(self, reason: str) -> None:
        self.status, self.message = StepStatus.SKIPPED, reason

    def fail_softly(self, reason: str) -> None:
        """Record the step as failed and go on."""
        self.status, self.message = StepStatus.FAILED, reason

    @property
    def exit_code(self) -> int | None:
        """Of the last command."""
        return self._ending.exit_code if self._ending else None

    def stop_if_told(self) -> None:
        """Raises StoppedError when the runner was told to stop."""
        self.pause(0)

    def pause(self, seconds: float) -> None:
        """Do nothing for a while. Raises StoppedError as soon as the runner is told to stop."""
        stop = self._recorder.stop
        if select.select([] if stop is None else [stop], [], [], seconds)[0]:
            raise StoppedError

    def say(self, line: str) -> None:
        """Write a line of our own into the step's output."""
        self._sink.receive(f"{line}\n".encode(errors="replace"))

    def run(
        self,
        argv: Sequence[str],
        environ: Mapping[str, str],
        *,
        cwd: Path | None = None,
        umask: int = PRIVATE,
    ) -> None:
        """Execute one command. Raises StepFailedError unless it exits with 0 in time."""
        self._ending = self._execute(argv, environ, cwd or self._recorder.checkout, umask)
        if not self._ending.succeeded:
            raise StepFailedError(
                self._ending.describe(self._timeout), hint=hint_for(self._name, self._ending)
            )

    def finish(self, status: StepStatus, *, message: str = "", hint: str = "") -> None:
        self._sink.close()
        self._recorder.journal.event(
            "step_finished",
            step=self._recorder.position,
            status=status,
            message=self._recorder.redactor.line(message),
            hint=hint,
            output_bytes=self._sink.total,
            output_sha256=self._sink.sha256 if self._sink.total else "",
            **({"lost_lines": self._lost_lines} if self._lost_lines else {}),
            **(asdict(self._ending) if self._ending else {}),
        )

    def _execute(
        self, argv: Sequence[str], environ: Mapping[str, str], cwd: Path, umask: int
    ) -> Ending:
        recorder = self._recorder
        try:
            child = Child(
                argv,
                cwd=cwd,
                environ=environ,
                receive=self._sink.receive,
                stop=recorder.stop,
                umask=umask,
            )
        except OSError as error:
            self._sink.receive(f"{argv[0]} cannot be started: {error.strerror}\n".encode())
            return Ending(exit_code=CANNOT_START, signal=None, timed_out=False)
        with child:
            recorder.journal.event(
                "child",
                step=recorder.position,
                process=child.pid,
                process_start=start_time(child.pid),
            )
            return child.wait(self._deadline - time.monotonic())

    def _emit(self, text: str) -> None:
        if not self._recorder.journal.output(self._recorder.position, text):
            self._lost_lines += text.count("\n")
