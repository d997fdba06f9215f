"""Finish or undo what a dead runner has left: with the standard library alone, also at boot.

A run that was proved is finished; one that had changed anything live is rolled back; one that had
not is only closed. Idempotent: a recovery that is killed is begun again, a few times.
"""

import os
from collections.abc import Mapping
from dataclasses import replace
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
AGAIN = "Ask for another update to go on from here."


def unfinished_runs(state: StateDirectory) -> list[str]:
    """The runs that have a journal without an end, oldest first. Ask while the lock is held."""
    return [run for run in _begun_runs(state) if not replay(state.journal(run)).status.is_final]


def _begun_runs(state: StateDirectory) -> list[str]:
    """All runs that have a journal, in the order in which they were planned."""
    folders = [path.parent for path in state.path.glob("runs/*/journal.jsonl")]
    return [folder.name for folder in sorted(folders, key=_planned_at)]


def _planned_at(folder: Path) -> float:
    # The journal's own time is that of its last recovery.
    plan = folder / "plan.json"
    return (plan if plan.exists() else folder).stat().st_mtime


def recover(
    state: StateDirectory,
    run: str,
    environ: Mapping[str, str],
    redactor: Redactor,
    *,
    is_at_boot: bool = False,
) -> Plan | None:
    """Bring one dead run to its end. The lock must be held. Returns the run's plan, if it has one.

    ``is_at_boot``: the site is not up yet, so there is nothing to restart or to ask.
    """
    progress = replay(state.journal(run))
    journal = Journal(state.journal(run), state.ballast)
    # Counted before it is made: a recovery that always kills its machine must end some time.
    journal.event("recovering", attempt=progress.recoveries + 1, pid=os.getpid())
    end_children(progress)
    _close_open_step(journal, progress)
    try:
        plan = Plan.read(state.run(run) / "plan.json")
    except (OSError, ValueError) as error:
        finish(journal, redactor, _given_up(progress, f"Its plan cannot be read: {error}"))
        journal.close()
        return None
    if run != _begun_runs(state)[-1]:
        # Whatever it has left, a later run has begun from there.
        progress.checkpoint = None
    recorder = Recorder(journal, redactor, Path(plan.checkout), recorded=len(progress.steps))
    site = Site(plan, recorder, environ)
    finish(journal, redactor, _recovered(site, progress, is_at_boot=is_at_boot))
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
        site.environments.discard(site.plan.run)
        return outcome
    checkpoint = Checkpoint.from_facts(progress.checkpoint)
    if progress.is_proved and outcome.status is Status.INTERRUPTED:
        site.state.set_live_revision(site.to_revision)
        return Outcome(
            status=Status.SUCCEEDED,
            message="The runner died after the new revision was proved to serve.",
        )
    if progress.recoveries >= ATTEMPTS:
        given_up = _given_up(progress, f"Recovery was begun {ATTEMPTS} times and did not end.")
        return replace(given_up, failed_step=outcome.failed_step)
    begun = frozenset(step.name for step in progress.steps if step.status != StepStatus.SKIPPED)
    rollback = Rollback(site, checkpoint, begun, is_at_boot=is_at_boot)
    return undo(site, rollback, outcome, is_bad=False)


def _given_up(progress: Progress, why: str) -> Outcome:
    """A person has to look, unless nothing live was changed: that is so without a checkpoint."""
    if progress.checkpoint is None:
        return Outcome(status=Status.INTERRUPTED, message=f"{DIED} {why}", hint=AGAIN)
    return Outcome(
        status=Status.ROLLBACK_FAILED,
        message=f"{DIED} {why}",
        hint=f"In the checkout: git reset --hard {progress.checkpoint['revision']}, then restart "
        "the site and ask for a forced update.",
    )


def _outcome_of_the_dead(site: Site, progress: Progress) -> Outcome:
    """How the run would have ended: its first failure, or the death of its runner."""
    forward = {"preconditions", *(step.name for step in site.plan.steps)}
    failed = [
        step for step in progress.steps if step.status is StepStatus.FAILED and step.name in forward
    ]
    if failed:
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
        hint=AGAIN,
    )
