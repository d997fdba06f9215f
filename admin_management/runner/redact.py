"""Hide secrets in output, line by line, at the one place where bytes enter.

Whole lines only: a secret cut in two by the edge of a chunk would pass.
"""

import json
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import Any
from urllib.parse import quote, quote_plus, unquote

from .terminal import harmless

REDACTED = "[REDACTED]"

SHORTEST = 6
"""Values shorter than this are not hidden: they would black out half of every log."""

_SECRET_NAME = re.compile(
    r"SECRET|PASSW|PASSPHRASE|(^|_)PASS$|_PWD$|TOKEN|CREDENTIAL|PRIVATE|API_?KEY|ACCESS_?KEY"
    r"|SIGNING|DSN|(^|_)KEY$",
    re.IGNORECASE,
)
_HARMLESS_NAME = re.compile(
    r"^((AUTH_)?PASSWORD_(HASHERS|VALIDATORS|RESET_TIMEOUT)"
    r"|.*_(MODEL|CLASS|BACKEND|URL|HEADER|HEADER_NAME|NAME|AGE|TIMEOUT|LENGTH|PREFIX))$"
)

_USER_INFO = re.compile(r"://[^\s/@:]*:(\S{1,300})@")
"""The password of a URL: up to the last @, since some hold one."""

_KEY_BEGINS = re.compile(r"-{4,5} ?BEGIN [A-Z0-9 ]*PRIVATE KEY( BLOCK)? ?-{4,5}")
_KEY_ENDS = re.compile(r"-{4,5} ?END [A-Z0-9 ]*PRIVATE KEY( BLOCK)? ?-{4,5}")
"""RFC 7468, RFC 9580, and with four dashes and blanks that of ssh.com."""

_BEGINNING = r"(?:(?<![^\W_])|(?<=\\[nrt])|(?<=%[0-9A-Fa-f]{2}))"
"""Where a word does, after an underscore, or after an escape: "\\n" ends with a letter."""

_PATTERNS = (
    # A private key in a text of several lines, or with its lines in one. First, because others
    # would take its beginning away.
    re.compile(rf"(?s){_KEY_BEGINS.pattern}.*?(?:{_KEY_ENDS.pattern}|\Z)"),
    # user:password@ of a URL. Not a port and a path with a name that begins with an @.
    re.compile(r"(?<=://)[^\s/@:]*:(?!\d{1,5}/(?:[^\s@\"'<>]{0,300}/)?@)[^\s\"'<>]{1,300}(?=@)"),
    # https://TOKEN@host
    re.compile(r"(?<=://)[^\s/@:]{16,300}(?=@)"),
    # Authorization: Bearer TOKEN, as tools print the headers that they send
    re.compile(r"(?i)(?<=bearer )[\w.~+/=-]{8,}|(?<=basic )[A-Za-z0-9+/=]{8,}"),
    re.compile(r"(?i)(?:(?<=authorization: token )|(?<=private-token: ))[\w.-]{8,}"),
    re.compile(r"(?i)(?:(?<=password=)|(?<=password: ))[^\s&;,'\"]+"),
    # GitHub, GitLab, Atlassian, Slack, AWS, Google, PyPI, npm, Stripe, SendGrid, OpenAI,
    # Hugging Face and DigitalOcean tokens, and our own
    re.compile(
        _BEGINNING + r"(?:gh[pousr]_\w{20,}|github_pat_\w{20,}|AT(CTT3|ATT3|BB)[\w=-]{20,}"
        r"|gl(pat|dt|rt|cbt|ptt|ft|imt|soat)-[\w-]{16,}|xox[abeprs]-[\w-]{10,}|xapp-[\w-]{10,}"
        r"|A[KS]IA[A-Z0-9]{16}|AIza[\w-]{35}|pypi-[\w-]{20,}|npm_\w{30,}|dam_[\w-]{40,}"
        r"|SG\.[\w-]{16,}\.[\w-]{16,}|sk-(?:proj-|svcacct-|ant-)[\w-]{20,}|sk-[0-9A-Za-z]{32,}"
        r"|hf_[A-Za-z]{30,}|do[opr]_v1_[0-9a-f]{32,}"
        r"|[sr]k_(live|test)_[0-9A-Za-z]{16,})"
    ),
    # The address of a Slack webhook is its secret.
    re.compile(r"(?<=//hooks\.slack\.com/)[\w/-]{20,}"),
    # JSON web tokens. Not in the midst of a word, of which each could begin a long search.
    re.compile(
        r"eyJ(?:(?<=\beyJ)|(?<=\\[nrt]eyJ)|(?<=%[0-9A-Fa-f]{2}eyJ))"
        r"[\w-]{8,2000}\.[\w-]{8,}\.[\w-]*"
    ),
)


_ESCAPE = re.compile(r"%[0-9A-F]{2}")

LONGEST_KEY = 2000
"""Lines after which a key that began and does not end is none."""


def looks_secret(name: str) -> bool:
    """Whether a setting or variable of this name is likely to hold a secret."""
    return bool(_SECRET_NAME.search(name)) and not _HARMLESS_NAME.match(name)


def secrets_of(name: str, value: str) -> list[str]:
    """What of a setting or variable is hidden: all of it, the password of a URL, or nothing.

    The password both as it stands in the URL and as it is sent.
    """
    written: list[str] = _USER_INFO.findall(value)
    passwords = [*dict.fromkeys((*written, *map(unquote, written)))]
    return [*passwords, value] if looks_secret(name) else passwords


def secrets_in_environment(environ: Mapping[str, str]) -> list[str]:
    return [secret for name, value in environ.items() for secret in secrets_of(name, value)]


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
            if len(form) >= SHORTEST
        }
        self._values = re.compile(_any_of(spellings)) if spellings else None

    def output(self, text: str) -> str:
        """A line that a program has printed. All of it is hidden where the secrets are unknown."""
        return REDACTED if self._hides_output else self.line(text)

    def line(self, text: str) -> str:
        if self._values:
            text = self._values.sub(REDACTED, text)
        for pattern in _PATTERNS:
            text = pattern.sub(REDACTED, text)
        return text

    def lines(self, text: str) -> list[str]:
        """The lines of a text in which a private key may stand, such as that of an exception."""
        keys = PrivateKeys()
        return [REDACTED if keys.hides(line) else self.line(line) for line in text.splitlines()]


class PrivateKeys:
    """Tells the lines of private keys, RFC 7468 and RFC 9580, from the others of one output."""

    def __init__(self) -> None:
        self._lines_left = 0

    def hides(self, line: str) -> bool:
        """Whether the next line of the output is one of a key's."""
        begins, ends = _last(_KEY_BEGINS, line), _last(_KEY_ENDS, line)
        if begins >= 0:
            self._lines_left = LONGEST_KEY
        is_hidden = self._lines_left > 0
        # Where a file lacks its last line end, the next key may begin on the line of the end.
        self._lines_left = 0 if ends > begins else max(0, self._lines_left - 1)
        return is_hidden

    def skip_to(self, lines: Iterable[str]) -> None:
        """After a gap: these come next, and may begin in the middle of a key."""
        for line in lines:
            begins, ends = _KEY_BEGINS.search(line), _KEY_ENDS.search(line)
            if ends and not (begins and begins.start() < ends.start()):
                self._lines_left = LONGEST_KEY
            if begins or ends:
                return


def _last(pattern: re.Pattern[str], line: str) -> int:
    """Where it is found last in the line; -1 if nowhere."""
    return max((found.start() for found in pattern.finditer(line)), default=-1)


def _parts(value: str) -> set[str]:
    """The whole, and its lines: what is looked through is never more than one line."""
    return {value, *(line.strip() for line in value.splitlines())}


def _any_of(words: Iterable[str]) -> str:
    """A pattern for any of the words, of those that begin alike the longest.

    By their common beginnings: tried one after the other, some hundred take thirty times as long.
    """
    tree: dict[str, Any] = {}
    for word in words:
        node = tree
        for letter in word:
            node = node.setdefault(letter, {})
        node[""] = {}
    return _pattern_of(tree)


def _pattern_of(node: dict[str, Any]) -> str:
    branches = [_branch(letter, rest) for letter, rest in node.items() if letter]
    if not branches:
        return ""
    return f"(?:{'|'.join(branches)})" + ("?" if "" in node else "")


def _branch(beginning: str, node: dict[str, Any]) -> str:
    # A loop where words do not part: a long one would be too deep to recurse into.
    while len(node) == 1 and "" not in node:
        ((letter, node),) = node.items()
        beginning += letter
    return re.escape(beginning) + _pattern_of(node)


def _forms(value: str) -> set[str]:
    raw = _bytes(value)
    # The last as encodeURIComponent of JavaScript does.
    quoted = {quote(raw, safe=""), quote(raw), quote_plus(raw), quote(raw, safe="!'()*")}
    in_json = {json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    in_html = {escape(value), escape(value, quote=False), escape(value).replace("&#x27;", "&#39;")}
    return {
        value,
        harmless(value),
        harmless(raw.decode(errors="replace")),
        *quoted,
        *(_ESCAPE.sub(lambda found: found[0].lower(), each) for each in quoted),
        *in_html,
        *in_json,
        *(json.dumps(each)[1:-1] for each in in_json),
        repr(value)[1:-1],
        ascii(value)[1:-1],
        repr(raw)[2:-1],
        # Between single quotes, as a shell traces it and as shlex.quote() writes it
        value.replace("'", r"'\''"),
        value.replace("'", "'\"'\"'"),
        *_base64_forms(raw),
    }


def _base64_forms(raw: bytes) -> Iterator[str]:
    """Of the value alone, and of what holds it: there it begins at one of three places."""
    for encode in (b64encode, urlsafe_b64encode):
        yield encode(raw).decode("ascii").rstrip("=")
        for before in range(3):
            encoded = encode(bytes(before) + raw).decode("ascii")
            # Without the characters at its ends that tell of its neighbours, too.
            yield encoded[(8 * before + 5) // 6 : 8 * (before + len(raw)) // 6]


def _bytes(value: str) -> bytes:
    """As a program would print it: a variable may hold bytes that are no text."""
    try:
        return value.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return value.encode(errors="replace")
