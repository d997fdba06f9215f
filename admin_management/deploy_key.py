"""The key that ssh would show to a remote, and whether it can use it with nobody there to help.

Asks no network: whether the remote knows the key, only the remote can say.
"""

import os
import pwd
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from .exceptions import AdminManagementError
from .runner.process import PRIVATE

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


def identity_files(printed: str, home: str) -> list[Path]:
    """The files that ``ssh -G`` names, in the order in which it would try them."""
    lines = (line.partition(" ") for line in printed.splitlines())
    names = [value for name, _, value in lines if name == "identityfile"]
    return [Path(re.sub("^~(?=/)", lambda _: home, name)) for name in names]


def files_that_ssh_tries(arguments: Sequence[str], environ: Mapping[str, str]) -> list[Path]:
    """Where it looks for keys, there or not, by the user's own configuration.

    Raises UnusableKeyError.
    """
    # Else it asks the network for the host's full name where the user has told it to.
    done = _finish(("ssh", "-G", "-oCanonicalizeHostname=no", *arguments), environ)
    if done.returncode:
        raise UnusableKeyError(
            f"ssh does not accept its configuration or the address: {done.stderr.strip()}",
            hint="Mend ~/.ssh/config, or the address of the remote.",
        )
    # Not HOME: ssh goes by the user database.
    return identity_files(done.stdout, pwd.getpwuid(os.getuid()).pw_dir)


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
    done = _finish(("ssh-keygen", "-y", "-P", "", "-f", str(key)), environ)
    if done.returncode:
        raise UnusableKeyError(
            f"{key} has a passphrase, or is no key: {done.stderr.strip()}",
            hint="Nobody is there to type a passphrase. Use a deploy key without one, which can "
            f'only read; or take it away: ssh-keygen -p -N "" -f {key}',
        )


def _check_permissions(key: Path) -> None:
    status = key.stat()
    if status.st_uid != os.geteuid() or not os.access(key, os.R_OK):
        raise UnusableKeyError(
            f"{key} belongs to another user, or cannot be read.",
            hint=f"Give it to the user that runs the site: chown USER {key}; chmod 600 {key}",
        )
    mode = status.st_mode & 0o777
    if mode & 0o077:
        raise UnusableKeyError(
            f"Others than its owner get at {key} ({mode:o}): ssh refuses such a key.",
            hint=f"chmod 600 {key}",
        )


def _finish(argv: Sequence[str], environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            argv,
            env=environ,
            stdin=subprocess.DEVNULL,
            umask=PRIVATE,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            timeout=TIMEOUT,
            check=False,
        )
    except FileNotFoundError as error:
        raise UnusableKeyError(
            f"{argv[0]} was not found.", hint="apt-get install openssh-client"
        ) from error
