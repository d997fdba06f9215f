"""What must be true before an update may begin. Each check says how to mend what it finds."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote

from . import pm2
from .execution import StepFailedError
from .git import GitError, Repository
from .plan import Plan
from .redact import Redactor, looks_secret

SHOWN_FILES = 5

_USER_INFO = re.compile(r"://([^/]*)@")
_QUERY = re.compile(r"[?&;]([^=&;]+)=[^&;]")
_TOKEN = re.compile(r"[0-9A-Fa-f]{32,}|[0-9A-Za-z]{40,}")
"""The name of a user or an organisation on GitHub has at most 39 characters."""


def check_all(plan: Plan, repository: Repository, environ: Mapping[str, str]) -> None:
    """Raises StepFailedError for the first thing that is not as it must be."""
    check_tools(plan)
    check_work_tree(plan.checkout, repository)
    check_branch(plan.checkout, plan.branch, repository)
    if not plan.target:
        # Going back asks no remote.
        check_remote_address(plan.remote, repository)
    check_clean(plan.checkout, repository)
    check_pm2_process(plan, environ)


def check_tools(plan: Plan) -> None:
    for setting, tool in {"": plan.git, "UV": plan.uv, "PM2": plan.pm2}.items():
        if os.access(tool, os.X_OK) and Path(tool).is_absolute():
            continue
        raise StepFailedError(f"{tool} was not found.", hint=how_to_get(Path(tool).name, setting))


def how_to_get(tool: str, setting: str) -> str:
    """What to do about a tool that was not found; ``setting`` is empty if none names it."""
    hint = f"Install {tool}, or put its folder on the PATH of the site."
    return hint + (f' Or set ADMIN_MANAGEMENT["{setting}"] to its full path.' if setting else "")


def check_work_tree(checkout: str, repository: Repository) -> None:
    try:
        repository.ask("rev-parse", "--show-toplevel")
    except GitError as error:
        hint = "Clone the site with git, and let the user that runs the site own the clone."
        if "dubious ownership" in str(error):
            hint = f"Give the checkout to the user that runs the site: chown -R USER {checkout}"
        message = f"{checkout} is not a work tree that git accepts: {error}"
        raise StepFailedError(message, hint=hint) from error


def check_branch(checkout: str, expected: str, repository: Repository) -> None:
    branch = repository.branch()
    if branch != expected:
        found = f"the branch {branch}" if branch else "a detached HEAD"
        raise StepFailedError(
            f"The checkout is on {found}, not on {expected}.",
            hint=f'In {checkout}: git switch {expected} (or set ADMIN_MANAGEMENT["BRANCH"]).',
        )


def check_remote_address(remote: str, repository: Repository) -> str:
    """The address. A password or token in it is shown by every program that names the remote."""
    url = repository.remote_url(remote)
    if not url:
        raise StepFailedError(
            f"The checkout has no remote {remote}.",
            hint=f'git remote add {remote} ADDRESS, or set ADMIN_MANAGEMENT["REMOTE"].',
        )
    if holds_credential(url):
        raise StepFailedError(
            f"The address of {remote} holds a password or token, in the clear.",
            hint=f"Revoke it, then: git remote set-url {remote} ADDRESS, without it. If "
            f"git ls-remote --get-url {remote} still shows one, git config --show-origin "
            "--get-regexp insteadof tells where it comes from. Use an SSH deploy key, or a "
            "credential helper.",
        )
    return url


def holds_credential(url: str) -> bool:
    """A password, a user that has the shape of a token, or a token in the query."""
    user = unquote("".join(_USER_INFO.findall(url)))
    is_token = Redactor([]).line(user) != user or bool(_TOKEN.fullmatch(user))
    return ":" in user or is_token or any(map(looks_secret, _QUERY.findall(url)))


def check_clean(checkout: str, repository: Repository) -> None:
    changed = repository.changed_files()
    if changed:
        raise StepFailedError(
            f"The checkout has local changes: {some_of(changed)}.",
            hint=f"In {checkout}: commit and push them, or put them aside with git stash.",
        )


def some_of(files: Sequence[str]) -> str:
    """For a sentence: the first few of them."""
    return ", ".join(files[:SHOWN_FILES]) + (", …" if len(files) > SHOWN_FILES else "")


def check_pm2_process(plan: Plan, environ: Mapping[str, str]) -> None:
    pm2_home = pm2.home(environ)
    if not pm2.daemon_runs(pm2_home):
        raise StepFailedError(
            f"No PM2 daemon runs for PM2_HOME={pm2_home}.",
            hint="Start the site with PM2 as this user, or set PM2_HOME for the site.",
        )
    if pm2.has_process(pm2_home, plan.pm2_process):
        return
    try:
        processes = pm2.processes(plan.pm2, environ)
    except pm2.Pm2Error as error:
        raise StepFailedError(str(error), hint="Look at it with: pm2 list") from error
    process_named(plan.pm2_process, processes)


def process_named(name: str, processes: Iterable[pm2.Pm2Process]) -> pm2.Pm2Process:
    """The process of this name. Raises StepFailedError if PM2 knows none."""
    by_name = {process.name: process for process in processes}
    if name not in by_name:
        raise StepFailedError(
            f"PM2 knows no process {name!r}; it knows {', '.join(sorted(by_name)) or 'none'}.",
            hint='Set ADMIN_MANAGEMENT["PM2_PROCESS"] to the name that pm2 list shows.',
        )
    return by_name[name]
