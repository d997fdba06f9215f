"""The settings: one dict, ``ADMIN_MANAGEMENT``, read again whenever a test overrides it."""

import os
import re
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Self, TypeGuard
from urllib.parse import urlsplit

from django.conf import settings
from django.core.signals import setting_changed
from django.dispatch import receiver

from .exceptions import SettingsError
from .runner.git import Repository
from .runner.redact import Redactor, looks_secret, secrets_in_environment, secrets_of
from .runner.state import NotAGitCheckoutError, work_tree
from .runner.variables import for_tools

DEFAULT_TIMEOUTS: Mapping[str, float] = {
    "fetch": 60,
    "rehearsal": 900,
    "pull": 30,
    "dependencies": 600,
    "static_files": 300,
    "migrations": 600,
    "restart": 60,
    "proof": 30,
    "soak": 5,
}
"""The built-in steps, in their order, and the seconds each may take."""

_PLAIN_URL = re.compile(r"[!-\"$-~]+")
"""What goes into a request line as it stands: no spaces, no fragment."""


LINKED_FILES = (".env",)
"""Untracked files of the checkout that a rehearsal needs too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtraStep:
    """A step of the site's own, before or after a built-in one. ``timeout`` is in seconds."""

    name: str
    argv: tuple[str, ...]
    timeout: float
    before: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminManagementSettings:
    """``ADMIN_MANAGEMENT`` with its defaults. Build it with ``load()``."""

    checkout: Path
    remote: str = "origin"
    branch: str = "master"
    pm2_process: str = "student-attendance-django"
    environment: str = ".venv"
    uv: str = "uv"
    pm2: str = "pm2"
    health_url: str = ""
    timeouts: Mapping[str, float] = field(default_factory=lambda: dict(DEFAULT_TIMEOUTS))
    extra_steps: tuple[ExtraStep, ...] = ()
    rehearse: bool = True
    linked_files: tuple[str, ...] = LINKED_FILES
    allowed_signers: str = ""
    require_origin: bool = False
    recent_login: float = 0

    @classmethod
    @lru_cache(maxsize=1)
    def load(cls) -> Self:
        """The settings as they are now; raises SettingsError for the first wrong one."""
        given = getattr(settings, "ADMIN_MANAGEMENT", {})
        values = read_keys("ADMIN_MANAGEMENT", given, {each.name for each in fields(cls)})
        values["checkout"] = _checkout(values.get("checkout"))
        for name in ("remote", "branch", "pm2_process", "environment", "uv", "pm2"):
            if name in values:
                values[name] = _word(name, values[name])
        values["health_url"] = _health_url(values.get("health_url", ""))
        values["timeouts"] = _timeouts(values.get("timeouts", {}))
        values["extra_steps"] = _extra_steps(values.get("extra_steps", ()))
        values["rehearse"] = _flag("rehearse", values.get("rehearse", True))
        values["linked_files"] = _inner_paths(values.get("linked_files", LINKED_FILES))
        signers = values.get("allowed_signers", "")
        values["allowed_signers"] = _outer_path(signers, values["checkout"])
        values["require_origin"] = _flag("require_origin", values.get("require_origin", False))
        if values.get("recent_login", 0) != 0:
            values["recent_login"] = _seconds("recent_login", values["recent_login"])
        return cls(**values)


@receiver(setting_changed)
def read_again(**_: object) -> None:
    """Tests change settings, and nobody else does."""
    AdminManagementSettings.load.cache_clear()


def read_keys(setting: str, given: object, known: set[str]) -> dict[str, Any]:
    """The dict ``given`` with lower-case keys; raises SettingsError if it has unknown ones."""
    if not isinstance(given, Mapping):
        raise SettingsError(f"{setting} is not a dict.", hint=f"Write {setting} = {{…}}.")
    allowed = sorted(name.upper() for name in known)
    for key in given:
        if key not in allowed:
            raise SettingsError(
                f"{setting} has an unknown key {key!r}.",
                hint=f"The keys are {', '.join(allowed)}.",
            )
    return {key.lower(): value for key, value in given.items()}


def node() -> str:
    """The name of this machine: updates queue up per node."""
    return socket.gethostname()[:100]


def find_tool(name: str) -> str | None:
    """Full path of a tool given by name or path; None if it is not there.

    Beside PATH this looks where uv's and npm's own installers put programs, because a server
    started by an init system often has a shorter PATH than its administrator's shell.
    """
    usual = ("~/.local/bin", "~/.cargo/bin", "~/.npm-global/bin", "/usr/local/bin", "/usr/bin")
    places = [os.environ.get("PATH", ""), *(str(Path(each).expanduser()) for each in usual)]
    found = shutil.which(name, path=os.pathsep.join(places))
    return str(Path(found).absolute()) if found else None


def program(name: str) -> str:
    """Full path of a tool; as it was given if it is not there, so that starting it says so."""
    return find_tool(name) or name


def open_repository(conf: AdminManagementSettings) -> Repository:
    """The checkout's repository, to be looked at with the variables that git may see."""
    git = program("git")
    return Repository(conf.checkout, git, for_tools(os.environ, [git]))


def secret_values() -> list[str]:
    """The values of all settings whose names look secret, for the runner to hide in output."""
    # Only what the site has set: Django's own defaults hold no secret, and merely reading one
    # that is deprecated is a warning.
    was_set = settings.is_overridden  # type: ignore[misc] # unknown to django-stubs
    given = [name for name in dir(settings) if name.isupper() and was_set(name)]
    return sorted({each for name in given for each in _secrets_in(name, getattr(settings, name))})


def redactor() -> Redactor:
    """Hides the secrets of the settings and of this process's variables."""
    return _redactor_of((*secret_values(), *secrets_in_environment(os.environ)))


@lru_cache(maxsize=1)
def _redactor_of(secrets: tuple[str, ...]) -> Redactor:
    # Some hundred spellings make a pattern that takes longer to build than a page.
    return Redactor(secrets)


def _secrets_in(name: str, value: object) -> Iterator[str]:
    """All secrets below a setting. What is inside one that looks secret is secret too."""
    if isinstance(value, str | bytes):
        text = value if isinstance(value, str) else value.decode(errors="replace")
        yield from secrets_of(name, text)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _secrets_in(name if looks_secret(name) else str(key), inner)
    elif isinstance(value, list | tuple | set | frozenset):
        for inner in value:
            yield from _secrets_in(name, inner)


def _wrong(key: str, problem: str, hint: str) -> SettingsError:
    return SettingsError(f'ADMIN_MANAGEMENT["{key.upper()}"] {problem}.', hint=hint)


def _checkout(value: object) -> Path:
    if value is None:
        value = getattr(settings, "BASE_DIR", None)
    if not _is_path(value) or not Path(value).is_absolute():
        raise _wrong(
            "checkout",
            f"is {value!r}, not an absolute path",
            "Set it to the folder that has manage.py, or set BASE_DIR as Django's template does.",
        )
    return Path(value)


def _is_path(value: object) -> TypeGuard[str | Path]:
    """Whether it can be one: the system knows none with a NUL."""
    return isinstance(value, str | Path) and "\0" not in str(value)


def _word(key: str, value: object) -> str:
    # A leading dash would be read as an option by the program that gets it. The database has 100
    # characters for the name of a step.
    is_word = isinstance(value, str) and value.isprintable() and not value.startswith("-")
    if not isinstance(value, str) or not is_word or not 0 < len(value) <= 100:
        raise _wrong(key, f"is {value!r}", "Write a name or path that does not start with a dash.")
    return value


def _flag(key: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise _wrong(key, f"is {value!r}", "Write True or False.")
    return value


def _inner_paths(value: object) -> tuple[str, ...]:
    hint = 'Write a list of paths inside the checkout, like [".env"].'
    if not isinstance(value, list | tuple):
        raise _wrong("linked_files", "is not a list", hint)
    for path in value:
        is_inner = isinstance(path, str) and _is_path(path) and not Path(path).is_absolute()
        if not is_inner or ".." in Path(path).parts:
            raise _wrong("linked_files", f"has {path!r}", hint)
    return tuple(value)


def _outer_path(value: object, checkout: Path) -> str:
    """Outside the repository: a push must not be able to say who may push."""
    hint = 'Write the path of a file outside of the repository, "/etc/site/allowed_signers".'
    if value == "":
        return ""
    if not _is_path(value) or not Path(value).is_absolute():
        raise _wrong("allowed_signers", f"is {value!r}", hint)
    repository = checkout.resolve()
    with suppress(NotAGitCheckoutError):
        repository = work_tree(repository)
    if Path(value).resolve().is_relative_to(repository):
        raise _wrong("allowed_signers", f"is {str(value)!r}, inside the repository", hint)
    return str(value)


def _health_url(value: object) -> str:
    """A path of the site, or an address on this very machine: nothing else is ever asked."""
    if value == "" or (isinstance(value, str) and _is_local_address(value)):
        return str(value)
    raise _wrong(
        "health_url",
        f"is {value!r}",
        'Write a path, "/healthz/", or an address on this machine, "http://127.0.0.1:8000/healthz/".',
    )


def _is_local_address(url: str) -> bool:
    if not _PLAIN_URL.fullmatch(url):
        return False
    if url.startswith("/"):
        return not url.startswith("//")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
        return (
            parts.scheme in ("http", "https")
            and "@" not in parts.netloc
            and (host == "localhost" or ip_address(host).is_loopback)
        )
    except ValueError:
        return False


def _seconds(key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 86_400:
        raise _wrong(key, f"has {value!r} where seconds belong", "Write seconds, up to a day.")
    return value


def _timeouts(given: object) -> dict[str, float]:
    if not isinstance(given, Mapping):
        raise _wrong("timeouts", "is not a dict", 'Write {"migrations": 1800}, in seconds.')
    for name in given:
        if name not in DEFAULT_TIMEOUTS:
            raise _wrong(
                "timeouts",
                f"names an unknown step {name!r}",
                f"The steps are {', '.join(DEFAULT_TIMEOUTS)}.",
            )
    return {
        name: _seconds("timeouts", given.get(name, default))
        for name, default in DEFAULT_TIMEOUTS.items()
    }


def _extra_steps(given: object) -> tuple[ExtraStep, ...]:
    if not isinstance(given, list | tuple):
        raise _wrong("extra_steps", "is not a list", "Write a list of dicts.")
    steps = tuple(_extra_step(each) for each in given)
    names = [*DEFAULT_TIMEOUTS, *(step.name for step in steps)]
    for name in names:
        if names.count(name) > 1:
            raise _wrong("extra_steps", f"has two steps named {name!r}", "Rename one of them.")
    return steps


def _extra_step(given: object) -> ExtraStep:
    example = (
        'Write {"name": "warm_cache", "argv": ["{python}", "manage.py", "warm_cache"], '
        '"timeout": 60, "after": "migrations"}.'
    )
    known = {each.name for each in fields(ExtraStep)}
    if not isinstance(given, Mapping) or not {"name", "argv", "timeout"} <= set(given) <= known:
        raise _wrong("extra_steps", f"has {given!r}", example)
    argv = given["argv"]
    if not isinstance(argv, list | tuple) or not argv or not all(map(_is_argument, argv)):
        raise _wrong("extra_steps", f"has the argv {argv!r}, not a list of strings", example)
    before, after = given.get("before", ""), given.get("after", "")
    places = list(DEFAULT_TIMEOUTS)
    if (before == "") == (after == "") or (before or after) not in places:
        raise _wrong(
            "extra_steps",
            f"does not say where {given['name']!r} belongs",
            f'Give it either "before" or "after" with one of {", ".join(places)}.',
        )
    return ExtraStep(
        name=_word("extra_steps", given["name"]),
        argv=tuple(argv),
        timeout=_seconds("extra_steps", given["timeout"]),
        before=before,
        after=after,
    )


def _is_argument(word: object) -> bool:
    return isinstance(word, str) and "\0" not in word
