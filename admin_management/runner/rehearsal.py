"""Try a revision beside the live site, before anything live changes.

In a throw-away work tree of the exact commit, with the environment that it will get: the new code
is checked, imported, asked for its health, and its migrations are applied to a copy of the database
(``manage.py rehearse_update``). What it finds out is the ``Report``.
"""

import json
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from .dependencies import Dependencies
from .execution import StepExecution, StepFailedError
from .plan import Rehearsal, Step
from .site import Site

ROOM = 200 * 1024 * 1024
"""Bytes that must be free beside a new environment and a copy of the database."""


LARGEST_COPY = 2 * 1024**3
"""Bytes of an SQLite database that is copied; for a larger one the migrations are only listed."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a rehearsal has found. ``migrations`` are those that the update will apply.

    ``static_files`` is a digest of all of them, by which unchanged ones are known.
    """

    migrations: tuple[tuple[str, str], ...] = ()
    static_files: str = ""
    notes: tuple[str, ...] = field(default=())

    @classmethod
    def read(cls, path: Path) -> Self:
        facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return cls(
            migrations=tuple((str(app), str(name)) for app, name in facts["migrations"]),
            static_files=str(facts["static_files"]),
            notes=tuple(map(str, facts["notes"])),
        )


def rehearse(site: Site, step: Step, rehearsal: Rehearsal, dependencies: Dependencies) -> Report:
    """Record the rehearsal as a step. Raises StepFailedError; the live site is as it was."""
    tree = site.state.rehearsal / site.plan.run
    report = site.folder / "rehearsal.json"
    with site.recorder.step(step.name, site.filled_in(step.argv), step.timeout) as execution:
        _check_room(site, rehearsal)
        report.unlink(missing_ok=True)
        try:
            _check_out(site, execution, tree)
            _link(site, tree, rehearsal)
            dependencies.prepare(execution, tree)
            argv = _argv(site, step, report, dependencies.environment)
            site.run(execution, argv, is_site_code=True, cwd=_inside(site, tree))
        finally:
            remove_work_trees(site)
        found = Report.read(report)
        execution.message = "; ".join(found.notes)
    return found


def remove_work_trees(site: Site) -> None:
    """Throw all rehearsals away. What git remembers of them it forgets at the next one."""
    shutil.rmtree(site.state.rehearsal, ignore_errors=True)


def _check_room(site: Site, rehearsal: Rehearsal) -> None:
    space = os.statvfs(site.state.path)
    sizes = [_size(Path(path)) for path in rehearsal.databases.values()]
    needed = ROOM + 2 * sum(size for size in sizes if size <= LARGEST_COPY)
    free = space.f_bavail * space.f_frsize
    if free < needed:
        raise StepFailedError(
            f"The disk has {free // 2**20} MB free; trying an update needs {needed // 2**20} MB.",
            hint=f"Make room on the disk of {site.state.path}. Nothing was changed.",
        )


def _size(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_size
    return 0


def _check_out(site: Site, execution: StepExecution, tree: Path) -> None:
    remove_work_trees(site)
    site.run_local_git(execution, site.git("worktree", "prune"))
    add = site.git("worktree", "add", "--quiet", "--detach", str(tree), site.to_revision)
    site.run_local_git(execution, add)


def _link(site: Site, tree: Path, rehearsal: Rehearsal) -> None:
    for name in rehearsal.linked_files:
        original, link = site.checkout / name, _inside(site, tree) / name
        if original.exists() and not link.exists():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(original)


def _inside(site: Site, tree: Path) -> Path:
    """Where ``manage.py`` is: the site may be a folder below the top of the work tree."""
    top = next(parent for parent in (site.checkout, *site.checkout.parents) if _is_top(parent))
    return tree / site.checkout.relative_to(top)


def _is_top(folder: Path) -> bool:
    return (folder / ".git").exists()


def _argv(site: Site, step: Step, report: Path, environment: Path) -> tuple[str, ...]:
    """The rehearsal's command, with the new environment's Python."""
    rehearsal = site.plan.rehearsal or Rehearsal()
    named = (
        word
        for alias, path in rehearsal.databases.items()
        for word in ("--database", f"{alias}={path}")
    )
    static_files = (
        *("--static-root", rehearsal.static_root),
        *("--static-files", site.state.live_static_files()),
    )
    # Whatever a rehearsal that was killed has left there goes with the work trees.
    places = ("--folder", str(site.state.rehearsal), "--report", str(report))
    return site.filled_in((*step.argv, *named, *static_files, *places), environment)
