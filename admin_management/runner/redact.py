"""Hide secrets in output, line by line, at the one place where bytes enter.

Whole lines only: a secret cut in two by the edge of a chunk would pass.
"""

import json
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from urllib.parse import quote

REDACTED = "[REDACTED]"

SHORTEST = 6
"""Values shorter than this are not hidden: they would black out half of every log."""

_SECRET_NAME = re.compile(
    r"SECRET|PASSW|PASSPHRASE|(^|_)PASS$|_PWD$|TOKEN|CREDENTIAL|PRIVATE|API_?KEY|ACCESS_?KEY"
    r"|SIGNING|DSN|_URL$|(^|_)KEY$",
    re.IGNORECASE,
)
_HARMLESS_NAME = re.compile(
    r"^((STATIC|MEDIA|HEALTH|LOGIN|LOGOUT|LOGIN_REDIRECT|LOGOUT_REDIRECT)_URL"
    r"|(AUTH_)?PASSWORD_(HASHERS|VALIDATORS|RESET_TIMEOUT))$"
)

_PATTERNS = (
    # user:password@ of a URL
    re.compile(r"(?<=://)[^\s/@:]*:[^\s/@]+(?=@)"),
    # https://TOKEN@host
    re.compile(r"(?<=://)[^\s/@:]{16,}(?=@)"),
    # GitHub, GitLab, Slack, AWS, PyPI and Stripe tokens, JSON web tokens
    re.compile(
        r"\b(gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[abprs]-[\w-]{10,}"
        r"|AKIA[A-Z0-9]{16}|pypi-[\w-]{20,}|[sr]k_(live|test)_\w{16,}"
        r"|eyJ[\w-]{8,2000}\.[\w-]{8,}\.[\w-]*)"
    ),
)


def looks_secret(name: str) -> bool:
    """Whether a setting or variable of this name is likely to hold a secret."""
    return bool(_SECRET_NAME.search(name)) and not _HARMLESS_NAME.match(name)


def secrets_in_environment(environ: Mapping[str, str]) -> list[str]:
    return [value for name, value in environ.items() if looks_secret(name)]


class Redactor:
    """Replaces known values, in the spellings they travel in, and what has a token's shape."""

    def __init__(self, values: Iterable[str], *, hides_output: bool = False) -> None:
        self._hides_output = hides_output
        spellings = {
            form
            for value in values
            for part in _parts(value)
            if len(part) >= SHORTEST
            for form in _forms(part)
        }
        # Longest first, or a short secret inside a long one would leave the rest of it visible.
        ordered = sorted(spellings, key=len, reverse=True)
        self._values = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def output(self, text: str) -> str:
        """A line that a program has printed. All of it is hidden where the secrets are unknown."""
        return REDACTED if self._hides_output else self.line(text)

    def line(self, text: str) -> str:
        if self._values:
            text = self._values.sub(REDACTED, text)
        for pattern in _PATTERNS:
            text = pattern.sub(REDACTED, text)
        return text


def _parts(value: str) -> set[str]:
    """The whole, and its lines: what is looked through is never more than one line."""
    return {value, *(line.strip() for line in value.splitlines())}


def _forms(value: str) -> set[str]:
    raw = _bytes(value)
    return {
        value,
        raw.decode(errors="replace"),
        quote(raw, safe=""),
        json.dumps(value)[1:-1],
        repr(value)[1:-1],
        b64encode(raw).decode("ascii").rstrip("="),
    }


def _bytes(value: str) -> bytes:
    """As a program would print it: a variable may hold bytes that are no text."""
    try:
        return value.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return value.encode(errors="replace")
