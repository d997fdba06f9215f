"""Cancel a run: one that waits ends at once, one that goes on is told to stop and undoes itself."""

import logging
import os
import signal
from contextlib import suppress
from typing import Any

from .audit import Kind
from .exceptions import ConflictError
from .launcher import Requester, files_of, progress_now
from .machine import node
from .models import AuditEvent, Run
from .plain import plain
from .runner.pipeline import CANCELLED
from .runner.process import open_process
from .runner.state import private
from .runner.status import Status

logger = logging.getLogger("admin_management")


def cancel_update(run: Run, *, requester: Requester, reason: str = "") -> None:
    """Cancel a run. Returns at once: one that goes on needs a moment to put everything back.

    Raises ConflictError when it is too late: it has ended, or the new revision was proved to serve.
    """
    who = _in_one_line(f"by {requester.name}", reason)
    asked: dict[str, Any] = {"reason": reason, "address": requester.address}
    if not run.cancel(f"Cancelled {who}.", actor=requester.name, **asked):
        run.refresh_from_db()
        _check(run)
        _stop(run, who)
        AuditEvent.objects.append(
            Kind.CANCEL_REQUESTED, actor=requester.name, run_id=run.pk, **asked
        )
    logger.info("Update cancelled %s", plain(who), extra={"run": str(run.pk)})


def _check(run: Run) -> None:
    if run.status != Status.RUNNING:
        raise ConflictError(f"It has ended already: {run.status.replace('_', ' ')}.")
    if run.node != node():
        raise ConflictError(f"It goes on at {run.node}: cancel it there.")


def _stop(run: Run, who: str) -> None:
    try:
        runner = _runner_of(run)
        try:
            _leave_word(run, who)
            signal.pidfd_send_signal(runner, signal.SIGTERM)
        finally:
            os.close(runner)
    except ProcessLookupError:
        raise ConflictError("It has ended this very moment.") from None
    except PermissionError:
        raise ConflictError(
            "Its runner belongs to another user of this machine: cancel it as that user."
        ) from None


def _leave_word(run: Run, who: str) -> None:
    """Tell the runner who cancels. Of several the first one is told."""
    path = files_of(run)[0].with_name(CANCELLED)
    with suppress(FileExistsError), open(path, "x", encoding="utf-8", opener=private) as file:
        file.write(who)


def _runner_of(run: Run) -> int:
    """A descriptor of the runner's process. Raises ConflictError when it is too late for it."""
    progress = progress_now(run)
    if progress.status.is_final:
        raise ConflictError(f"It has ended already: {progress.status.replace('_', ' ')}.")
    if progress.is_proved:
        raise ConflictError(
            "It is too late: the new revision is proved to serve. Roll it back instead."
        )
    if progress.process is None:
        raise ConflictError("It is only just being started: try again in a moment.")
    runner = open_process(progress.process, progress.process_start)
    if runner is None:
        raise ConflictError("Its runner has died: what it has left is recovered by itself.")
    return runner


def _in_one_line(who: str, reason: str) -> str:
    """As the end of a sentence: without line ends and control characters, and without a stop."""
    words = " ".join("".join(c if c.isprintable() else " " for c in reason).split())
    return f"{who}: {words.rstrip('.')}" if words else who
