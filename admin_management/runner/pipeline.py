"""The story of one update: preconditions, then the steps; the first failure ends it."""

import os
import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from . import git
from .environment import Environments
from .execution import Recorder, StepExecution, StepFailedError
from .journal import Journal
from .plan import PYTHON, REVISION, Plan, Step
from .preconditions import check_all
from .process import StoppedError
from .redact import Redactor
from .state import StateDirectory
from .status import Status
from .variables import for_tools


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

    It is interrupted when ``stop`` becomes readable.
    """
    journal.event("started", run=plan.run, pid=os.getpid(), force=plan.force)
    recorder = Recorder(journal, redactor, Path(plan.checkout), stop)
    outcome = _outcome(plan, recorder, environ)
    facts = asdict(outcome) | {"message": redactor.line(outcome.message)}
    journal.event("finished", **facts)


def _outcome(plan: Plan, recorder: Recorder, environ: Mapping[str, str]) -> Outcome:
    try:
        return Update(plan, recorder, environ).perform()
    except StepFailedError as failure:
        return Outcome(
            status=Status.FAILED,
            failed_step=recorder.current_step,
            message=f"{recorder.current_step} failed: {failure}",
            hint=failure.hint,
        )
    except StoppedError:
        return Outcome(
            status=Status.INTERRUPTED,
            failed_step=recorder.current_step,
            message="The runner was told to stop.",
            hint="Ask for another update to go on from here.",
        )
    except Exception as error:
        # A run must not end without saying so. The details are in runner.log.
        traceback.print_exc()
        return Outcome(
            status=Status.FAILED,
            failed_step=recorder.current_step,
            message=f"{recorder.current_step} failed: {error}",
            hint=f"The details are in {plan.state_directory}/runner.log.",
        )


class Update:
    """One update in progress."""

    def __init__(self, plan: Plan, recorder: Recorder, environ: Mapping[str, str]) -> None:
        checkout = Path(plan.checkout)
        tool_environ = for_tools(environ, (plan.git, plan.uv, plan.pm2))
        self.plan = plan
        self.recorder = recorder
        self.checkout = checkout
        self.repository = git.Repository(checkout, plan.git, tool_environ)
        self.site_environ = environ
        self.tool_environ = tool_environ | {"PM2": plan.pm2}
        self.state = StateDirectory(Path(plan.state_directory))
        self.environments = Environments(self.state.environments, Path(plan.environment))
        self.to_revision = ""
        self.subject = ""

    def perform(self) -> Outcome:
        self._preconditions()
        for step in self.plan.steps:
            if step.name == "pull":
                self._pull(step)
            elif step.name == "dependencies":
                self._dependencies(step)
            else:
                self._execute(step)
            if step.name == "fetch" and self._nothing_to_do():
                return Outcome(
                    status=Status.SUCCEEDED, message=f"Already up to date: {self.subject}"
                )
            if step.name == "restart":
                self.state.set_live_revision(self.to_revision)
        self.environments.prune()
        return Outcome(status=Status.SUCCEEDED, message=f"Updated: {self.subject}")

    def _preconditions(self) -> None:
        with self.recorder.step("preconditions"):
            check_all(self.plan, self.repository, self.tool_environ)
            self.tool_environ |= self.repository.environment_for(self.plan.remote)

    def _nothing_to_do(self) -> bool:
        """Compare the fetched tip with what is live and with what is on disk."""
        head = self.repository.revision()
        self.to_revision = self.repository.revision(
            f"refs/remotes/{self.plan.remote}/{self.plan.branch}"
        )
        # Asked here: a run must not fail after its restart because git could not answer.
        self.subject = self.repository.subject(self.to_revision)
        live = self.state.live_revision()
        if live is None:
            # The first run: from here on a tree that is ahead of what is served is noticed.
            live = head
            self.state.set_live_revision(live)
        self.recorder.journal.event("revisions", from_revision=live, to_revision=self.to_revision)
        return not self.plan.force and self.to_revision == head == live

    def _execute(self, step: Step) -> None:
        argv = self._filled_in(step.argv, self.environments.link)
        environ = self.site_environ if step.site_environment else self.tool_environ
        with self.recorder.step(step.name, argv, step.timeout) as execution:
            execution.run(argv, environ)

    def _pull(self, step: Step) -> None:
        argv = self._filled_in(step.argv, self.environments.link)
        with self.recorder.step(step.name, argv, step.timeout) as execution:
            # It pulls from this very repository, which is a path whatever the remote is.
            execution.run(argv, git.environment(self.tool_environ, remote_is_a_path=True))
            if self.repository.revision() != self.to_revision:
                raise StepFailedError(
                    f"The checkout has commits that {self.plan.remote}/{self.plan.branch} has not.",
                    hint=f"In {self.plan.checkout}: push them, or let go of them with git reset "
                    f"--hard {self.plan.remote}/{self.plan.branch}.",
                )

    def _dependencies(self, step: Step) -> None:
        with self.recorder.step(step.name, step.argv, step.timeout) as execution:
            key = self.environments.key(self.checkout, self.plan.base_python)
            if self.environments.is_live(key) and not self.plan.force:
                execution.skip("the locked dependencies have not changed")
            else:
                self._replace_environment(step, execution, key)

    def _replace_environment(self, step: Step, execution: StepExecution, key: str) -> None:
        built = self.environments.start_new(key, self.plan.run)
        execution.run(step.argv, self.tool_environ | self._uv_variables(built))
        execution.run(self._filled_in(self.plan.prove_environment, built), self.site_environ)
        self.environments.switch_to(built)

    def _uv_variables(self, built: Path) -> dict[str, str]:
        chosen = {"UV_PROJECT_ENVIRONMENT": str(built), "UV_PYTHON_DOWNLOADS": "never"}
        if not (self.checkout / ".python-version").exists():
            chosen["UV_PYTHON"] = self.plan.base_python
        return chosen

    def _filled_in(self, argv: tuple[str, ...], environment: Path) -> tuple[str, ...]:
        words = {PYTHON: str(environment / "bin" / "python"), REVISION: self.to_revision}
        return tuple(words.get(word, word) for word in argv)
