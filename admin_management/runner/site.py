"""The live site that a run works on: where its parts are, and how a command is executed there."""

from collections.abc import Mapping
from pathlib import Path

from . import git
from .environment import Environments
from .execution import Recorder, StepExecution
from .plan import PYTHON, REVISION, Plan, Step
from .process import OF_THE_SITE, PRIVATE
from .state import StateDirectory
from .variables import for_tools


class Site:
    """What every part of a run needs at hand. ``to_revision`` is known after the fetch."""

    def __init__(self, plan: Plan, recorder: Recorder, environ: Mapping[str, str]) -> None:
        self.plan = plan
        self.recorder = recorder
        self.checkout = Path(plan.checkout)
        self.state = StateDirectory(Path(plan.state_directory))
        self.environments = Environments(self.state.environments, Path(plan.environment))
        self.site_environ = environ
        self.tool_environ = for_tools(environ, (plan.git, plan.uv, plan.pm2)) | {"PM2": plan.pm2}
        if plan.health:
            # restart_server.sh need not wait: the proof says sooner and better what came of it.
            self.tool_environ["STABLE_SECONDS"] = "0"
        self.repository = git.Repository(self.checkout, plan.git, self.tool_environ)
        self.to_revision = ""

    @property
    def remote_branch(self) -> str:
        return f"refs/remotes/{self.plan.remote}/{self.plan.branch}"

    @property
    def folder(self) -> Path:
        """Where this run keeps its files."""
        return self.state.run(self.plan.run)

    def step(self, name: str) -> Step | None:
        """A step of the plan by its name."""
        return next((step for step in self.plan.steps if step.name == name), None)

    def execute(self, step: Step) -> None:
        """Record and execute one step as the plan has it."""
        argv = self.filled_in(step.argv)
        with self.recorder.step(step.name, argv, step.timeout) as execution:
            self.run(execution, argv, is_site_code=step.site_environment)

    def run(
        self,
        execution: StepExecution,
        argv: tuple[str, ...],
        *,
        is_site_code: bool = False,
        cwd: Path | None = None,
    ) -> None:
        """Execute one command of a step; only the site's code has its variables and its umask."""
        environ = self.site_environ if is_site_code else self.tool_environ
        umask = OF_THE_SITE if is_site_code else PRIVATE
        execution.run(argv, environ, cwd=cwd, umask=umask)

    def git(self, *arguments: str) -> tuple[str, ...]:
        """The argv of a git command."""
        return git.hardened(self.plan.git, *arguments)

    def run_local_git(self, execution: StepExecution, argv: tuple[str, ...]) -> None:
        """Execute a git command that writes files of the site, and asks no remote but a path."""
        environ = git.environment(self.tool_environ, remote_is_a_path=True)
        execution.run(argv, environ, umask=OF_THE_SITE)

    def filled_in(self, argv: tuple[str, ...], environment: Path | None = None) -> tuple[str, ...]:
        python = (environment or self.environments.link) / "bin" / "python"
        words = {PYTHON: str(python), REVISION: self.to_revision}
        return tuple(words.get(word, word) for word in argv)
