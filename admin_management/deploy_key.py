"""The key that ssh would show to a remote, and whether it can use it with nobody there to help.

Asks no network: whether the remote knows the key, only the remote can say.
"""

import os
import pwd
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from .exceptions import AdminManagementError
from .runner.process import Child

TIMEOUT = 5.0
"""Seconds that ssh and ssh-keygen may take. The user's own configuration may execute programs."""

_HOST = r"(?P<host>\[[^\]/]+\]|[^\[\]/:@]+)"
_URL = re.compile(
    r"(?:ssh|git\+ssh|ssh\+git)://(?:(?P<user>[^/:@]+)(?::[^/@]*)?@)?"
    rf"{_HOST}(?::(?P<port>\d*))?(?:/|$)"
)
_SCP_LIKE = re.compile(rf"(?![A-Za-z]:[\\/])(?:(?P<user>[^/:@]+)@)?{_HOST}:(?!:|//)")


class UnusableKeyError(AdminManagementError):
    """ssh cannot use a key, or is not there to do so; ``hint`` says how to mend it."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def ssh_arguments(url: str) -> tuple[str, ...]:
    """What ssh is given to reach a remote, without a password; empty if it is not over SSH."""
    found = _URL.match(url) or _SCP_LIKE.match(url)
    if not found:
        return ()
    parts = found.groupdict()
    user = f"{parts['user']}@" if parts["user"] else ""
    port = ("-p", parts["port"]) if parts.get("port") else ()
    return (*port, "--", user + parts["host"].strip("[]"))


@dataclass(frozen=True, slots=True)
class Configuration:
    """What ssh goes by for one remote: files of keys, there or not, in its order, and an agent."""

    files: tuple[Path, ...]
    has_agent: bool


def configuration(arguments: Sequence[str], environ: Mapping[str, str]) -> Configuration:
    """What ssh says that it goes by, as the user has configured it. Raises UnusableKeyError."""
    # Else it asks the network for the host's full name where the user has told it to.
    is_good, printed = _finish(("ssh", "-G", "-oCanonicalizeHostname=no", *arguments), environ)
    if not is_good:
        raise UnusableKeyError(
            f"ssh does not accept its configuration or the address: {printed.strip()}",
            hint="Mend ~/.ssh/config, or the address of the remote.",
        )
    return read_configuration(printed, environ)


def read_configuration(printed: str, environ: Mapping[str, str]) -> Configuration:
    """What ``ssh -G`` has printed. ssh_config(5) has its words and tokens."""
    pairs = [line.partition(" ")[::2] for line in printed.splitlines()]
    values = dict(reversed(pairs))
    agent = values.get("identityagent", "SSH_AUTH_SOCK")
    names = [value for name, value in pairs if name == "identityfile" and value != "none"]
    return Configuration(
        files=tuple(Path(_expanded(name, values, environ)) for name in names),
        has_agent=agent != "none" and (agent != "SSH_AUTH_SOCK" or "SSH_AUTH_SOCK" in environ),
    )


def _expanded(name: str, values: Mapping[str, str], environ: Mapping[str, str]) -> str:
    """The path that ssh makes of it; ``ssh -G`` prints it as it was written."""
    # Not HOME: ssh goes by the user database.
    user = pwd.getpwuid(os.getuid())
    tokens = {
        "%": "%",
        "d": user.pw_dir,
        "u": user.pw_name,
        "h": values.get("hostname", ""),
        "r": values.get("user", ""),
        "p": values.get("port", ""),
    }
    name = re.sub("^~(?=/)", lambda _: user.pw_dir, name)
    name = re.sub(r"\$\{(\w+)\}", lambda found: environ.get(found[1], found[0]), name)
    return re.sub("%(.)", lambda found: tokens.get(found[1], found[0]), name)


def first_usable(keys: Sequence[Path], environ: Mapping[str, str]) -> Path:
    """The first key that ssh can use: it tries the others in vain, and goes on.

    Raises UnusableKeyError, about the first of them, if it can use none.
    """
    problems: list[UnusableKeyError] = []
    for key in keys:
        try:
            check_key(key, environ)
        except UnusableKeyError as error:
            problems.append(error)
        else:
            return key
    raise problems[0]


def check_key(key: Path, environ: Mapping[str, str]) -> None:
    """Raises UnusableKeyError unless ssh can use it without asking anybody."""
    _check_permissions(key)
    # What it prints on success is the public half.
    is_good, printed = _finish(("ssh-keygen", "-y", "-P", "", "-f", str(key)), environ)
    if not is_good:
        raise UnusableKeyError(
            f"{key} has a passphrase, or is no key: {printed.strip()}",
            hint="Nobody is there to type a passphrase. Use a deploy key without one, which can "
            f'only read; or take it away: ssh-keygen -p -N "" -f {quote(str(key))}',
        )


def _check_permissions(key: Path) -> None:
    """As ssh does it: of a key that belongs to somebody else it only wants to read it."""
    named = quote(str(key))
    if not os.access(key, os.R_OK):
        raise UnusableKeyError(
            f"{key} cannot be read by the user that runs this.",
            hint=f"Give it to the user that runs the site: chown USER {named}; chmod 600 {named}",
        )
    status = key.stat()
    mode = status.st_mode & 0o777
    if status.st_uid == os.getuid() and mode & 0o077:
        raise UnusableKeyError(
            f"Others than its owner get at {key} ({mode:o}): ssh refuses such a key.",
            hint=f"chmod 600 {named}",
        )


def _finish(argv: Sequence[str], environ: Mapping[str, str]) -> tuple[bool, str]:
    """Whether it succeeded, and what it printed. What it has started ends with it."""
    said: list[bytes] = []
    try:
        child = Child(argv, cwd=Path("/"), environ=environ, receive=said.append)
    except FileNotFoundError as error:
        raise UnusableKeyError(
            f"{argv[0]} was not found.", hint="apt-get install openssh-client"
        ) from error
    with child:
        ending = child.wait(TIMEOUT)
    if ending.timed_out:
        raise UnusableKeyError(
            f"{argv[0]} did not end within {TIMEOUT:g} s.",
            hint="Look at what ~/.ssh/config lets it execute.",
        )
    return ending.succeeded, b"".join(said).decode("utf-8", "surrogateescape")
