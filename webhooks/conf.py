"""The settings: one dict, ``WEBHOOKS``, read at use so that ``override_settings`` works."""

import re
from dataclasses import dataclass, fields
from ipaddress import ip_network
from typing import Self

from django.conf import settings

from admin_management.conf import AdminManagementSettings, read_keys
from admin_management.exceptions import SettingsError

from .addresses import Network
from .github import Payload

SHORTEST_KEY = 32
"""Characters of the key that stored secrets are encrypted with."""

REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhooksSettings:
    """``WEBHOOKS`` with its defaults. Build it with ``load()``.

    No ``repository`` means any that knows the secret, no ``allowed_networks`` any address.
    """

    secret: str = ""
    repository: str | None = None
    branch: str
    encryption_key: str = ""
    allowed_networks: tuple[Network, ...] = ()

    @classmethod
    def load(cls) -> Self:
        """The settings as they are now; raises SettingsError for the first wrong one."""
        given = getattr(settings, "WEBHOOKS", {})
        values = read_keys("WEBHOOKS", given, {each.name for each in fields(cls)})
        return cls(
            secret=_secret(values.get("secret")),
            repository=_repository(values.get("repository")),
            branch=_branch(values.get("branch")),
            encryption_key=_encryption_key(values.get("encryption_key")),
            allowed_networks=_networks(values.get("allowed_networks")),
        )

    @property
    def has_secret(self) -> bool:
        """Whether a secret is given here. It is then the only one, however good it is."""
        return bool(self.secret.strip())

    def why_ignored(self, payload: Payload) -> str:
        """Why a delivery asks for no update; empty if it does ask for one.

        The sentence names nothing that is configured: it is part of the answer.
        """
        if payload.event != "push":
            return f"{payload.event} asks for no update"
        if payload.deleted:
            return f"{payload.ref} was deleted"
        # GitHub's names of owners and repositories do not tell upper from lower case.
        if self.repository and self.repository.lower() != payload.repository.lower():
            return "a push to another repository"
        if payload.ref != f"refs/heads/{self.branch}":
            return f"{payload.ref} is not the branch that is live"
        return ""


def _wrong(key: str, problem: str, hint: str) -> SettingsError:
    return SettingsError(f'WEBHOOKS["{key}"] {problem}.', hint=hint)


def _secret(value: object) -> str:
    # The value stays out of the message: messages are logged and shown.
    if value is not None and not isinstance(value, str):
        raise _wrong("SECRET", "is not a string", "Write the text that you gave to GitHub.")
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


def _repository(value: object) -> str | None:
    if value is None or (isinstance(value, str) and REPOSITORY.fullmatch(value)):
        return value
    raise _wrong(
        "REPOSITORY",
        f"is {value!r}, not owner/name",
        'Write "owner/name" as in the address on GitHub, or leave the key out.',
    )


def _branch(value: object) -> str:
    if value is None:
        return AdminManagementSettings.load().branch
    if not isinstance(value, str) or not value.isprintable() or value.startswith(("refs/", "-")):
        raise _wrong("BRANCH", f"is {value!r}", 'Write the short name, like "master".')
    if not value:
        raise _wrong("BRANCH", "is empty", "Write a name or leave the key out.")
    return value
