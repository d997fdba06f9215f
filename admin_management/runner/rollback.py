"""Put the old revision back: schema, work tree, environment, static files, processes, and prove it.

Every part can be done again: a rollback that was killed is simply begun anew. One part that fails
does not keep the next ones from being tried, because each brings the site closer to whole.
"""

import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from .checkpoint import Checkpoint, new_files
from .execution import StepExecution, StepFailedError
from .git import GitError
from .plan import Step
from .proof import Moment, Proof, UnhealthyError, load_http
from .site import Site

UNDO_TIMEOUT = 600.0
"""Seconds for each part that executes something of the site."""

IRREVERSIBLE = 3
HALF_APPLIED = 4
"""Exit codes of ``manage.py undo_migrations``: for a migration that cannot be reversed, and for one
that is not atomic and did not get to its end."""

_NOTES = {
    IRREVERSIBLE: "the schema of the new revision was kept: a migration cannot be reversed",
    HALF_APPLIED: "a migration that is not atomic has left its half: look at the schema",
}

UNKNOWN = "migrations that it had applied are kept: without a rehearsal they are not known"

PATCH = "local-changes.patch"
LEFT_BEHIND = "left-behind"


@dataclass(slots=True)
class Rollback:
    """One rollback in progress. ``begun`` are the steps that the run had begun."""

    site: Site
    checkpoint: Checkpoint
    begun: frozenset[str]
    is_at_boot: bool = False
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    is_dependency: bool = False

    def perform(self) -> bool:
        """Whether the old revision is whole again and, if anything answers at all, healthy."""
        load_http()
        self.site.state.ballast.give_up_if_short()
        self._part("undo_migrations", self._undo_migrations)
        self._part("undo_pull", self._undo_pull)
        self._part("undo_dependencies", self._undo_dependencies)
        if self.site.plan.reverse_migrations:
            self._part("redo_migrations", self._redo_migrations)
        self._part("undo_static_files", self._undo_static_files)
        self._record()
        if not self.is_at_boot:
            self._part("undo_restart", self._undo_restart)
        return not self.problems

    def _part(self, name: str, undo: Callable[[StepExecution], None]) -> None:
        try:
            with self.site.recorder.step(name, timeout=UNDO_TIMEOUT) as execution:
                undo(execution)
        except UnhealthyError as failure:
            self.is_dependency = failure.is_dependency
            self.problems.append(f"{name}: {failure}")
        except Exception as failure:
            # Whatever it is: the parts after it must be tried, and the run must say how it ended.
            if not isinstance(failure, StepFailedError):
                traceback.print_exception(failure)
            self.problems.append(f"{name}: {failure}")

    def _record(self) -> None:
        """Nothing is written where nothing has changed: the disk may be full."""
        state, revision = self.site.state, self.checkpoint.revision
        are_back = not any(problem.startswith("undo_static_files") for problem in self.problems)
        static_files = self.checkpoint.static_files if are_back else ""
        if (state.live_revision(), state.live_static_files()) == (revision, static_files):
            return
        try:
            state.set_live_revision(revision, static_files)
        except OSError as error:
            self.problems.append(f"live.json: {error}")

    def _undo_migrations(self, execution: StepExecution) -> None:
        """With the new code, while it is still there. What cannot be reversed is kept."""
        if "migrations" not in self.begun:
            execution.skip("no migration was begun")
            return
        if not self.checkpoint.migrations:
            execution.skip("none is known to undo")
            if not self.site.plan.rehearsal:
                self.notes.append(UNKNOWN)
            return
        names = (f"{app}.{name}" for app, name in self.checkpoint.migrations)
        argv = self.site.filled_in((*self.site.plan.undo_migrations, *names))
        try:
            self.site.run(execution, argv, is_site_code=True)
        except StepFailedError as failure:
            note = _NOTES.get(
                execution.exit_code or 0,
                f"the schema of the new revision was kept: reversing it failed ({failure})",
            )
            self.notes.append(note)
            execution.fail_softly(note)

    def _undo_pull(self, execution: StepExecution) -> None:
        site = self.site
        # Of a git that was killed; whoever held it is dead, or the lock of this run would be held.
        (site.repository.git_directory() / "index.lock").unlink(missing_ok=True)
        if site.repository.revision() == self.checkpoint.revision and self._is_clean(site):
            execution.skip("the work tree is the old one")
        else:
            self._keep_local_changes(execution)
            reset = site.git("reset", "--hard", "--quiet", self.checkpoint.revision)
            site.run_local_git(execution, reset)
        if "pull" in self.begun:
            self._move_away_what_git_had_begun(execution)

    def _move_away_what_git_had_begun(self, execution: StepExecution) -> None:
        """Killed, or on a full disk, git leaves files that nothing tracks, and stops at them later.

        They are kept: one of them may be somebody's own, made after we had looked.
        """
        strays = self.checkpoint.strays
        if strays is None:
            return
        # Whatever cannot be done of this does not make the old revision any less whole.
        with suppress(GitError, OSError):
            for path in new_files(self.site, self.checkpoint.revision):
                if str(path) not in strays:
                    target = self.site.folder / LEFT_BEHIND / path.relative_to(path.anchor)
                    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                    path.rename(target)
                    execution.say(f"What git had begun to write was moved to {target}")

    @staticmethod
    def _is_clean(site: Site) -> bool:
        return not site.repository.changed_files()

    def _keep_local_changes(self, execution: StepExecution) -> None:
        """Whatever somebody, or a killed git, has left in tracked files is kept as a patch."""
        patch = self.site.repository.local_changes()
        if patch:
            target = self.site.folder / PATCH
            target.touch(mode=0o600)
            target.write_bytes(patch)
            execution.say(f"Local changes were kept in {target}")

    def _undo_dependencies(self, execution: StepExecution) -> None:
        run = self.site.plan.run
        if not self.site.environments.switch_back(self.checkpoint.environment, run):
            execution.skip("the environment is the old one")

    def _redo_migrations(self, execution: StepExecution) -> None:
        """Apply again what a rollback by hand has reversed; with the old code, which knows it."""
        step = self.site.step("migrations")
        if step is None or "reverse_migrations" not in self.begun:
            execution.skip("no migration was reversed")
            return
        self.site.run(execution, self.site.filled_in(step.argv), is_site_code=True)

    def _undo_static_files(self, execution: StepExecution) -> None:
        step = self.site.step("static_files")
        if step is None or "static_files" not in self.begun:
            execution.skip("the static files are the old ones")
            return
        self.site.run(execution, self.site.filled_in(step.argv), is_site_code=True)

    def _undo_restart(self, execution: StepExecution) -> None:
        """Restart if the new processes were started or the old ones do not answer; then prove."""
        site = self.site
        restart = site.step("restart")
        began = Moment.now()
        if restart is None or ("restart" not in self.begun and self._is_healthy(execution)):
            execution.skip("the old processes were never restarted")
            return
        site.run(execution, site.filled_in(restart.argv))
        if site.plan.health:
            step = _proof_step(site)
            proof = Proof(site, site.plan.health)
            proof.prove(execution, step, self.checkpoint.revision, after=began)

    def _is_healthy(self, execution: StepExecution) -> bool:
        """Whether the processes that were never restarted still serve the old revision."""
        if not self.site.plan.health:
            return True
        step = Step(name="proof", argv=(), timeout=3.0)
        with suppress(UnhealthyError):
            Proof(self.site, self.site.plan.health).prove(execution, step, self.checkpoint.revision)
            return True
        return False


def _proof_step(site: Site) -> Step:
    return site.step("proof") or Step(name="proof", argv=(), timeout=30.0)
