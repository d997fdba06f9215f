"""What a run must know to go back, written into the journal before it changes anything live."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from .site import Site


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The live site as it was. ``migrations`` are those that the run is going to apply."""

    revision: str
    environment: str
    static_files: str
    migrations: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, site: Site, revision: str, migrations: tuple[tuple[str, str], ...]) -> Self:
        return cls(
            revision=revision,
            environment=site.environments.before(site.plan.run),
            static_files=site.state.live_static_files(),
            migrations=migrations,
        )

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Self:
        """As it stands in the journal."""
        return cls(
            revision=facts["revision"],
            environment=facts["environment"],
            static_files=facts["static_files"],
            migrations=tuple((app, name) for app, name in facts["migrations"]),
        )

    def facts(self) -> dict[str, object]:
        return asdict(self)
