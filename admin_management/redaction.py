"""What this site must not show: the secrets of its settings and of this process's variables."""

import os
from collections.abc import Iterator, Mapping
from functools import lru_cache

from django.conf import settings

from .runner.redact import Redactor, looks_secret, secrets_in_environment, secrets_of


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
