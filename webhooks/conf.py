"""The settings: one dict, ``WEBHOOKS``, read again whenever a test overrides it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_network
from typing import Any, Self

from django.conf import settings
from django.core.signals import setting_changed
from django.dispatch import receiver

from admin_management.conf import AdminManagementSettings, read_keys
from admin_management.exceptions import SettingsError

from .addresses import Network
from .sources import Source, setting_of

SHORTEST_KEY = 32
"""Characters of the key that stored secrets are encrypted with."""

OF_A_SOURCE = ("SECRET", "REPOSITORY", "BRANCH")
KEYS = (*OF_A_SOURCE, "SOURCES", "ENCRYPTION_KEY", "ALLOWED_NETWORKS")

LONGEST_NAME = 40
"""Characters of the name of a source."""

SOURCE = re.compile(rf"[\w-]{{1,{LONGEST_NAME}}}", re.ASCII)
REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhooksSettings:
    """``WEBHOOKS`` with its defaults. Build it with ``load()``.

    Its keys are those of ``KEYS``. No ``allowed_networks`` means any address.
    """

    sources: tuple[Source, ...]
    encryption_key: str = ""
    allowed_networks: tuple[Network, ...] = ()

    @classmethod
    @lru_cache(maxsize=1)
    def load(cls) -> Self:
        """The settings as they are now; raises SettingsError for the first wrong one."""
        given = getattr(settings, "WEBHOOKS", {})
        values = read_keys("WEBHOOKS", given, set(map(str.lower, KEYS)))
        return cls(
            sources=_sources(values),
            encryption_key=_encryption_key(values.get("encryption_key")),
            allowed_networks=_networks(values.get("allowed_networks")),
        )

    def source(self, name: str) -> Source:
        """The source of this name. Raises SettingsError if there is none."""
        by_name = {source.name: source for source in self.sources}
        if name not in by_name:
            names = ", ".join(filter(None, by_name))
            raise SettingsError(
                f"WEBHOOKS names no source {name!r}." if name else "Which source is not said.",
                hint=f"The sources are {names}." if names else "It names none at all.",
            )
        return by_name[name]


@receiver(setting_changed)
def read_again(**_: object) -> None:
    """Tests change settings, and nobody else does."""
    WebhooksSettings.load.cache_clear()


def _wrong(key: str, problem: str, hint: str, setting: str = "WEBHOOKS") -> SettingsError:
    return SettingsError(f'{setting}["{key}"] {problem}.', hint=hint)


def _sources(values: Mapping[str, Any]) -> tuple[Source, ...]:
    """Those that are named, or the one that the settings are about."""
    if "sources" not in values:
        return (_source("", values),)
    given = values["sources"]
    hint = f"Write a dict of names, each with a dict of {', '.join(OF_A_SOURCE)}."
    if not isinstance(given, Mapping) or not given:
        raise _wrong("SOURCES", "is not a dict of sources", hint)
    for key in OF_A_SOURCE:
        if key.lower() in values:
            raise _wrong(key, "is of no source", f"Write it into each of the SOURCES. {hint}")
    sources = tuple(_named_source(name, each) for name, each in given.items())
    _check_apart(sources)
    return sources


def _named_source(name: object, given: object) -> Source:
    if not isinstance(name, str) or not SOURCE.fullmatch(name):
        hint = f"Use up to {LONGEST_NAME} letters, digits, hyphens and underscores."
        raise _wrong("SOURCES", f"has the name {name!r}", hint)
    source = _source(name, read_keys(setting_of(name), given, set(map(str.lower, OF_A_SOURCE))))
    if source.repository is None:
        hint = 'Write "owner/name", as on GitHub.'
        raise _wrong("REPOSITORY", "is missing", hint, source.setting)
    return source


def _source(name: str, values: Mapping[str, Any]) -> Source:
    where = setting_of(name)
    return Source(
        name=name,
        secret=_secret(values.get("secret"), where),
        repository=_repository(values.get("repository"), where),
        branch=_branch(values.get("branch"), where),
    )


def _check_apart(sources: Sequence[Source]) -> None:
    """A secret says which source has sent a delivery, so no two may share one."""
    seen: dict[str, str] = {}
    for source in filter(lambda each: each.has_secret, sources):
        if source.secret in seen:
            raise _wrong(
                "SECRET",
                f"is that of {seen[source.secret]} too",
                "Give each source a secret of its own.",
                source.setting,
            )
        seen[source.secret] = source.name


def _secret(value: object, where: str) -> str:
    # The value stays out of the message: messages are logged and shown.
    if value is not None and not isinstance(value, str):
        raise _wrong("SECRET", "is not a string", "Write the text that you gave to GitHub.", where)
    return value or ""


def _encryption_key(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or len(value.strip()) < SHORTEST_KEY:
        raise _wrong(
            "ENCRYPTION_KEY",
            f"is not a text of at least {SHORTEST_KEY} characters",
            'Make one with python3 -c "import secrets; print(secrets.token_hex(32))".',
        )
    return value


def _networks(value: object) -> tuple[Network, ...]:
    hint = 'Write a list of networks like ["192.0.2.0/24", "2001:db8::/32"], or leave the key out.'
    if value is None:
        return ()
    # An empty list would be taken for "none is allowed" by one reader and for "all" by another.
    if not isinstance(value, list | tuple) or not value:
        raise _wrong("ALLOWED_NETWORKS", "is not a list of networks", hint)
    for each in value:
        if not isinstance(each, str):
            raise _wrong("ALLOWED_NETWORKS", f"has {each!r}, not a text", hint)
    try:
        return tuple(ip_network(each) for each in value)
    except ValueError as error:
        raise _wrong("ALLOWED_NETWORKS", f"is wrong: {error}", hint) from None


def _repository(value: object, where: str) -> str | None:
    if value is None or (isinstance(value, str) and REPOSITORY.fullmatch(value)):
        return value
    raise _wrong(
        "REPOSITORY",
        f"is {value!r}, not owner/name",
        'Write "owner/name" as in the address on GitHub, or leave the key out.',
        where,
    )


def _branch(value: object, where: str) -> str:
    if value is None:
        return AdminManagementSettings.load().branch
    if not isinstance(value, str) or not value.isprintable() or value.startswith(("refs/", "-")):
        hint = 'Write the short name, like "master".'
        raise _wrong("BRANCH", f"is {value!r}", hint, where)
    if not value:
        raise _wrong("BRANCH", "is empty", "Write a name or leave the key out.", where)
    return value
