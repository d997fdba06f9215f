"""What a delivery may be signed with now: of each source the setting's secret, else stored ones."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache

from .conf import WebhooksSettings
from .exceptions import DisabledError, SealedError
from .github import is_usable
from .models import Secret, stored_secrets
from .sources import Source

FROM_SETTINGS = "settings"
"""What the setting's secret is called: a digest of one that people have chosen could be guessed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One secret, of one source. ``stored`` is its row; None if it is a setting's."""

    name: str
    value: str
    source: Source
    stored: Secret | None = None

    def __repr__(self) -> str:
        return f"<Key {self.name}>"

    def mark_used(self) -> None:
        """Remember that a delivery was signed with it. Never raises."""
        if self.stored is not None:
            self.stored.mark_used()


def keys_of(conf: WebhooksSettings) -> Sequence[Key]:
    """What is accepted; raises DisabledError if that is nothing.

    A source's secret in the settings wins, also one that is too short: its stored ones are not
    looked at. A stored one that cannot be decrypted is as good as none.
    """
    keys, without = _set_keys(conf.sources)
    if without:
        stored = [each for each in stored_secrets() if each.is_active]
        keys = (*keys, *(key for source in without for key in _stored_keys(source, stored)))
    if not keys:
        raise DisabledError
    return keys


@lru_cache(maxsize=1)
def _set_keys(sources: tuple[Source, ...]) -> tuple[tuple[Key, ...], tuple[Source, ...]]:
    """Those of the settings, and the sources that they set none for. Each request asks for it."""
    keys = (
        Key(name=FROM_SETTINGS, value=source.secret, source=source)
        for source in sources
        if is_usable(source.secret)
    )
    return tuple(keys), tuple(source for source in sources if not source.has_secret)


def _stored_keys(source: Source, stored: Sequence[Secret]) -> Iterator[Key]:
    for secret in stored:
        if secret.source == source.name:
            with suppress(SealedError):
                value = secret.reveal()
                if is_usable(value):
                    yield Key(name=secret.fingerprint, value=value, source=source, stored=secret)
