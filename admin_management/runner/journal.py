"""The journal: the append-only file a run writes while it happens, and its reading.

One JSON object per line, each with ``at`` (UTC, ISO 8601) and ``event``. While a run lives its
journal is the only truth; the database learns it afterwards. Everything that says what was done
is fsynced; step output is only written, so that a talkative step does not wait for the disk. On a
full disk output is given up, and what was done is still written, in place of the ballast.
"""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .ballast import Ballast
from .status import Status, StepStatus


class Journal:
    """Appends events to one run's file. Times are those of writing.

    ``ballast`` is given up when the disk is full.
    """

    def __init__(self, path: Path, ballast: Ballast | None = None) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(path, flags, 0o600)
        self._torn = False
        self._ballast = ballast or Ballast(path.with_name("ballast"))

    def event(self, name: str, /, **facts: object) -> None:
        self._ballast.saves(lambda: self._write(name, facts))
        self._ballast.saves(lambda: os.fsync(self._descriptor))

    def output(self, step: int, text: str) -> bool:
        """False if there is no room for it: output is never worth what the ballast has freed."""
        if self._ballast.is_given_up:
            return False
        try:
            self._write("output", {"step": step, "text": text})
        except OSError:
            return False
        return True

    def close(self) -> None:
        os.close(self._descriptor)

    def _write(self, name: str, facts: dict[str, object]) -> None:
        entry = {"at": datetime.now(UTC).isoformat(), "event": name, **facts}
        # After a line that a full disk cut off, this one must begin on its own.
        start = b"\n" if self._torn else b""
        line = memoryview(start + json.dumps(entry).encode("ascii") + b"\n")
        self._torn = True
        while line:
            line = line[os.write(self._descriptor, line) :]
        self._torn = False


def storable(text: str) -> str:
    """As every database can keep it: without NUL and halves of characters.

    The name of a file, and what somebody writes at a shell, may be bytes that are no text.
    """
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()


@dataclass(slots=True)
class StepProgress:
    """What the journal says of one step so far. ``exit_code`` is None when a signal ended it."""

    name: str
    argv: list[str] = field(default_factory=list)
    status: StepStatus = StepStatus.RUNNING
    started_at: datetime | None = None
    finished_at: datetime | None = None
    exit_code: int | None = None
    signal: int | None = None
    timed_out: bool = False
    message: str = ""
    hint: str = ""
    lines: list[str] = field(default_factory=list)
    output_bytes: int = 0
    output_sha256: str = ""
    process: int | None = None
    process_start: int | None = None

    @property
    def output(self) -> str:
        return "".join(self.lines)


@dataclass(slots=True)
class Progress:
    """What the journal says of one run so far. ``process`` is its runner."""

    status: Status = Status.RUNNING
    started_at: datetime | None = None
    finished_at: datetime | None = None
    from_revision: str = ""
    to_revision: str = ""
    failed_step: str = ""
    message: str = ""
    hint: str = ""
    steps: list[StepProgress] = field(default_factory=list)
    checkpoint: dict[str, Any] | None = None
    is_proved: bool = False
    recoveries: int = 0
    process: int | None = None
    process_start: int | None = None
    last_at: datetime | None = None

    @property
    def needs_recovery(self) -> bool:
        """Whether it ended in the middle of what it changed. Ask only when its runner is dead."""
        return self.checkpoint is not None and not self.status.is_final

    def interrupt(self, message: str) -> None:
        """Complete the story of a runner that died: nobody else will."""
        self.status = Status.INTERRUPTED
        self.message = message
        # When it died is not known; that it lived until then is.
        self.finished_at = self.last_at
        self.close_steps()

    def close_steps(self) -> None:
        """No step goes on when its run has ended."""
        for step in self.steps:
            if step.status is StepStatus.RUNNING:
                step.status = StepStatus.INTERRUPTED
                step.finished_at = self.last_at
                self.failed_step = step.name


def replay(path: Path) -> Progress:
    """Read a journal from its beginning. An absent file reads as a run that did nothing yet.

    What cannot be understood is passed over: a line cut off by a crash or a full disk, and an event
    that another version wrote. A run whose end is not understood reads as one that did not end.
    """
    progress = Progress()
    for entry in _entries(path):
        with suppress(ValueError, TypeError, KeyError, IndexError, AttributeError):
            apply = _APPLY.get(entry["event"])
            progress.last_at = _time(entry)
            if apply is not None:
                apply(progress, entry)
    return progress


def _entries(path: Path) -> Iterator[dict[str, Any]]:
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            yield entry


def _time(entry: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(entry["at"])


def _started(progress: Progress, entry: dict[str, Any]) -> None:
    progress.started_at = _time(entry)
    progress.process, progress.process_start = entry.get("pid"), entry.get("process_start")


def _revisions(progress: Progress, entry: dict[str, Any]) -> None:
    progress.from_revision = entry["from_revision"]
    progress.to_revision = entry["to_revision"]


def _step_started(progress: Progress, entry: dict[str, Any]) -> None:
    # A path in it may be bytes that are no text.
    argv = [storable(word) for word in entry["argv"]]
    progress.steps.append(StepProgress(name=entry["name"], argv=argv, started_at=_time(entry)))


def _child(progress: Progress, entry: dict[str, Any]) -> None:
    step = progress.steps[entry["step"]]
    step.process, step.process_start = entry["process"], entry["process_start"]


def _output(progress: Progress, entry: dict[str, Any]) -> None:
    progress.steps[entry["step"]].lines.append(storable(entry["text"]))


def _step_finished(progress: Progress, entry: dict[str, Any]) -> None:
    step = progress.steps[entry["step"]]
    step.finished_at = _time(entry)
    step.status = StepStatus(entry["status"])
    for name in ("exit_code", "signal", "timed_out"):
        setattr(step, name, entry.get(name, getattr(step, name)))
    step.message, step.hint = storable(entry.get("message", "")), storable(entry.get("hint", ""))
    step.output_bytes = entry.get("output_bytes", 0)
    step.output_sha256 = entry.get("output_sha256", "")
    if lost := entry.get("lost_lines"):
        step.lines.append(f"[… {lost:,} lines could not be written: the disk was full …]\n")


def _checkpoint(progress: Progress, entry: dict[str, Any]) -> None:
    progress.checkpoint = entry


def _rolling_back(progress: Progress, entry: dict[str, Any]) -> None:
    # From here on the old revision is wanted, whatever had been proved.
    progress.is_proved = False


def _proved(progress: Progress, entry: dict[str, Any]) -> None:
    progress.is_proved = True


def _recovering(progress: Progress, entry: dict[str, Any]) -> None:
    progress.recoveries += 1


def _finished(progress: Progress, entry: dict[str, Any]) -> None:
    progress.status = Status(entry["status"])
    progress.finished_at = _time(entry)
    for name in ("failed_step", "message", "hint"):
        setattr(progress, name, storable(entry.get(name, "")))
    progress.close_steps()


_APPLY = {
    "started": _started,
    "revisions": _revisions,
    "step_started": _step_started,
    "child": _child,
    "output": _output,
    "step_finished": _step_finished,
    "checkpoint": _checkpoint,
    "proved": _proved,
    "recovering": _recovering,
    "rolling_back": _rolling_back,
    "finished": _finished,
}
