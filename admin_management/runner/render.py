"""A run's log as text for people. It only ever grows, so a reader can go on from an offset."""

from collections.abc import Iterable
from datetime import datetime
from typing import Protocol

from .status import StepStatus


class RenderedStep(Protocol):
    """What of a step is shown; a journal's StepProgress and the database's StepRun both fit."""

    name: str
    started_at: datetime | None
    finished_at: datetime | None
    message: str
    hint: str

    @property
    def status(self) -> str: ...

    @property
    def output(self) -> str: ...


def render_log(steps: Iterable[RenderedStep]) -> str:
    """All steps in their order; those after one that still runs wait until it has ended."""
    parts: list[str] = []
    for step in steps:
        parts += [f"── {label(step.name)}\n", step.output]
        if step.status == StepStatus.RUNNING:
            break
        parts.append(closing_line(step) + "\n\n")
    return "".join(parts)


def label(name: str) -> str:
    """A step's name as people read it."""
    return {"fetch": "git fetch", "pull": "git pull"}.get(name, name.replace("_", " "))


def closing_line(step: RenderedStep) -> str:
    """How a step ended, in one line, and what to do about it in a second."""
    seconds = (
        f" in {(step.finished_at - step.started_at).total_seconds():.2f} s"
        if step.started_at and step.finished_at
        else ""
    )
    if step.status == StepStatus.SUCCEEDED:
        return f"✓ {label(step.name)} succeeded{seconds}"
    if step.status == StepStatus.SKIPPED:
        return f"· {label(step.name)} skipped: {step.message}"
    line = f"✗ {label(step.name)} {step.status}{seconds}"
    if step.message:
        line += f": {step.message}"
    return f"{line}\n  {step.hint}" if step.hint else line
