"""Git, asked safely: fixed argument lists, no hooks, no prompts, full SHAs."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from .process import PRIVATE, Child

QUERY_TIMEOUT = 10.0
"""Seconds that a look at the local repository may take."""

REMOTE_TIMEOUT = 20.0
"""Seconds that a look at a remote may take."""

SSH_COMMAND = "ssh -oBatchMode=yes -oConnectTimeout=10"
"""What git starts for a remote over SSH, unless the site or the checkout names another."""

_HARDENING = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "submodule.recurse=false",
    "transfer.bundleURI=false",
    "gc.autoDetach=false",
    "maintenance.autoDetach=false",
    "advice.detachedHead=false",
    # Give up on a remote that sends less than 1,000 bytes/s for 20 s.
    "http.lowSpeedLimit=1000",
    "http.lowSpeedTime=20",
)


class GitError(Exception):
    """Git refused; the message is what it said."""


def hardened(git: str, *arguments: str, options: Sequence[str] = ()) -> tuple[str, ...]:
    """The argv of a git command that runs no hook, monitor or background process of its own.

    ``options`` are more of its configuration, ``name=value``, for this command alone.
    """
    words = (word for each in (*_HARDENING, *options) for word in ("-c", each))
    return (git, *words, *arguments)


def environment(inherited: Mapping[str, str], *, remote_is_a_path: bool = False) -> dict[str, str]:
    """Variables that keep git from asking a person or using an unexpected transport."""
    protocols = "https:ssh:file" if remote_is_a_path else "https:ssh"
    return dict(inherited) | {
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "/bin/false",
        "SSH_ASKPASS": "/bin/false",
        "GIT_ALLOW_PROTOCOL": protocols,
        "GIT_SSH_COMMAND": inherited.get("GIT_SSH_COMMAND") or SSH_COMMAND,
        "GIT_OPTIONAL_LOCKS": "0",
    }


class Repository:
    """Looks at one work tree. Changes nothing: what changes it is a step."""

    def __init__(self, checkout: Path, git: str, environ: Mapping[str, str] = os.environ) -> None:
        self._checkout = checkout
        self._git = git
        self._inherited = environ
        self._environ = environment(environ)

    def ask(self, *arguments: str, timeout: float = QUERY_TIMEOUT) -> str:
        """What git printed, without the last newline. Raises GitError."""
        return self._ask(*arguments, timeout=timeout).decode(errors="replace").rstrip("\n")

    def _ask(
        self, *arguments: str, timeout: float = QUERY_TIMEOUT, options: Sequence[str] = ()
    ) -> bytes:
        try:
            done = subprocess.run(
                hardened(self._git, *arguments, options=options),
                cwd=self._checkout,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                umask=PRIVATE,
                capture_output=True,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise GitError(f"git {arguments[0]} did not answer in {timeout:g} s") from error
        except OSError as error:
            raise GitError(f"{self._git} cannot be started: {error.strerror}") from error
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()
            raise GitError(said or f"git {arguments[0]} failed with exit code {done.returncode}")
        return done.stdout

    def revision(self, name: str = "HEAD") -> str:
        """The full SHA of a commit. Raises GitError when there is no such commit."""
        return self.ask("rev-parse", "--verify", "--quiet", "--end-of-options", name + "^{commit}")

    def subject(self, revision: str) -> str:
        """A commit in one line: its short SHA and the first line of its message."""
        return self.ask("log", "-1", "--no-show-signature", "--format=%h %s", revision, "--")

    def is_ancestor(self, older: str, newer: str) -> bool:
        """Whether ``newer`` can be reached from ``older`` by going forward only."""
        return self.count(f"{newer}..{older}") == 0

    def count(self, commits: str) -> int:
        """How many commits a range has."""
        return int(self.ask("rev-list", "--count", commits, "--"))

    def remote_tip(self, remote: str, branch: str) -> str:
        """The full SHA that a branch of a remote has now. Asks the network. Raises GitError."""
        reference = f"refs/heads/{branch}"
        said: list[bytes] = []
        child = Child(
            hardened(self._git, "ls-remote", "--", remote, reference),
            cwd=self._checkout,
            environ=self.environment_for(remote),
            receive=said.append,
        )
        # Not _ask(): what git starts to reach a remote must end with it.
        with child:
            ending = child.wait(REMOTE_TIMEOUT)
        text = b"".join(said).decode(errors="replace")
        if not ending.succeeded:
            raise GitError(text.strip() or f"git ls-remote: {ending.describe(REMOTE_TIMEOUT)}")
        for line in text.splitlines():
            revision, _, name = line.partition("\t")
            if name == reference:
                return revision
        raise GitError(f"{remote} has no branch {branch}.")

    def verify_commit(self, revision: str, signers: Path) -> None:
        """Raises GitError unless one of ``signers``, ssh-keygen(1), has signed this very commit.

        A signature of GPG must be of a key that the user's keyring trusts fully. The programs are
        git's defaults: a repository's own configuration does not say who verifies. Whether a key
        of SSH had expired is judged by the commit's own date, which its author chooses.
        """
        options = (
            f"gpg.ssh.allowedSignersFile={signers}",
            "gpg.ssh.program=ssh-keygen",
            "gpg.program=gpg",
            "gpg.openpgp.program=gpg",
            "gpg.x509.program=false",
            "gpg.minTrustLevel=fully",
        )
        self._ask("verify-commit", "--", revision, options=options)

    def signatures(self, revision: str) -> list[str]:
        """The signatures of a commit, as they are."""
        header, _, _ = self.ask("cat-file", "commit", revision).partition("\n\n")
        # Lines of one value, of which all but the first begin with a space.
        values = header.replace("\n ", "\0").split("\n")
        found = [each.partition(" ")[2] for each in values if each.startswith("gpgsig")]
        return [each.replace("\0", "\n") + "\n" for each in found]

    def git_directory(self) -> Path:
        return Path(self.ask("rev-parse", "--absolute-git-dir"))

    def local_changes(self) -> bytes:
        """All differences of tracked files from the last commit, as a patch; empty if none."""
        return self._ask("diff", "--binary", "--no-color", "--no-ext-diff", "HEAD", "--")

    def branch(self) -> str:
        """The checked-out branch; empty when HEAD is detached."""
        try:
            return self.ask("symbolic-ref", "--quiet", "--short", "HEAD")
        except GitError:
            return ""

    def changed_files(self) -> list[str]:
        """Tracked files that differ from the last commit. Untracked files do not count."""
        # Submodules are left alone: an update neither checks them out nor stumbles over them.
        changed = self._differing("--ignore-submodules=all", "HEAD")
        return [name.decode(errors="replace") for name in changed]

    def added_files(self, older: str, newer: str) -> list[Path]:
        """Files that ``newer`` has and ``older`` has not, as paths in the work tree."""
        # The checkout may be a folder in it.
        root = Path(self.ask("rev-parse", "--show-toplevel"))
        added = self._differing("--no-renames", "--diff-filter=A", older, newer)
        return [root / os.fsdecode(name) for name in added]

    def _differing(self, *words: str) -> list[bytes]:
        listing = self._ask("diff", "--name-only", "--no-ext-diff", "-z", *words, "--")
        return [name for name in listing.split(b"\0") if name]

    def remote_url(self, remote: str) -> str:
        """Where a remote really is, by git's configuration; empty when there is no such remote."""
        return _remote_url(self._configuration(), remote)

    def environment_for(self, remote: str) -> dict[str, str]:
        """Variables for a command that asks ``remote``: its transport, and its own key."""
        configuration = self._configuration()
        url = _remote_url(configuration, remote)
        chosen = environment(self._inherited, remote_is_a_path=is_a_path(url))
        # GIT_SSH_COMMAND would overrule it.
        if commands := configuration.get("core.sshcommand"):
            chosen["GIT_SSH_COMMAND"] = self._inherited.get("GIT_SSH_COMMAND") or commands[-1]
        return chosen

    def _configuration(self) -> dict[str, list[str]]:
        """All that git is configured with, as git-config(1) lists it."""
        values: dict[str, list[str]] = {}
        try:
            listing = self.ask("config", "--null", "--list")
        except GitError:
            return values
        for entry in listing.split("\0"):
            name, _, value = entry.partition("\n")
            values.setdefault(name, []).append(value)
        return values


def _remote_url(configuration: Mapping[str, list[str]], remote: str) -> str:
    """The first of its addresses, with the longest beginning that git replaces replaced."""
    url = (configuration.get(f"remote.{remote}.url") or [""])[0]
    replacements = (
        (beginning, name.removeprefix("url.").removesuffix(".insteadof"))
        for name, beginnings in configuration.items()
        if name.startswith("url.") and name.endswith(".insteadof")
        for beginning in beginnings
        if url.startswith(beginning)
    )
    beginning, base = max(replacements, key=lambda each: len(each[0]), default=("", ""))
    return base + url.removeprefix(beginning)


def is_a_path(url: str) -> bool:
    """Whether an address is one of this machine's own folders."""
    return url.startswith(("/", ".", "file://"))
