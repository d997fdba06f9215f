"""A plan: everything a run needs to know, as data, made before it starts.

A plan holds no secret: it is written to disk. What a run must hide reaches it over a pipe.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

REVISION = "{revision}"
"""In a step's argv: the full SHA of the commit that this run has fetched."""

PYTHON = "{python}"
"""In a step's argv: the interpreter of the environment that is live when the step starts."""

PLAN_VERSION = 1


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
class Plan:
    """One run, described. All paths are absolute.

    ``prove_environment`` is executed with a newly built environment before it goes live, and
    ``settle`` after the run has ended, with whatever is live then.
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
    settle: tuple[str, ...]
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
        for name in ("prove_environment", "settle"):
            fields[name] = tuple(fields[name])
        fields["steps"] = tuple(
            Step(**step | {"argv": tuple(step["argv"])}) for step in fields["steps"]
        )
        return cls(**fields)
