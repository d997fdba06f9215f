"""What a run must know to go back, written into the journal before it changes anything live."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from .site import Site


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The live site as it was. ``migrations`` are those that the run is going to apply.

    ``strays`` are files that nothing tracks, and that stand where the new revision has one. None:
    an older runner has not looked.
    """

    revision: str
    environment: str
    static_files: str
    migrations: tuple[tuple[str, str], ...]
    strays: tuple[str, ...] | None = None

    @classmethod
    def of(cls, site: Site, revision: str, migrations: tuple[tuple[str, str], ...]) -> Self:
        return cls(
            revision=revision,
            environment=site.environments.before(site.plan.run),
            static_files=site.state.live_static_files(),
            migrations=migrations,
            strays=tuple(new_files(site, revision)),
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


def new_files(site: Site, revision: str) -> list[str]:
    """Files of the run's new revision, and not of this one, that are in the work tree."""
    root = site.checkout.resolve()
    return [
        name
        for name in site.repository.added_files(revision, site.to_revision)
        # Behind a link it is a file of another name.
        if os.path.lexists(root / name) and (root / name).parent.resolve() == (root / name).parent
    ]
