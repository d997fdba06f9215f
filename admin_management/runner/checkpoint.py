"""What a run must know to go back, written into the journal before it changes anything live."""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from .git import GitError
from .site import Site


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The live site as it was. ``migrations`` are those that the run is going to apply.

    ``strays`` are files that nothing tracks, and that stand where the new revision has one. None:
    they are not known, because an older runner did not look or git does not know what was live.
    """

    revision: str
    environment: str
    static_files: str
    migrations: tuple[tuple[str, str], ...]
    strays: tuple[str, ...] | None = None

    @classmethod
    def of(cls, site: Site, revision: str, migrations: tuple[tuple[str, str], ...]) -> Self:
        strays = None
        with suppress(GitError):
            strays = tuple(map(str, new_files(site, revision)))
        return cls(
            revision=revision,
            environment=site.environments.before(site.plan.run),
            static_files=site.state.live_static_files(),
            migrations=migrations,
            strays=strays,
        )

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Self:
        """As it stands in the journal."""
        return cls(
            revision=facts["revision"],
            environment=facts["environment"],
            static_files=facts["static_files"],
            migrations=tuple((app, name) for app, name in facts["migrations"]),
            strays=None if facts.get("strays") is None else tuple(facts["strays"]),
        )

    def facts(self) -> dict[str, object]:
        return asdict(self)


def new_files(site: Site, revision: str) -> list[Path]:
    """What is in the work tree where the run's new revision has a file, and this one has none.

    Raises GitError.
    """
    return [
        path
        for path in site.repository.added_files(revision, site.to_revision)
        # Behind a link it is a file of another name.
        if os.path.lexists(path) and path.parent.resolve() == path.parent and not _is_folder(path)
    ]


def _is_folder(path: Path) -> bool:
    """A submodule's, say: git calls it a file."""
    return path.is_dir() and not path.is_symlink()
