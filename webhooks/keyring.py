"""The secrets that a delivery may be signed with now: the setting's one, else the stored ones."""

from collections.abc import Sequence
from dataclasses import dataclass

from .conf import WebhooksSettings
from .exceptions import DisabledError, SealedError
from .github import is_usable
from .models import Secret

FROM_SETTINGS = "settings"
"""What the setting's secret is called: a digest of one that people have chosen could be guessed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One secret. ``stored`` is its row; None if it is the setting's."""

    name: str
    value: str
    stored: Secret | None = None

    def __repr__(self) -> str:
        return f"<Key {self.name}>"

    def mark_used(self) -> None:
        """Remember that a delivery was signed with it. Never raises."""
        if self.stored is not None:
            self.stored.mark_used()


def keys_of(conf: WebhooksSettings) -> Sequence[Key]:
    """What is accepted; raises DisabledError if that is nothing.

    A secret in the settings wins, also one that is too short: the stored ones are not looked at.
    A stored one that cannot be decrypted is as good as none.
    """
    if conf.has_secret:
        keys = [Key(name=FROM_SETTINGS, value=conf.secret)]
    else:
        keys = [key for row in Secret.objects.active() if (key := _key(row))]
    usable = [key for key in keys if is_usable(key.value)]
    if not usable:
        raise DisabledError
    return usable


def _key(row: Secret) -> Key | None:
    try:
        return Key(name=row.fingerprint, value=row.reveal(), stored=row)
    except SealedError:
        return None
