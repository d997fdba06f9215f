"""Finish or undo what a dead runner has left: with the standard library alone, also at boot.

A run that was proved is finished; one that had changed anything live is rolled back; one that had
not is only closed. Idempotent: a recovery that is killed is begun again, a few times.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from .checkpoint import Checkpoint
from .execution import Recorder
from .journal import Journal, Progress, replay
from .pipeline import Outcome, finish, undo
from .plan import Plan
from .process import end_orphan
from .redact import Redactor
from .rehearsal import remove_work_trees
from .rollback import Rollback
from .site import Site
from .state import StateDirectory
from .status import Status, StepStatus

ATTEMPTS = 3
"""How often a recovery is begun until a person has to look."""

DIED = "The runner died before it could finish."


def unfinished_runs(state: StateDirectory) -> list[str]:
    """The runs that have a journal without an end, oldest first. Ask while the lock is held."""
    journals = sorted(
        state.path.glob("runs/*/journal.jsonl"), key=lambda path: path.stat().st_mtime
    )
    return [path.parent.name for path in journals if not replay(path).status.is_final]


def recover(
    state: StateDirectory,
    run: str,
    environ: Mapping[str, str],
    redactor: Redactor,
    *,
    is_at_boot: bool = False,
) -> Plan | None:
    """Bring one dead run to its end. The lock must be held. Returns its plan, if that is readable.

    ``is_at_boot``: the site is not up yet, so there is nothing to restart or to ask.
    """
    progress = replay(state.journal(run))
    journal = Journal(state.journal(run))
    # Counted before it is made: a recovery that always kills its machine must end some time.
    journal.event("recovering", attempt=progress.recoveries + 1, pid=os.getpid())
    end_children(progress)
    _close_open_step(journal, progress)
    plan: Plan | None = None
    try:
        plan = Plan.read(state.run(run) / "plan.json")
    except (OSError, ValueError, TypeError, KeyError) as error:
        outcome = _given_up(progress, f"Its plan cannot be read: {error}.")
    else:
        recorder = Recorder(journal, redactor, Path(plan.checkout), recorded=len(progress.steps))
        outcome = _recovered(Site(plan, recorder, environ), progress, is_at_boot=is_at_boot)
    finish(journal, redactor, outcome)
    journal.close()
    return plan


def end_children(progress: Progress) -> None:
    """End what the dead runner's last step had started and is still at work."""
    for step in progress.steps:
        if step.status is StepStatus.RUNNING and step.process is not None:
            end_orphan(step.process, step.process_start)


def _close_open_step(journal: Journal, progress: Progress) -> None:
    for position, step in enumerate(progress.steps):
        if step.status is StepStatus.RUNNING:
            journal.event("step_finished", step=position, status=StepStatus.INTERRUPTED)


def _recovered(site: Site, progress: Progress, *, is_at_boot: bool) -> Outcome:
    site.to_revision = progress.to_revision
    outcome = _outcome_of_the_dead(site, progress)
    remove_work_trees(site)
    if progress.checkpoint is None:
        return outcome
    checkpoint = Checkpoint.from_facts(progress.checkpoint)
    if progress.is_proved:
        site.state.set_live_revision(site.to_revision)
        return Outcome(
            status=Status.SUCCEEDED,
            message="The runner died after the new revision was proved to serve.",
        )
    if progress.recoveries >= ATTEMPTS:
        return _given_up(progress, f"Recovery was begun {ATTEMPTS} times and did not end.")
    begun = frozenset(step.name for step in progress.steps if step.status != StepStatus.SKIPPED)
    rollback = Rollback(site, checkpoint, begun, is_at_boot=is_at_boot)
    return undo(site, rollback, outcome, is_bad=False)


def _given_up(progress: Progress, why: str) -> Outcome:
    """Nothing live was changed before there was a checkpoint."""
    if progress.checkpoint is None:
        return Outcome(status=Status.INTERRUPTED, message=f"{DIED} {why}")
    return Outcome(
        status=Status.ROLLBACK_FAILED,
        message=f"{DIED} {why}",
        hint=f"In the checkout: git reset --hard {progress.checkpoint['revision']}, restart the "
        "site, then ask for a forced update.",
    )


def _outcome_of_the_dead(site: Site, progress: Progress) -> Outcome:
    """How the run would have ended: its first failure, or the death of its runner."""
    failed = [step for step in progress.steps if step.status is StepStatus.FAILED]
    was_failing = site.state.rolled_back().get(site.to_revision) == site.plan.run
    if failed and was_failing:
        message = f"{failed[0].name} failed: {failed[0].message}."
        return Outcome(
            status=Status.FAILED,
            failed_step=failed[0].name,
            message=f"{message} {DIED}",
            hint=failed[0].hint,
        )
    running = [step.name for step in progress.steps if step.status is StepStatus.RUNNING]
    last = running or [step.name for step in progress.steps[-1:]]
    return Outcome(
        status=Status.INTERRUPTED,
        failed_step=last[-1] if last else "",
        message=DIED,
        hint="Ask for another update to go on from here.",
    )
