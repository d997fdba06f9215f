"""From a run and the settings to the plan that its runner gets."""

import shutil
import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connections

from .conf import AdminManagementSettings
from .exceptions import ConflictError
from .going_back import migrations_to_reverse
from .health import visit
from .machine import program
from .models import Run
from .runner.plan import PYTHON, Plan, Rehearsal
from .runner.state import StateDirectory
from .steps import Tools, ordered_steps


def plan_of(run: Run, state: StateDirectory, folder: Path) -> Plan:
    """What the runner shall do for this run, whose files are in ``folder``.

    Raises ConflictError if a rollback would reverse other migrations than agreed.
    """
    conf = AdminManagementSettings.load()
    # The run keeps a copy of its own: the installed one may be replaced before it is needed.
    script = folder / "restart_server.sh"
    shutil.copy(Path(__file__).with_name("restart_server.sh"), script)
    script.chmod(0o700)
    tools = Tools(
        git=program("git"),
        uv=program(conf.uv),
        pm2=program(conf.pm2),
        restart_script=str(script),
    )
    return Plan(
        run=str(run.pk),
        force=run.force,
        checkout=str(conf.checkout),
        state_directory=str(state.path),
        remote=conf.remote,
        branch=conf.branch,
        environment=str(conf.checkout / conf.environment),
        base_python=getattr(sys, "_base_executable", sys.executable),
        git=tools.git,
        uv=tools.uv,
        pm2=tools.pm2,
        pm2_process=conf.pm2_process,
        steps=ordered_steps(conf, tools),
        prove_environment=(PYTHON, "manage.py", "check"),
        undo_migrations=(PYTHON, "manage.py", "undo_migrations"),
        settle=(PYTHON, "manage.py", "settle_runs", "--poll"),
        target=run.target_revision,
        reverse_migrations=_agreed_migrations(run),
        accept_rewritten=run.accept_rewritten,
        allowed_signers=conf.allowed_signers,
        rehearsal=_rehearsal(conf),
        health=visit(),
    )


def _agreed_migrations(run: Run) -> tuple[str, ...]:
    """What a rollback reverses: exactly what its requester has been told."""
    if not run.target_revision:
        return ()
    found = migrations_to_reverse(run.target_revision)
    if list(found) != run.reverse_migrations:
        raise ConflictError("Going back means something else than when it was asked for.")
    return found


def _rehearsal(conf: AdminManagementSettings) -> Rehearsal | None:
    if not conf.rehearse:
        return None
    databases = {
        alias: str(Path(connections[alias].settings_dict["NAME"]).absolute())
        for alias in connections
        if _is_sqlite_file(connections[alias])
    }
    root = getattr(settings, "STATIC_ROOT", None)
    return Rehearsal(
        linked_files=conf.linked_files,
        databases=databases,
        static_root=str(Path(root).absolute()) if root else "",
    )


def _is_sqlite_file(connection: Any) -> bool:
    return connection.vendor == "sqlite" and not connection.is_in_memory_db()
