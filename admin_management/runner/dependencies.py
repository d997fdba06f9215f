"""The environment of the new revision: built once, beside the live one, and then switched to."""

from pathlib import Path

from .environment import Environments
from .execution import StepExecution
from .plan import Step
from .site import Site
from .variables import for_uv


class Dependencies:
    """Builds in the rehearsal, or in the step where there is none; the step switches."""

    def __init__(self, site: Site, step: Step) -> None:
        self._site = site
        self._step = step
        self._built: Path | None = None

    @property
    def environment(self) -> Path:
        """What the new revision is executed with."""
        return self._built or self._environments.link

    def prepare(self, execution: StepExecution, tree: Path) -> None:
        """Build the environment that the source tree asks for, unless it is the live one."""
        plan = self._site.plan
        key = self._environments.key(tree, plan.base_python)
        if self._environments.is_live(key) and not plan.force:
            return
        built = self._environments.start_new(key, plan.run)
        self._sync(execution, tree, built)
        self._environments.share_bytecode(built)
        self._built = built

    def switch(self) -> None:
        """Record the step, after which the new environment is the live one."""
        site = self._site
        with site.recorder.step(self._step.name, self._step.argv, self._step.timeout) as execution:
            is_rehearsed = self._built is not None
            if not site.plan.rehearsal:
                self.prepare(execution, site.checkout)
            if self._built is None:
                execution.skip("the locked dependencies have not changed")
                return
            if is_rehearsed:
                # A site that is a package itself was installed from the rehearsal's work tree.
                self._sync(execution, site.checkout, self._built)
            else:
                argv = site.filled_in(site.plan.prove_environment, self._built)
                site.run(execution, argv, is_site_code=True)
            self._environments.switch_to(self._built, site.plan.run)

    def _sync(self, execution: StepExecution, tree: Path, built: Path) -> None:
        chosen = {"UV_PROJECT_ENVIRONMENT": str(built), "UV_PYTHON_DOWNLOADS": "never"}
        if not (tree / ".python-version").exists():
            chosen["UV_PYTHON"] = self._site.plan.base_python
        site = self._site
        environ = site.tool_environ | for_uv(site.site_environ) | chosen
        execution.run(self._step.argv, environ, cwd=tree)

    @property
    def _environments(self) -> Environments:
        return self._site.environments
