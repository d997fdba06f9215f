"""Where a run keeps its files: a private folder inside the checkout's git directory.

There it never makes the tree dirty, is never committed and never served. Folders are 0700,
files 0600.

    <git directory>/admin-management/
        lock                    held by the runner that is alive
        ballast                 1 MB, given up on a full disk so that a run can say how it ended
        runner.log              what a runner could write nowhere else
        live.json               the revision that was last proved live, and its static files
        rolled_back.json        revisions that were rolled back, and by which run
        serve.json              what came of the last switch to a new server, see serve/
        doctor.json             what manage.py doctor found last
        health_token            who sends it to the health address is told the revision
        environments/<key>/     virtual environments, built aside, never edited
        rehearsal/<run id>/     a throw-away work tree, while a revision is tried
        runs/<run id>/          plan.json, journal.jsonl, restart_server.sh
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from .ballast import Ballast

QUARANTINED = 50
"""Revisions remembered as rolled back."""


class NotAGitCheckoutError(Exception):
    """The folder is not inside a git work tree."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"{folder} is not inside a git work tree. Clone the site with git there, or set "
            'ADMIN_MANAGEMENT["CHECKOUT"] to the folder that has manage.py.'
        )


def work_tree(folder: Path) -> Path:
    """The top of the work tree that ``folder`` is in. Raises NotAGitCheckoutError."""
    for parent in chain((folder,), folder.parents):
        if (parent / ".git").exists():
            return parent
    raise NotAGitCheckoutError(folder)


def git_directory(folder: Path) -> Path:
    """The git directory of the work tree that ``folder`` is in, without starting git.

    Follows the ``gitdir:`` file of a linked work tree (gitrepository-layout(5)). Raises
    NotAGitCheckoutError.
    """
    top = work_tree(folder)
    entry = top / ".git"
    if entry.is_dir():
        return entry
    target = entry.read_text(encoding="utf-8").partition("gitdir:")[2].strip()
    return (top / target).resolve()


def private(path: str, flags: int) -> int:
    """An opener for ``open()``: files that it makes are for their owner only."""
    return os.open(path, flags, 0o600)


@dataclass(frozen=True, slots=True)
class StateDirectory:
    """The paths inside one checkout's state folder."""

    path: Path

    @classmethod
    def of(cls, checkout: Path) -> "StateDirectory":
        return cls(git_directory(checkout) / "admin-management")

    def create(self) -> None:
        for folder in (self.path, self.path / "runs", self.environments):
            folder.mkdir(mode=0o700, exist_ok=True)
        self.ballast.put()

    @property
    def ballast(self) -> Ballast:
        return Ballast(self.path / "ballast")

    @property
    def lock(self) -> Path:
        return self.path / "lock"

    @property
    def log(self) -> Path:
        """What a runner says when it cannot say it anywhere else."""
        return self.path / "runner.log"

    @property
    def environments(self) -> Path:
        return self.path / "environments"

    def run(self, run_id: str) -> Path:
        return self.path / "runs" / run_id

    def journal(self, run_id: str) -> Path:
        return self.run(run_id) / "journal.jsonl"

    @property
    def rehearsal(self) -> Path:
        return self.path / "rehearsal"

    def live_revision(self) -> str | None:
        """The full SHA that the last successful run left live; None before the first one."""
        revision = self._read("live.json").get("revision")
        return str(revision) if revision else None

    def live_static_files(self) -> str:
        """The digest of the static files that are collected; empty if nobody knows."""
        return str(self._read("live.json").get("static_files", ""))

    def set_live_revision(self, revision: str, static_files: str = "") -> None:
        self._replace("live.json", {"revision": revision, "static_files": static_files})

    def rolled_back(self) -> dict[str, str]:
        """The runs that were rolled back, by the revision that they had tried."""
        return {str(revision): str(run) for revision, run in self._read("rolled_back.json").items()}

    def quarantine(self, revision: str, run: str) -> None:
        """No run goes for this revision again, unless it is forced."""
        newest = list((self.rolled_back() | {revision: run}).items())[-QUARANTINED:]
        self._replace("rolled_back.json", dict(newest))

    def release(self, revision: str) -> None:
        """It works after all."""
        known = self.rolled_back()
        if known.pop(revision, None):
            self._replace("rolled_back.json", known)

    def serve_report(self) -> dict[str, object] | None:
        """What ``admin_management.serve`` said last; None if it has never said anything."""
        return self._read("serve.json") or None

    def set_serve_report(self, fields: Mapping[str, object]) -> None:
        self._replace("serve.json", fields)

    def doctor_report(self) -> dict[str, object] | None:
        """What ``manage.py doctor`` found last; None if nobody has asked it yet."""
        return self._read("doctor.json") or None

    def set_doctor_report(self, fields: Mapping[str, object]) -> None:
        self._replace("doctor.json", fields)

    def known_health_token(self) -> str | None:
        """What opens the health address; None while nobody has asked for one with ``health_token``.

        Makes nothing, so that whoever only compares cannot be made to write.
        """
        try:
            return (self.path / "health_token").read_text(encoding="ascii").strip() or None
        except (OSError, ValueError):
            return None

    def health_token(self) -> str:
        """What opens the health address. Made when first asked for; the same for all who ask."""
        known = self.known_health_token()
        if known is None:
            path = self.path / "health_token"
            made = path.with_name(f"health_token.{os.urandom(4).hex()}")
            with open(made, "x", encoding="ascii", opener=private) as file:
                file.write(os.urandom(32).hex())
                file.flush()
                os.fsync(file.fileno())
            # Linked, not renamed: of two who make one at the same time, the first one's stays.
            with suppress(FileExistsError):
                path.hardlink_to(made)
            made.unlink()
            known = path.read_text(encoding="ascii").strip()
        return known

    def _read(self, name: str) -> dict[str, object]:
        try:
            facts = json.loads((self.path / name).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return facts if isinstance(facts, dict) else {}

    def _replace(self, name: str, fields: Mapping[str, object]) -> None:
        """Write a file whole: who reads it sees the old or the new one, also after a crash."""
        replacement = self.path / f"{name}.new"

        def write() -> None:
            with open(replacement, "w", encoding="utf-8", opener=private) as file:
                json.dump(fields, file)
                file.flush()
                os.fsync(file.fileno())

        self.ballast.saves(write)
        replacement.replace(self.path / name)
