"""The steps of an update, as data: settings in, ordered steps out. Nothing is executed here."""

from collections.abc import Mapping
from dataclasses import dataclass

from .conf import AdminManagementSettings
from .runner.git import hardened
from .runner.plan import PYTHON, REVISION, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """Full paths of the programs that the steps start."""

    git: str
    uv: str
    pm2: str
    restart_script: str


def ordered_steps(conf: AdminManagementSettings, tools: Tools) -> tuple[Step, ...]:
    """The built-in steps in their order, with the site's own steps in the places it gave them."""
    steps: list[Step] = []
    for name, argv in _built_in(conf, tools).items():
        steps += _extras(conf, before=name)
        if name != "rehearsal" or conf.rehearse:
            steps.append(
                Step(
                    name=name,
                    argv=argv,
                    timeout=conf.timeouts[name],
                    site_environment=argv[:1] == (PYTHON,),
                )
            )
        steps += _extras(conf, after=name)
    return tuple(steps)


def _built_in(conf: AdminManagementSettings, tools: Tools) -> Mapping[str, tuple[str, ...]]:
    tracking = f"+refs/heads/{conf.branch}:refs/remotes/{conf.remote}/{conf.branch}"
    manage = (PYTHON, "manage.py")
    # The rehearsal has executed the system checks of this very code.
    checked = ("--skip-checks",) if conf.rehearse else ()
    return {
        "fetch": hardened(tools.git, "fetch", "--no-tags", "--", conf.remote, tracking),
        "rehearsal": (*manage, "rehearse_update"),
        # A pull from this very repository, of exactly the fetched commit: a second look at the
        # remote could bring one that nobody has checked.
        "pull": hardened(tools.git, "pull", "--ff-only", "--no-rebase", "--", ".", REVISION),
        "dependencies": (tools.uv, "sync", "--locked", "--no-dev", "--no-progress"),
        "static_files": (*manage, "collectstatic", "--noinput"),
        "migrations": (*manage, "migrate", "--noinput", *checked),
        "restart": (tools.restart_script, conf.pm2_process),
        "proof": (),
        "soak": (),
    }


def _extras(conf: AdminManagementSettings, *, before: str = "", after: str = "") -> list[Step]:
    return [
        Step(name=extra.name, argv=extra.argv, timeout=extra.timeout, site_environment=True)
        for extra in conf.extra_steps
        if (extra.before, extra.after) == (before, after)
    ]
