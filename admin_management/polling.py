"""Look at the remote, and ask for a run if its tip is not live: no push is lost for long."""

from .conf import AdminManagementSettings
from .exceptions import AdminManagementError
from .launcher import Requester, request_update
from .machine import open_repository
from .models import Hold, Run, Trigger
from .redaction import redactor
from .runner.execution import StepFailedError
from .runner.git import GitError
from .runner.preconditions import check_remote_address
from .runner.state import NotAGitCheckoutError, StateDirectory
from .runner.status import Status

POLL = Requester(name="poll")


class RemoteError(AdminManagementError):
    """The remote could not be asked, or the checkout not be read; the message says why."""


def poll(*, retries: bool = True) -> str:
    """Ask for a run if the remote's tip needs one. Returns what was done, and why, as a sentence.

    A tip whose last run failed by itself is not tried again. After an interrupted run there is one
    more, if ``retries``. Raises RemoteError.
    """
    if reason := _why_not_now():
        return reason
    try:
        state, live, tip = _look()
    except (
        *(AdminManagementError, StepFailedError, NotAGitCheckoutError),
        *(GitError, OSError),
    ) as error:
        raise RemoteError(" ".join(redactor().line(str(error)).split())) from None
    name = tip[:7]
    if tip == live:
        return f"{name} is live."
    if undone := state.rolled_back().get(tip):
        return f"{name} was rolled back by the update {undone[:8]}: waiting for a correction."
    if reason := _why_not_again(tip, retries=retries):
        return f"{name} is not live. {reason}"
    run_id, _ = request_update(
        trigger=Trigger.POLL, requester=POLL, reason=f"{name} is not live", expected=tip
    )
    return f"{name} is not live: update {run_id} requested."


def _why_not_now() -> str:
    """Why the remote need not be asked; empty if it must be."""
    runs = Run.objects.here()
    if pending := runs.pending():
        return f"The update {pending.pk} is {pending.status}: it looks at the remote itself."
    return str(Hold.objects.in_force() or "")


def _look() -> tuple[StateDirectory, str, str]:
    """The state, the live revision and the remote's tip."""
    conf = AdminManagementSettings.load()
    state = StateDirectory.of(conf.checkout)
    repository = open_repository(conf)
    live = state.live_revision() or repository.revision()
    check_remote_address(conf.remote, repository)
    return state, live, repository.remote_tip(conf.remote, conf.branch)


def _why_not_again(tip: str, *, retries: bool) -> str:
    """Why no run goes for this tip by itself; empty if one may."""
    ended = Run.objects.here().finished().order_by("-finished_at")
    last = ended.filter(to_revision=tip).first()
    if last is None or last.status == Status.SUCCEEDED:
        return ""
    if last.status != Status.INTERRUPTED:
        told = last.status.replace("_", " ")
        return f"Its update {last.short_id} ended as {told}: it is not asked for again by itself."
    before = ended.exclude(pk=last.pk).first()
    was_retried = (
        before is not None
        and before.status == Status.INTERRUPTED
        and before.to_revision in ("", tip)
    )
    if retries and not was_retried:
        return ""
    return f"Its update {last.short_id} was interrupted: it is not asked for again by itself."
