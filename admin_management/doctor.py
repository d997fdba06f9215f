"""What a person would otherwise find out the hard way, one short check each.

A check returns a sentence about what is well, or raises what is not. Nothing is changed, no PM2
daemon is started, and only the check of the remote asks the network. What was found is kept for the
status.
"""

import os
import re
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cached_property
from pathlib import Path

from django.apps import apps
from django.conf import settings
from django.core import checks
from django.core.checks.security import base as security
from django.core.exceptions import ImproperlyConfigured
from django.core.servers.basehttp import get_internal_wsgi_application
from django.db import DatabaseError, connections
from django.db.models import Max
from django.http.request import validate_host

from .conf import AdminManagementSettings
from .deploy_key import UnusableKeyError, configuration, first_usable, ssh_arguments
from .exceptions import AdminManagementError, DatabaseDownError, NotHealthyError
from .health import answer_in_process, visit
from .launcher import check_owner
from .machine import find_tool, open_repository, program
from .models import Run
from .panels import doubts_of_panels, facts_of_panels
from .plain import plain
from .redaction import redactor
from .rehearsal import check_static_root
from .runner import pm2, preconditions
from .runner.execution import StepFailedError
from .runner.git import SSH_COMMAND, GitError, Repository
from .runner.pm2 import Pm2Error, Pm2Process
from .runner.rehearsal import ROOM
from .runner.state import NotAGitCheckoutError, StateDirectory
from .runner.variables import for_tools
from .serve.generation import SLACK
from .status import NotReadableError, version_of, version_of_pm2

LONGEST = 30.0
"""Seconds that a check may take."""

OLDEST = {"git": (2, 31), "uv": (0, 4), "PM2": (5, 3)}
"""The oldest versions that updates are meant for."""

OLDEST_GIT_WITH_SIGNERS = (2, 34)
"""The first that verifies the signature of an SSH key."""

GRACEFUL_TIMEOUT = 30.0
"""Seconds that gunicorn gives its workers to finish, unless it is told otherwise."""

CLOCK_SKEW = timedelta(minutes=1)
"""How far ahead of this clock another machine's may be without a word."""

LOCAL_HOSTS = [".localhost", "127.0.0.1", "[::1]"]
"""What Django allows with DEBUG while ALLOWED_HOSTS is empty."""


class Verdict(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found. ``advice`` says how to mend it; empty if all is well."""

    name: str
    verdict: Verdict
    message: str
    advice: str = ""


class ProblemError(AdminManagementError):
    """Updates do not work like this."""

    verdict = Verdict.FAIL

    def __init__(self, message: str, advice: str) -> None:
        super().__init__(message)
        self.hint = advice


class DoubtError(ProblemError):
    """Updates work, but not as well as they could; or nobody can say."""

    verdict = Verdict.WARN


class Site:
    """What several checks look at, read once. Parts raise whatever keeps them from being read."""

    @cached_property
    def conf(self) -> AdminManagementSettings:
        return AdminManagementSettings.load()

    @cached_property
    def repository(self) -> Repository:
        return open_repository(self.conf)

    @property
    def state(self) -> StateDirectory:
        return StateDirectory.of(self.conf.checkout)

    @cached_property
    def pm2(self) -> str:
        return program(self.conf.pm2)

    @cached_property
    def pm2_environ(self) -> dict[str, str]:
        return for_tools(os.environ, [self.pm2])

    @property
    def pm2_home(self) -> Path:
        return pm2.home(self.pm2_environ)

    @cached_property
    def pm2_processes(self) -> list[Pm2Process] | Pm2Error:
        """What PM2 lists, or why it cannot be asked: one that hangs is not asked again."""
        try:
            return pm2.processes(self.pm2, self.pm2_environ)
        except Pm2Error as error:
            return error

    @cached_property
    def system_checks(self) -> list[checks.CheckMessage] | str:
        """What Django's own checks say, or why they cannot be executed."""
        try:
            return [each for each in checks.run_checks() if not each.is_silenced()]
        except (Exception, SystemExit) as error:
            return _named(error)


def examine(announce: Callable[[str], object] = lambda name: None) -> Iterator[Finding]:
    """Check one thing after the other; ``announce`` is told before each which one it is.

    Ends early where the settings are wrong, and where the checkout is none or another user's: all
    the others depend on them.
    """
    site = Site()
    for name, check in CHECKS:
        announce(name)
        finding = find(name, check, site)
        yield finding
        if check in (check_settings, check_user) and finding.verdict is Verdict.FAIL:
            return


def remember(findings: Sequence[Finding]) -> None:
    """Keep what was found, for the status. Where that cannot be kept, a finding has said why."""
    with suppress(AdminManagementError, NotAGitCheckoutError, OSError):
        state = StateDirectory.of(AdminManagementSettings.load().checkout)
        # What another user writes there, the site could not read.
        check_owner(state.path.parent)
        state.create()
        state.set_doctor_report(
            {
                "examined_at": datetime.now(UTC).isoformat(timespec="seconds"),
                "verdict": worst(findings),
                "findings": [asdict(each) for each in findings if each.verdict is not Verdict.OK],
            }
        )


def worst(findings: Sequence[Finding]) -> Verdict:
    verdicts = {each.verdict for each in findings}
    return next((each for each in (Verdict.FAIL, Verdict.WARN) if each in verdicts), Verdict.OK)


def find(name: str, check: Callable[[Site], str], site: Site, seconds: float = LONGEST) -> Finding:
    """The finding of one check, whatever it raises, and after ``seconds`` at the latest."""
    found: list[Finding] = []
    # Not a time-out of the check's own: the code of the site may hang in what we ask it for.
    thread = threading.Thread(
        target=lambda: found.append(_found(name, check, site)), name=name, daemon=True
    )
    thread.start()
    thread.join(seconds)
    if found:
        return found[0]
    return Finding(
        name,
        Verdict.FAIL,
        f"It did not end within {seconds:g} s.",
        "Look at what is slow or hangs here, and try again.",
    )


def _found(name: str, check: Callable[[Site], str], site: Site) -> Finding:
    try:
        verdict, message, advice = Verdict.OK, check(site), ""
    except (Exception, SystemExit) as error:
        verdict = getattr(error, "verdict", Verdict.FAIL)
        message = str(error) if isinstance(error, _SPEAKING) else _named(error)
        advice = getattr(error, "hint", "") or "Mend what it says, and try again."
    finally:
        # They belong to this thread, which ends here.
        connections.close_all()
    hidden = redactor()
    message, advice = " ".join(hidden.line(message).split()), hidden.line(advice)
    # Last, so that no secret is changed before it is known. Names of files may be no text.
    return Finding(name, verdict, plain(message), plain(advice))


_SPEAKING = (AdminManagementError, StepFailedError, NotAGitCheckoutError, GitError, Pm2Error)
"""What is raised with a sentence for a person."""


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def check_settings(site: Site) -> str:
    return f"The checkout is {site.conf.checkout}."


def check_user(site: Site) -> str:
    check_owner(site.state.path.parent)
    return "The checkout belongs to the user that runs this."


def check_git(site: Site) -> str:
    oldest = OLDEST_GIT_WITH_SIGNERS if site.conf.allowed_signers else OLDEST["git"]
    return _version("git", "", lambda: version_of("git"), oldest)


def check_uv(site: Site) -> str:
    return _version("uv", "UV", lambda: version_of(site.conf.uv), OLDEST["uv"])


def check_pm2(site: Site) -> str:
    return _version("PM2", "PM2", lambda: version_of_pm2(site.conf.pm2), OLDEST["PM2"])


def _version(tool: str, setting: str, read: Callable[[], str], oldest: tuple[int, int]) -> str:
    try:
        text = read()
    except NotReadableError as error:
        raise ProblemError(str(error), preconditions.how_to_get(tool, setting)) from error
    number = re.search(r"(\d+)\.(\d+)[\w.]*", text)
    needed = ".".join(map(str, oldest))
    if number is None:
        raise DoubtError(f"{tool} does not say its version: {text}", f"Use {needed} or newer.")
    if (int(number[1]), int(number[2])) < oldest:
        raise ProblemError(f"{tool} is {number[0]}.", f"Install {tool} {needed} or newer.")
    return number[0]


def check_signers(site: Site) -> str:
    if not site.conf.allowed_signers:
        return "Whoever can push to the branch decides: ALLOWED_SIGNERS is not set."
    signers = Path(site.conf.allowed_signers)
    if not os.access(signers, os.R_OK) or not signers.is_file():
        raise ProblemError(
            f"The list of signers {signers} cannot be read: no update goes live.",
            'Put it there, or take ADMIN_MANAGEMENT["ALLOWED_SIGNERS"] away.',
        )
    if signers.stat().st_mode & 0o022:
        raise ProblemError(f"Others can write to {signers}.", f"chmod go-w {signers}")
    if not find_tool("ssh-keygen"):
        raise DoubtError(
            "ssh-keygen was not found: only signatures of GPG can be verified.",
            "apt-get install openssh-client",
        )
    return f"Commits must be signed by one of {signers}, or by a key that GPG trusts."


def check_work_tree(site: Site) -> str:
    preconditions.check_work_tree(str(site.conf.checkout), site.repository)
    return "Git accepts it."


def check_branch(site: Site) -> str:
    preconditions.check_branch(str(site.conf.checkout), site.conf.branch, site.repository)
    return site.conf.branch


def check_changes(site: Site) -> str:
    # Git calls what is no work tree clean, or fails with its usage.
    site.repository.revision()
    preconditions.check_clean(str(site.conf.checkout), site.repository)
    return "No local changes."


def check_remote_address(site: Site) -> str:
    return preconditions.check_remote_address(site.conf.remote, site.repository)


def check_deploy_key(site: Site) -> str:
    remote = site.conf.remote
    arguments = ssh_arguments(site.repository.remote_url(remote))
    if not arguments:
        return f"None is needed: {remote} is not asked over SSH."
    environ = site.repository.environment_for(remote)
    if environ["GIT_SSH_COMMAND"] != SSH_COMMAND:
        return "GIT_SSH_COMMAND or core.sshCommand chooses it."
    ssh = configuration(arguments, environ)
    # It may be given a public key, to say which of an agent's it is to use.
    keys = [each for each in ssh.files if each.suffix != ".pub" and each.is_file()]
    if not keys:
        places = preconditions.some_of([str(each) for each in ssh.files])
        raise DoubtError(
            f"There is no private key, though an agent may have one; ssh looks for {places}.",
            'Make one as this user: ssh-keygen -t ed25519 -N "" -f ~/.ssh/id_ed25519. Then add '
            "~/.ssh/id_ed25519.pub on GitHub as a deploy key of the repository, read-only.",
        )
    try:
        return f"ssh can use {first_usable(keys, environ)}: it has no passphrase."
    except UnusableKeyError as error:
        if not ssh.has_agent:
            raise
        told = f"{error} An agent may have one: see that the site can ask it, too."
        raise DoubtError(told, error.hint) from error


def check_remote(site: Site) -> str:
    check_remote_address(site)
    remote, branch = site.conf.remote, site.conf.branch
    try:
        tip = site.repository.remote_tip(remote, branch)
    except GitError as error:
        raise ProblemError(
            str(error),
            f"Try it as this user: git ls-remote {remote} {branch}. Over SSH it needs a deploy key "
            "without a passphrase and the host in known_hosts, over HTTPS a credential helper.",
        ) from error
    return f"{remote} answers: {branch} is at {tip[:7]}."


def check_pm2_daemon(site: Site) -> str:
    if not pm2.daemon_runs(site.pm2_home):
        raise ProblemError(
            f"No PM2 daemon runs for PM2_HOME={site.pm2_home}.",
            "Start the site with PM2 as this user, or set PM2_HOME as it is for the site.",
        )
    return f"Runs for {site.pm2_home}."


def check_pm2_home(site: Site) -> str:
    """Who can write there can have anything executed; ``dump.pm2`` has everybody's variables."""
    home = site.pm2_home
    if not home.is_dir():
        raise ProblemError(f"{home} does not exist.", "Set PM2_HOME as it is for the site.")
    mode = home.stat().st_mode & 0o777
    advice = f"chmod 700 {home}"
    if mode & 0o022:
        raise ProblemError(f"Others than its owner can write to {home} ({mode:o}).", advice)
    if mode & 0o055:
        raise DoubtError(f"Others than its owner can read {home} ({mode:o}).", advice)
    return f"Only its owner gets in ({mode:o})."


def check_pm2_process(site: Site) -> str:
    process = _process(site)
    if process.status != "online":
        raise ProblemError(
            f"{process.name} is {process.status}.",
            f"Look at pm2 logs {process.name}, and start it.",
        )
    return f"{process.name} is online."


def _process(site: Site) -> Pm2Process:
    if isinstance(site.pm2_processes, Pm2Error):
        raise site.pm2_processes
    return preconditions.process_named(site.conf.pm2_process, site.pm2_processes)


def check_kill_timeout(site: Site) -> str:
    """Sooner than gunicorn has finished, PM2 would cut requests off."""
    try:
        process = _process(site)
    except (StepFailedError, Pm2Error) as error:
        raise DoubtError(f"Not known: {error}", "Let PM2 run the site first.") from error
    needed = graceful_timeout(process.arguments) + SLACK
    if process.kill_timeout < needed:
        raise DoubtError(
            f"PM2 kills {process.name} after {process.kill_timeout:g} s; to finish its requests it "
            f"may need {needed:g} s.",
            f'Declare "kill_timeout": {needed * 1000:.0f} for it, and start it anew: pm2 delete '
            f"{process.name}, then pm2 start.",
        )
    return f"{process.kill_timeout:g} s, of which {needed:g} s are needed."


def graceful_timeout(arguments: tuple[str, ...]) -> float:
    """Seconds, by gunicorn's command line. A configuration file of gunicorn is not read."""
    given = re.search(r"--graceful-timeout[= ](\d+)", " ".join(arguments))
    return float(given[1]) if given else GRACEFUL_TIMEOUT


def check_state_folder(site: Site) -> str:
    folder = site.state.path
    if not folder.exists():
        _try_to_write(folder.parent)
        return "The first update makes it."
    _try_to_write(folder)
    mode = folder.stat().st_mode & 0o777
    if mode & 0o077:
        raise ProblemError(
            f"Others than its owner get into {folder} ({mode:o}).", f"chmod 700 {folder}"
        )
    return f"Writable, and only for its owner ({mode:o})."


def _try_to_write(folder: Path) -> None:
    """A file without a name, gone at once: permissions alone do not tell of a read-only disk."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ProblemError(
            f"{folder} cannot be written to: {error.strerror}.",
            "Give it to the user that runs the site, on a disk with room.",
        ) from error


def check_disk(site: Site) -> str:
    folder = site.state.path.parent
    space = os.statvfs(folder)
    free = space.f_bavail * space.f_frsize
    if free < ROOM:
        raise DoubtError(
            f"{free // 2**20} MB are free; trying an update needs {ROOM // 2**20} MB and more.",
            f"Make room on the disk of {folder}.",
        )
    return f"{free // 2**20:,} MB are free."


def check_clock(site: Site) -> str:
    """Times that run backwards make the history of updates, and its audit log, hard to believe."""
    now = datetime.now(UTC) + CLOCK_SKEW
    committed_at = datetime.fromtimestamp(
        int(site.repository.ask("log", "-1", "--format=%ct")), UTC
    )
    times = {"the last commit": committed_at, "the last update": _last_run_at()}
    for what, at in times.items():
        if at is not None and at > now:
            raise DoubtError(
                f"The clock says {now - CLOCK_SKEW:%Y-%m-%d %H:%M} UTC; {what} was at "
                f"{at:%Y-%m-%d %H:%M} UTC.",
                "Set the clock, and let it be kept right: timedatectl set-ntp true",
            )
    return "Later than the last commit and the last update."


def _last_run_at() -> datetime | None:
    try:
        newest = Run.objects.here().aggregate(asked=Max("requested_at"), ended=Max("finished_at"))
    except DatabaseError as error:
        raise ProblemError(
            f"The updates cannot be read from the database: {error}",
            "Bring the database up, or create its tables: python manage.py migrate",
        ) from error
    return max(filter(None, newest.values()), default=None)


def check_system_checks(site: Site) -> str:
    """A rehearsal would stop at the first of these errors."""
    if isinstance(site.system_checks, str):
        raise ProblemError(
            f"They cannot be executed: {site.system_checks}",
            "python manage.py check says where it happens.",
        )
    _judge(
        each
        for each in site.system_checks
        if each.is_serious() and not str(each.id).startswith(_OF_THEIR_OWN)
    )
    return "No errors."


_WEBHOOKS = "github_webhooks."
_URLS = "admin_management.E003"
_DATABASE = "admin_management.W001"
_OF_THEIR_OWN = (_WEBHOOKS, _URLS, _DATABASE)


def check_production(site: Site) -> str:
    """Whoever guesses a key is staff, and a page of DEBUG shows strangers the settings."""
    found = (security.check_secret_key, security.check_secret_key_fallbacks, security.check_debug)
    messages = (each for check in found for each in check(None))
    _judge(each for each in messages if not each.is_silenced())
    return "Nothing that is not silenced is wrong with SECRET_KEY and DEBUG."


def check_urls(site: Site) -> str:
    _judge(_about(site, _URLS))
    return "Our addresses come before the admin's."


def check_database(site: Site) -> str:
    _judge(_about(site, _DATABASE))
    return "Writers wait for each other."


def check_webhook(site: Site) -> str:
    if not apps.is_installed("webhooks"):
        raise DoubtError(
            "The app webhooks is not installed: no push starts an update.",
            'Add "webhooks" to INSTALLED_APPS, or let cron call manage.py poll_remote.',
        )
    _judge(_about(site, _WEBHOOKS))
    return "A secret is set."


def check_last_ping(site: Site) -> str:
    found = doubts_of_panels()
    if found:
        raise DoubtError(" ".join(found), "See the webhook's settings on GitHub.")
    return " ".join(facts_of_panels()) or "Nothing is wrong with it."


def _about(site: Site, prefix: str) -> list[checks.CheckMessage]:
    if isinstance(site.system_checks, str):
        raise DoubtError(
            "Not known: Django's system checks cannot be executed.", "Mend that first."
        )
    return [each for each in site.system_checks if str(each.id).startswith(prefix)]


def _judge(messages: Iterator[checks.CheckMessage] | list[checks.CheckMessage]) -> None:
    """Raise what system checks have found, if it is at least a warning."""
    found = [each for each in messages if each.level >= checks.WARNING]
    if found:
        kind = ProblemError if any(each.is_serious() for each in found) else DoubtError
        hints = " ".join(each.hint for each in found if each.hint)
        raise kind(" ".join(str(each.msg) for each in found), hints)


def check_static_files(site: Site) -> str:
    try:
        check_static_root()
    except ImproperlyConfigured as error:
        raise ProblemError(
            str(error),
            'Set STATIC_ROOT = BASE_DIR / "collected", and let the server in front serve it.',
        ) from error
    return "They can be collected."


def check_hosts(site: Site) -> str:
    host = visit().headers["Host"]
    allowed = settings.ALLOWED_HOSTS or (LOCAL_HOSTS if settings.DEBUG else [])
    if not validate_host(host, allowed):
        raise ProblemError(
            f"ALLOWED_HOSTS lets no name in that the health address could be asked by: {allowed}.",
            'Name your domain in it, as "example.com", or ".example.com" for those below it too.',
        )
    return f"{host} is allowed."


def check_health(site: Site) -> str:
    try:
        answer_in_process(get_internal_wsgi_application())
    except DatabaseDownError as error:
        raise ProblemError(str(error), "Bring the database back.") from error
    except NotHealthyError as error:
        raise ProblemError(
            str(error), "Mend it: a run puts a version live only if this answers 2xx."
        ) from error
    return "The health address answers."


CHECKS: tuple[tuple[str, Callable[[Site], str]], ...] = (
    ("settings", check_settings),
    ("user", check_user),
    ("git", check_git),
    ("uv", check_uv),
    ("PM2", check_pm2),
    ("work tree", check_work_tree),
    ("branch", check_branch),
    ("changes", check_changes),
    ("signers", check_signers),
    ("remote address", check_remote_address),
    ("deploy key", check_deploy_key),
    ("remote", check_remote),
    ("PM2 daemon", check_pm2_daemon),
    ("PM2_HOME", check_pm2_home),
    ("PM2 process", check_pm2_process),
    ("kill_timeout", check_kill_timeout),
    ("state folder", check_state_folder),
    ("disk", check_disk),
    ("clock", check_clock),
    ("system checks", check_system_checks),
    ("production", check_production),
    ("URLs", check_urls),
    ("database", check_database),
    ("webhook", check_webhook),
    ("last ping", check_last_ping),
    ("static files", check_static_files),
    ("ALLOWED_HOSTS", check_hosts),
    ("health", check_health),
)
"""All checks, in the order in which they are best mended."""
