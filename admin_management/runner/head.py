"""Which commit is checked out, read from git's files: a web process starts no git for that."""

import re
from pathlib import Path

from .state import git_directory

LONGEST_CHAIN = 5
"""Symbolic references followed at most, as in git itself."""

_REVISION = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")


def checked_out_revision(folder: Path) -> str | None:
    """The full SHA that HEAD names in the work tree that ``folder`` is in.

    None where only git can tell: before the first commit, or with references in the reftable
    format (gitrepository-layout(5)). Raises NotAGitCheckoutError and OSError.
    """
    git = git_directory(folder)
    shared = _shared_directory(git)
    text = (git / "HEAD").read_text(encoding="utf-8").strip()
    for _ in range(LONGEST_CHAIN):
        if _REVISION.fullmatch(text):
            return text
        name = text.removeprefix("ref:").strip()
        if not name.startswith("refs/"):
            return None
        # Loose before packed: git deletes the loose one only when it has written the packed one.
        text = _loose(shared, name) or _packed(shared, name)
    return None


def _shared_directory(git: Path) -> Path:
    """Where the branches are: a linked work tree shares them with the main one."""
    try:
        return git / (git / "commondir").read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return git


def _loose(git: Path, name: str) -> str:
    try:
        return (git / name).read_text(encoding="utf-8").strip()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return ""


def _packed(git: Path, name: str) -> str:
    try:
        lines = (git / "packed-refs").read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return ""
    return next((line.split()[0] for line in lines if line.endswith(f" {name}")), "")
