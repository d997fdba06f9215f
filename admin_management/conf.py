"""The settings: one dict, ``ADMIN_MANAGEMENT``, read again whenever a test overrides it."""

import re
from collections.abc import Callable, Mapping
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
from .runner.state import NotAGitCheckoutError, work_tree

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
    linked_files: tuple[str, ...] = (".env",)
    allowed_signers: str = ""
    require_origin: bool = False
    recent_login: float = 0

    @classmethod
    @lru_cache(maxsize=1)
    def load(cls) -> Self:
        """The settings as they are now; raises SettingsError for the first wrong one."""
        given = getattr(settings, "ADMIN_MANAGEMENT", {})
        values = read_keys("ADMIN_MANAGEMENT", given, {each.name for each in fields(cls)})
        checkout = _checkout(values.pop("checkout", None))
        checked = {name: _CHECKS[name](name, value) for name, value in values.items()}
        conf = cls(checkout=checkout, **checked)
        _check_outside("allowed_signers", conf.allowed_signers, checkout)
        return conf


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


def _inner_paths(key: str, value: object) -> tuple[str, ...]:
    hint = 'Write a list of paths inside the checkout, like [".env"].'
    if not isinstance(value, list | tuple):
        raise _wrong(key, "is not a list", hint)
    for path in value:
        is_inner = isinstance(path, str) and _is_path(path) and not Path(path).is_absolute()
        if not is_inner or ".." in Path(path).parts:
            raise _wrong(key, f"has {path!r}", hint)
    return tuple(value)


_OUTER_PATH = 'Write the path of a file outside of the repository, "/etc/site/allowed_signers".'


def _outer_path(key: str, value: object) -> str:
    if value == "" or (_is_path(value) and Path(value).is_absolute()):
        return str(value)
    raise _wrong(key, f"is {value!r}", _OUTER_PATH)


def _check_outside(key: str, path: str, checkout: Path) -> None:
    """A push must not be able to say who may push."""
    repository = checkout.resolve()
    with suppress(NotAGitCheckoutError):
        repository = work_tree(repository)
    if path and Path(path).resolve().is_relative_to(repository):
        raise _wrong(key, f"is {path!r}, inside the repository", _OUTER_PATH)


def _health_url(key: str, value: object) -> str:
    """A path of the site, or an address on this very machine: nothing else is ever asked."""
    if value == "" or (isinstance(value, str) and _is_local_address(value)):
        return str(value)
    raise _wrong(
        key,
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


def _seconds_if_any(key: str, value: object) -> float:
    return 0 if value == 0 and not isinstance(value, bool) else _seconds(key, value)


def _seconds(key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 86_400:
        raise _wrong(key, f"has {value!r} where seconds belong", "Write seconds, up to a day.")
    return value


def _timeouts(key: str, given: object) -> dict[str, float]:
    if not isinstance(given, Mapping):
        raise _wrong(key, "is not a dict", 'Write {"migrations": 1800}, in seconds.')
    for name in given:
        if name not in DEFAULT_TIMEOUTS:
            raise _wrong(
                key,
                f"names an unknown step {name!r}",
                f"The steps are {', '.join(DEFAULT_TIMEOUTS)}.",
            )
    return {
        name: _seconds(key, given.get(name, default)) for name, default in DEFAULT_TIMEOUTS.items()
    }


def _extra_steps(key: str, given: object) -> tuple[ExtraStep, ...]:
    if not isinstance(given, list | tuple):
        raise _wrong(key, "is not a list", "Write a list of dicts.")
    steps = tuple(_extra_step(key, each) for each in given)
    names = [*DEFAULT_TIMEOUTS, *(step.name for step in steps)]
    for name in names:
        if names.count(name) > 1:
            raise _wrong(key, f"has two steps named {name!r}", "Rename one of them.")
    return steps


def _extra_step(key: str, given: object) -> ExtraStep:
    example = (
        'Write {"name": "warm_cache", "argv": ["{python}", "manage.py", "warm_cache"], '
        '"timeout": 60, "after": "migrations"}.'
    )
    known = {each.name for each in fields(ExtraStep)}
    if not isinstance(given, Mapping) or not {"name", "argv", "timeout"} <= set(given) <= known:
        raise _wrong(key, f"has {given!r}", example)
    argv = given["argv"]
    if not isinstance(argv, list | tuple) or not argv or not all(map(_is_argument, argv)):
        raise _wrong(key, f"has the argv {argv!r}, not a list of strings", example)
    before, after = given.get("before", ""), given.get("after", "")
    places = list(DEFAULT_TIMEOUTS)
    if (before == "") == (after == "") or (before or after) not in places:
        raise _wrong(
            key,
            f"does not say where {given['name']!r} belongs",
            f'Give it either "before" or "after" with one of {", ".join(places)}.',
        )
    return ExtraStep(
        name=_word(key, given["name"]),
        argv=tuple(argv),
        timeout=_seconds(key, given["timeout"]),
        before=before,
        after=after,
    )


def _is_argument(word: object) -> bool:
    return isinstance(word, str) and "\0" not in word


_CHECKS: Mapping[str, Callable[[str, object], Any]] = {
    "remote": _word,
    "branch": _word,
    "pm2_process": _word,
    "environment": _word,
    "uv": _word,
    "pm2": _word,
    "health_url": _health_url,
    "timeouts": _timeouts,
    "extra_steps": _extra_steps,
    "rehearse": _flag,
    "linked_files": _inner_paths,
    "allowed_signers": _outer_path,
    "require_origin": _flag,
    "recent_login": _seconds_if_any,
}
"""What makes a setting's value of what the site has given, or raises SettingsError."""
