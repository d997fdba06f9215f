"""A plan: everything a run needs to know, as data, made before it starts.

A plan holds no secret: it is written to disk. What a run must hide reaches it over a pipe.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

REVISION = "{revision}"
"""In a step's argv: the full SHA of the commit that this run has fetched."""

PYTHON = "{python}"
"""In a step's argv: the interpreter of the environment that is live when the step starts."""

PLAN_VERSION = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The definition of a step: what to execute, never through a shell.

    ``timeout`` is in seconds. ``site_environment`` gives the child all environment variables of
    the site, which only ``manage.py`` needs; everything else gets a short list of harmless ones.
    """

    name: str
    argv: tuple[str, ...]
    timeout: float
    site_environment: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How the site is asked whether it works: always on this machine, never by a command.

    ``addresses`` are paths, or full loopback URLs. The first is our own, which tells the revision
    to whoever shows the token. ``headers`` make the request look like a visitor's.
    """

    addresses: tuple[str, ...]
    headers: dict[str, str] = field(hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """How a revision is tried beside the live site.

    ``linked_files`` are untracked files that it needs, ``databases`` the paths of the SQLite
    databases by alias: it works on copies of them. ``static_root`` has the collected static files.
    """

    linked_files: tuple[str, ...] = ()
    databases: dict[str, str] = field(default_factory=dict, hash=False)
    static_root: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One run, described. All paths are absolute.

    ``target`` is a recorded revision to go back to; without one the run goes for the remote's tip.
    ``reverse_migrations`` are those, as ``app.name`` in the order they were applied, that the
    target does not know. ``accept_rewritten`` lets it follow a branch that was rewritten.
    ``allowed_signers`` is a file, ssh-keygen(1): the tip must be signed by one of them. Without
    ``rehearsal`` nothing is tried beforehand, without ``health`` nothing is proved.
    ``prove_environment`` is executed with a newly built environment before it goes live,
    ``undo_migrations`` when a run is rolled back, and ``settle`` after the run has ended, with
    whatever is live then.
    """

    run: str
    force: bool
    checkout: str
    state_directory: str
    remote: str
    branch: str
    environment: str
    base_python: str
    git: str
    uv: str
    pm2: str
    pm2_process: str
    steps: tuple[Step, ...]
    prove_environment: tuple[str, ...]
    undo_migrations: tuple[str, ...]
    settle: tuple[str, ...]
    target: str = ""
    reverse_migrations: tuple[str, ...] = ()
    accept_rewritten: bool = False
    allowed_signers: str = ""
    rehearsal: Rehearsal | None = None
    health: Health | None = None
    version: int = PLAN_VERSION

    def write(self, path: Path) -> None:
        path.touch(mode=0o600)
        path.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Self:
        """The plan stored at ``path``; raises ``ValueError`` if another version wrote it."""
        fields: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if fields.get("version") != PLAN_VERSION:
            raise ValueError(f"{path} is a plan of version {fields.get('version')!r}")
        for name in ("prove_environment", "undo_migrations", "settle", "reverse_migrations"):
            fields[name] = tuple(fields[name])
        if rehearsal := fields["rehearsal"]:
            linked = tuple(rehearsal["linked_files"])
            fields["rehearsal"] = Rehearsal(**rehearsal | {"linked_files": linked})
        if health := fields["health"]:
            fields["health"] = Health(**health | {"addresses": tuple(health["addresses"])})
        fields["steps"] = tuple(
            Step(**step | {"argv": tuple(step["argv"])}) for step in fields["steps"]
        )
        return cls(**fields)
