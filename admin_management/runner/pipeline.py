"""The story of one update: try it beside, then switch; the first failure ends it and is undone."""

import os
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from .checkpoint import Checkpoint, new_files
from .dependencies import Dependencies
from .execution import Recorder, StepFailedError
from .history import check_history
from .journal import Journal
from .plan import Plan, Step
from .preconditions import check_all, some_of
from .process import StoppedError, start_time
from .proof import BEGINNING, Moment, Proof, UnhealthyError, load_http
from .redact import Redactor
from .rehearsal import Report, rehearse, remove_work_trees
from .rollback import IRREVERSIBLE, UNDO_TIMEOUT, Rollback
from .signatures import check_signature
from .site import Site
from .status import Status

CANCELLED = "cancel"
"""The file in a run's folder by which a person cancels it; its text is who and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a run ended."""

    status: Status
    message: str
    failed_step: str = ""
    hint: str = ""


def perform(
    plan: Plan,
    journal: Journal,
    environ: Mapping[str, str],
    redactor: Redactor,
    stop: int | None = None,
) -> None:
    """Execute the plan and tell the journal. Every way out but a crash writes the run's end.

    It is interrupted, and undone, when ``stop`` becomes readable.
    """
    pid = os.getpid()
    # By both a person finds the runner who wants to cancel it.
    journal.event("started", run=plan.run, pid=pid, process_start=start_time(pid), force=plan.force)
    recorder = Recorder(journal, redactor, Path(plan.checkout), stop)
    finish(journal, redactor, _outcome(Site(plan, recorder, environ)))


def finish(journal: Journal, redactor: Redactor, outcome: Outcome) -> None:
    """Write the run's end into its journal."""
    facts = asdict(outcome) | {"message": redactor.line(outcome.message)}
    journal.event("finished", **facts)


def _outcome(site: Site) -> Outcome:
    update = Update(site)
    try:
        return update.perform()
    except (StepFailedError, StoppedError, Exception) as error:
        outcome = _ending(site, error)
        if update.checkpoint is None:
            remove_work_trees(site)
            site.environments.discard(site.plan.run)
            return outcome
        site.recorder.stop = None
        rollback = Rollback(site, update.checkpoint, frozenset(update.begun))
        # Before the pull nothing of the revision was live that could have been to blame.
        is_bad = "pull" in update.begun and not _is_no_fault(error)
        return undo(site, rollback, outcome, is_bad=is_bad)


def undo(site: Site, rollback: Rollback, outcome: Outcome, *, is_bad: bool) -> Outcome:
    """Roll back after ``outcome``. ``is_bad``: the revision is to blame, and not tried again."""
    revision = rollback.checkpoint.revision[:7]
    site.recorder.journal.event("rolling_back")
    if is_bad:
        # First: should this process die now, nobody tries the revision once more.
        with _told_if_it_fails():
            site.state.quarantine(site.to_revision, site.plan.run)
    if not rollback.perform():
        problems = "; ".join(rollback.problems)
        return replace(
            outcome,
            status=Status.ROLLBACK_FAILED,
            message=f"{outcome.message} Going back to {revision} did not succeed: {problems}.",
            hint="What the site depends on is down: bring it back, then ask for an update."
            if rollback.is_dependency
            else f"In {site.plan.checkout}: look at git status and pm2 logs; mend the cause, then "
            "ask for a forced update.",
        )
    site.environments.discard(site.plan.run)
    notes = "".join(f" But {note}." for note in rollback.notes)
    is_failure = outcome.status is Status.FAILED
    return replace(
        outcome,
        status=Status.ROLLED_BACK if is_failure else outcome.status,
        message=f"{outcome.message} The site is back at {revision}.{notes}",
    )


def _ending(site: Site, error: BaseException) -> Outcome:
    step = site.recorder.current_step
    if isinstance(error, StoppedError):
        return _stopped(site, step)
    if isinstance(error, StepFailedError):
        return Outcome(
            status=Status.FAILED,
            failed_step=step,
            message=f"{step} failed: {error}",
            hint=error.hint,
        )
    # A run must not end without saying so. The details are in runner.log.
    traceback.print_exception(error)
    return Outcome(
        status=Status.FAILED,
        failed_step=step,
        message=f"{step} failed: {error}",
        hint=f"The details are in {site.plan.state_directory}/runner.log.",
    )


def _stopped(site: Site, step: str) -> Outcome:
    try:
        who = (site.folder / CANCELLED).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return Outcome(
            status=Status.INTERRUPTED,
            failed_step=step,
            message="The runner was told to stop.",
            hint="Ask for another update to go on from here.",
        )
    return Outcome(status=Status.CANCELLED, failed_step=step, message=f"Cancelled {who}.")


def _is_no_fault(error: BaseException) -> bool:
    """Whether the revision is not to blame: somebody stopped it, or what it depends on is down."""
    is_dependency = isinstance(error, UnhealthyError) and error.is_dependency
    return is_dependency or isinstance(error, StoppedError)


@contextmanager
def _told_if_it_fails() -> Iterator[None]:
    """Around what is written beside the story of a run: it is no reason to end it otherwise."""
    try:
        yield
    except OSError as error:
        traceback.print_exception(error)


class Update:
    """One update in progress. ``begun`` are the steps that could have changed something live."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.checkpoint: Checkpoint | None = None
        self.begun: set[str] = set()
        self._plan = site.plan
        self._live = ""
        self._is_up_to_date = False
        self._subject = ""
        self._report: Report | None = None
        self._restarted_at = BEGINNING
        dependencies = site.step("dependencies")
        self._dependencies = Dependencies(site, dependencies) if dependencies else None

    def perform(self) -> Outcome:
        with self.site.recorder.step("preconditions"):
            check_all(self._plan, self.site.repository, self.site.tool_environ)
            self.site.tool_environ |= self.site.repository.environment_for(self._plan.remote)
        for step in self._plan.steps:
            self._perform(step)
            if step.name == "fetch" and self._is_up_to_date:
                return Outcome(
                    status=Status.SUCCEEDED, message=f"Already up to date: {self._subject}"
                )
        self.site.environments.prune()
        with _told_if_it_fails():
            self.site.state.release(self.site.to_revision)
        done = "Back at" if self._plan.target else "Updated"
        return Outcome(status=Status.SUCCEEDED, message=f"{done}: {self._subject}")

    def _perform(self, step: Step) -> None:
        if step.name == "pull":
            self._remember(step)
            self._reverse_migrations()
        self.begun.add(step.name)
        special = {
            "fetch": self._fetch,
            "rehearsal": self._rehearse,
            "pull": self._pull,
            "dependencies": self._switch_dependencies,
            "static_files": self._collect_static_files,
            "migrations": self._migrate,
            "restart": self._restart,
            "proof": self._prove,
            "soak": self._soak,
        }.get(step.name, self.site.execute)
        special(step)

    def _fetch(self, step: Step) -> None:
        """Ask the remote, then compare its tip with what is live and with what is on disk."""
        site = self.site
        argv = site.filled_in(step.argv)
        with site.recorder.step(step.name, argv, step.timeout) as execution:
            if self._plan.target:
                execution.skip("going back to a recorded revision")
                site.to_revision = self._plan.target
            else:
                site.run(execution, argv)
                site.to_revision = site.repository.revision(site.remote_branch)
            self._look_at_revisions()
            if not self._is_up_to_date:
                check_history(site, self._live)
                check_signature(site)

    def _look_at_revisions(self) -> None:
        site = self.site
        # Asked here: a run must not fail after its restart because git could not answer.
        self._subject = site.repository.subject(site.to_revision)
        head = site.repository.revision()
        live = site.state.live_revision()
        if live is None:
            # The first run: from here on a tree that is ahead of what is served is noticed.
            live = head
            site.state.set_live_revision(live)
        self._live = live
        self._is_up_to_date = not self._plan.force and site.to_revision == live == head
        site.recorder.journal.event("revisions", from_revision=live, to_revision=site.to_revision)

    def _rehearse(self, step: Step) -> None:
        if self._plan.rehearsal and self._dependencies:
            self._report = rehearse(self.site, step, self._plan.rehearsal, self._dependencies)

    def _remember(self, step: Step) -> None:
        load_http()
        migrations = self._report.migrations if self._report else ()
        self.checkpoint = Checkpoint.of(self.site, self._live, migrations)
        self.site.recorder.journal.event("checkpoint", **self.checkpoint.facts())

    def _reverse_migrations(self) -> None:
        """Reverse what the target does not know; with the code that is live now, which does."""
        site, plan = self.site, self._plan
        if not plan.reverse_migrations:
            return
        self.begun.add("reverse_migrations")
        argv = site.filled_in((*plan.undo_migrations, *plan.reverse_migrations))
        with site.recorder.step("reverse_migrations", argv, UNDO_TIMEOUT) as execution:
            try:
                site.run(execution, argv, is_site_code=True)
            except StepFailedError as failure:
                if execution.exit_code != IRREVERSIBLE:
                    raise
                # Nothing was changed, so there is nothing to undo.
                self.checkpoint = None
                raise StepFailedError(
                    "one of them cannot be reversed",
                    hint="Go back to a revision that knows these migrations.",
                ) from failure

    def _pull(self, step: Step) -> None:
        site = self.site
        argv = site.filled_in(step.argv)
        with site.recorder.step(step.name, argv, step.timeout) as execution:
            head = site.repository.revision()
            if not site.repository.is_ancestor(head, site.to_revision):
                # check_history() has allowed it: the branch was rewritten, or this goes back.
                self._check_nothing_is_overwritten(head)
                argv = site.git("reset", "--hard", "--quiet", site.to_revision)
            site.run_local_git(execution, argv)

    def _check_nothing_is_overwritten(self, head: str) -> None:
        """Files that nothing tracks: ``git pull`` stops at them, and ``git reset`` does not."""
        found = [str(path) for path in new_files(self.site, head)]
        if found:
            raise StepFailedError(
                f"it would overwrite files that git does not track: {some_of(found)}",
                hint="Move them elsewhere, and ask again.",
            )

    def _switch_dependencies(self, step: Step) -> None:
        if self._dependencies:
            self._dependencies.switch()

    def _collect_static_files(self, step: Step) -> None:
        digest = self._report.static_files if self._report else ""
        is_known = bool(digest) and digest == self.site.state.live_static_files()
        if is_known and not self._plan.force:
            self._skip(step, "they are those that are collected already")
        else:
            self.site.execute(step)

    def _migrate(self, step: Step) -> None:
        if self._report and not self._report.migrations and not self._plan.force:
            self._skip(step, "there are none to apply")
        else:
            self.site.execute(step)

    def _skip(self, step: Step, reason: str) -> None:
        self.begun.discard(step.name)
        with self.site.recorder.step(step.name, self.site.filled_in(step.argv)) as execution:
            execution.skip(reason)

    def _restart(self, step: Step) -> None:
        self._restarted_at = Moment.now()
        self.site.execute(step)

    def _prove(self, step: Step) -> None:
        site = self.site
        with site.recorder.step(step.name, timeout=step.timeout) as execution:
            if self._plan.health is None:
                execution.skip("there is no health address")
            else:
                Proof(site, self._plan.health).prove(
                    execution, step, site.to_revision, after=self._restarted_at
                )
        site.recorder.journal.event("proved")
        static_files = self._report.static_files if self._report else ""
        with _told_if_it_fails():
            site.state.set_live_revision(site.to_revision, static_files)

    def _soak(self, step: Step) -> None:
        with self.site.recorder.step(step.name, timeout=step.timeout) as execution:
            if self._plan.health is None:
                execution.skip("there is no health address")
            else:
                Proof(self.site, self._plan.health).soak(execution, step, self.site.to_revision)
