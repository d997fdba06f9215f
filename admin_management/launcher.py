"""The one way in: ask for an update, let a runner go, write down how it ended.

The database is the queue and the lock on the checkout is the sign of life. Whoever holds the lock
looks at the queue again after letting go, so a request that found it held is never forgotten.
"""

import getpass
import json
import logging
import os
import pwd
import select
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Self, Unpack
from uuid import UUID

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from .audit import Happening, Kind
from .conf import AdminManagementSettings
from .exceptions import AdminManagementError, ConflictError, ReasonMissingError, WrongUserError
from .going_back import find_way_back
from .machine import node
from .models import (
    LONGEST_NAME,
    LONGEST_REASON,
    AuditEvent,
    Hold,
    Options,
    Run,
    Trigger,
    running_on,
)
from .plain import plain
from .planning import plan_of
from .redaction import secret_values
from .runner import __name__ as runner_package
from .runner.git import GitError
from .runner.journal import Progress, replay, storable
from .runner.lock import Lock
from .runner.recovery import DIED, end_children
from .runner.state import NotAGitCheckoutError, StateDirectory, private
from .runner.status import Status

logger = logging.getLogger("admin_management")

KEPT_RUNS = 50
"""Runs whose files are kept: what their steps said is in the database."""

SPAWN_TIMEOUT = 10.0
"""Seconds until the runner must have detached itself; it does so before it imports anything."""

NO_WISHES = Options(force=False, accept_rewritten=False, override_hold=False)
"""What a request wishes for that says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requester:
    """Who asks: ``user_id`` is that of a saved user or None, ``name`` is kept as text for good."""

    name: str
    user_id: int | str | None = None
    address: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", storable(self.name)[:LONGEST_NAME])

    @classmethod
    def at_the_shell(cls) -> Self:
        """Who has started this process."""
        return cls(name=getpass.getuser())


def request_update(
    *,
    trigger: Trigger,
    requester: Requester,
    reason: str = "",
    expected: str = "",
    alongside: Callable[[CursorWrapper, UUID], Mapping[str, object] | None] = lambda *_: None,
    **options: Unpack[Options],
) -> tuple[UUID, bool]:
    """Ask for an update. Returns the key of the run that will serve the request, and whether
    that is new.

    When an update already waits the request joins it. Starts a runner once the surrounding
    transaction is committed; never waits for it. Safe to call from many processes at once.
    ``expected`` is the revision that the requester has seen at the remote, if it has looked;
    ``alongside`` is called with a cursor and the run's key in the same transaction, so an exception
    in it undoes the request. It returns what the audit log is to tell of a delivery, or None if
    none asks.
    Raises ReasonMissingError for an overridden hold without a reason.
    """
    if options.get("override_hold") and not reason.strip():
        raise ReasonMissingError
    reason = storable(reason)[:LONGEST_REASON]
    with transaction.atomic(), connection.cursor() as cursor:
        run_id, is_new = Run.objects.join_or_create(
            cursor,
            options,
            trigger=trigger,
            actor_id=requester.user_id,
            actor_name=requester.name,
            address=requester.address,
            reason=reason,
            to_revision=expected,
        )
        # Before the log is appended to, which locks it for everybody else until the commit.
        delivery = alongside(cursor, run_id)
        told = []
        # Of a delivery that joins a run and wishes for nothing there is no more to say.
        if is_new or delivery is None or any(options.values()):
            wishes = {**NO_WISHES, **options}
            told += [_asked(requester, is_new=is_new, trigger=trigger, reason=reason, **wishes)]
        if delivery is not None:
            told += [_accepted(delivery, requester, is_new=is_new)]
        AuditEvent.objects.append_all(cursor, told, run_id=run_id)
        hold = Hold.objects.in_force() if options.get("override_hold") else None
        if hold:
            hold.remember(Kind.HOLD_OVERRIDDEN, requester.name, run_id=run_id, reason=reason)

        def tell() -> None:
            done, name = "requested" if is_new else "joined", plain(requester.name)
            logger.info("Update %s by %s", done, name, extra=_extra(run_id))

        transaction.on_commit(tell, robust=True)
        transaction.on_commit(start_next)
    return run_id, is_new


def _asked(requester: Requester, *, is_new: bool, **facts: object) -> Happening:
    """What the audit log tells of a request for an update."""
    facts["address"] = requester.address
    if is_new:  # whoever joins a run is held as long as that is
        hold = None if facts["override_hold"] else Hold.objects.in_force()
        facts["hold"] = hold and hold.pk
    kind = Kind.REQUESTED if is_new else Kind.COALESCED
    return Happening(kind=kind, actor=requester.name, facts=facts)


def _accepted(delivery: Mapping[str, object], requester: Requester, *, is_new: bool) -> Happening:
    """What the audit log tells of a delivery that asks for an update."""
    facts = {**delivery, "joined": not is_new, "address": requester.address}
    return Happening(kind=Kind.DELIVERY_ACCEPTED, actor=requester.name, facts=facts)


def request_rollback(run: Run, *, requester: Requester, reason: str) -> Run:
    """Ask for going back to where this run has left, or found, the site. Returns a new run.

    Starts in spite of a hold, and sets one if there is none: the next push must not undo it.
    Raises ReasonMissingError, and ConflictError if it is not possible.
    """
    reason = storable(reason)[:LONGEST_REASON]
    if not reason.strip():
        raise ReasonMissingError
    way = find_way_back(run)
    if not way.is_possible:
        raise ConflictError(way.meaning)
    with transaction.atomic():
        rollback = Run.objects.ask_to_go_back(
            target_revision=way.target_revision,
            to_revision=way.target_revision,
            reverse_migrations=list(way.reverse_migrations),
            actor_id=requester.user_id,
            actor_name=requester.name,
            address=requester.address,
            reason=reason,
        )
        hold = Hold.objects.in_force()
        if not hold:
            # Before the log is told, as by who holds updates: each could wait for the other.
            told = f"rolled back to {way.target_revision[:7]}: {reason}"
            hold_updates(requester=requester, reason=told)
        AuditEvent.objects.append(
            Kind.REQUESTED,
            actor=requester.name,
            run_id=rollback.pk,
            trigger=Trigger.ROLLBACK,
            reason=reason,
            address=requester.address,
            target_revision=way.target_revision,
            reverse_migrations=list(way.reverse_migrations),
        )
        if hold:
            hold.remember(Kind.HOLD_OVERRIDDEN, requester.name, run_id=rollback.pk, reason=reason)
        transaction.on_commit(start_next)
    logger.info("Rollback requested by %s", plain(requester.name), extra=_extra(rollback.pk))
    return rollback


def hold_updates(*, requester: Requester, reason: str, expires_at: datetime | None = None) -> Hold:
    """Let no run start on this machine until somebody releases it, or until it expires.

    What is asked for meanwhile waits. Raises ConflictError if updates are held already.
    """
    hold = Hold.objects.place(
        reason=storable(reason)[:LONGEST_REASON],
        expires_at=expires_at,
        address=requester.address,
        actor_id=requester.user_id,
        actor_name=requester.name,
    )
    logger.info("%s", plain(str(hold)))
    return hold


def release_updates(*, requester: Requester) -> Hold:
    """Let updates go on, and start the one that waits. Raises ConflictError if none are held."""
    with transaction.atomic():
        hold = Hold.objects.in_force()
        if hold is None or not hold.release(requester.name, address=requester.address):
            raise ConflictError("Updates are not held.")
        transaction.on_commit(start_next)
    logger.info("Updates are released by %s", plain(requester.name))
    return hold


def start_next() -> None:
    """Let a runner go for the waiting run of this machine, if nobody runs and nothing holds it."""
    try:
        if not _may_start():
            return
        state = _find_state()
    except (NotAGitCheckoutError, WrongUserError) as error:
        _fail_waiting_runs(str(error))
        return
    state.create()
    Hold.objects.end_expired()
    # Looked at again after each release: a request may have come while the lock was held. A run
    # that is said to go on has died: it is settled in spite of a hold.
    while running_on.exists(node()) or Run.objects.next_to_start():
        lock = Lock.try_acquire(state.lock)
        if lock is None:
            return
        with lock:
            if _recover(state, lock):
                return
            _settle_runs(state, runner_is_dead=True)
            run = Run.objects.next_to_start()
            if run is not None and run.claim() and _launch(run, state, lock):
                return


def _may_start() -> bool:
    """Whether nobody holds the lock, asked first because it takes less than to ask the queue.

    Whoever holds it looks at the queue after letting go, and finds what is committed by now. The
    same goes for who is turned away by this very look.
    """
    try:
        lock = Lock.try_acquire(_lock_of(AdminManagementSettings.load().checkout))
    except OSError:  # nobody has ever run here, or it is elsewhere now, or somebody else's
        return True
    if lock is not None:
        lock.release()
    return lock is not None


@lru_cache(maxsize=1)
def _lock_of(checkout: Path) -> Path:
    """Found once a checkout, because each push looks at it. Raises what ``_find_state`` does."""
    return _find_state().lock


def settle() -> int:
    """Bring finished and dead runs of this machine into the database, then start the waiting one.

    Idempotent, and cheap when there is nothing to do. Returns how many runs were settled.
    """
    settled = 0
    if running_on.exists(node()):
        try:
            state = _state()
        except (NotAGitCheckoutError, WrongUserError):
            return 0
        settled = _settle_runs(state, runner_is_dead=False)
        lock = Lock.try_acquire(state.lock)
        if lock is not None:
            with lock:
                settled += _settle_runs(state, runner_is_dead=True)
                if _recover(state, lock):
                    return settled
    start_next()
    return settled


def progress_now(run: Run) -> Progress:
    """What the journal of a run says this moment."""
    return replay(_state().journal(str(run.pk)))


def files_of(run: Run) -> tuple[Path, Path]:
    """Where a run's journal is, or will be, and the lock that its runner holds meanwhile."""
    state = _state()
    return state.journal(str(run.pk)), state.lock


def _state() -> StateDirectory:
    state = _find_state()
    state.create()
    return state


def _find_state() -> StateDirectory:
    """Where it is, or will be."""
    state = StateDirectory.of(AdminManagementSettings.load().checkout)
    check_owner(state.path.parent)
    return state


def check_owner(git_directory: Path) -> None:
    """Raises WrongUserError: the site's own user could not read or lock what another one writes."""
    owner = git_directory.stat().st_uid
    if owner != os.geteuid():
        raise WrongUserError(_name_of(owner), _name_of(os.geteuid()))


def _name_of(user_id: int) -> str:
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:
        return str(user_id)


def _settle_runs(state: StateDirectory, *, runner_is_dead: bool) -> int:
    """Write down the runs that have ended.

    ``runner_is_dead`` may be true only while the lock is held: a journal without an end says
    nothing about a runner that could still be writing to it.
    """
    settled = 0
    for run in Run.objects.here().running():
        progress = replay(state.journal(str(run.pk)))
        if not progress.status.is_final:
            if not runner_is_dead or progress.checkpoint:
                continue
            end_children(progress)
            progress.interrupt(f"{DIED} Ask for another update to go on from here.")
        settled += _record(run, progress)
    if settled:
        _forget_old_runs(state)
    return settled


def _recover(state: StateDirectory, lock: Lock) -> bool:
    """Hand the lock over to a recovery, if a dead runner has left something half changed."""
    if not any(
        replay(state.journal(str(run.pk))).needs_recovery for run in Run.objects.here().running()
    ):
        return False
    try:
        _spawn(("--recover", str(AdminManagementSettings.load().checkout)), state, lock)
    except (OSError, subprocess.SubprocessError):
        logger.exception("The recovery could not be started; the next request tries again.")
    return True


def _record(run: Run, progress: Progress) -> bool:
    recorded = run.record(progress)
    if recorded:
        log = logger.info if run.status == Status.SUCCEEDED else logger.error
        log("Update %s: %s", run.status, plain(run.message), extra=_extra(run.pk))
    return recorded


def _forget_old_runs(state: StateDirectory) -> None:
    """Delete the files of runs that are in the database, but for the newest ones."""
    with suppress(OSError):
        folders = sorted(
            state.path.glob("runs/*"), key=lambda path: path.stat().st_mtime, reverse=True
        )
        old = [folder.name for folder in folders[KEPT_RUNS:]]
        for pk in Run.objects.finished().filter(pk__in=old).values_list("pk", flat=True):
            shutil.rmtree(state.run(str(pk)), ignore_errors=True)


def _fail_waiting_runs(message: str) -> None:
    for run in Run.objects.here().queued():
        if run.claim():
            _fail(run, message)


def _fail(run: Run, message: str) -> None:
    """End a claimed run that no runner was started for: it never began."""
    run.started_at = None
    _record(run, Progress(status=Status.FAILED, message=message))


def _launch(run: Run, state: StateDirectory, lock: Lock) -> bool:
    """Hand the lock over to a new runner. False, and the run failed, if it cannot be started."""
    try:
        folder = state.run(str(run.pk))
        folder.mkdir(mode=0o700)
        plan_of(run, state, folder).write(folder / "plan.json")
        _spawn((str(folder / "plan.json"),), state, lock)
    except (OSError, subprocess.SubprocessError, AdminManagementError, GitError) as error:
        _fail(run, f"The runner could not be started: {error}")
        return False
    return True


def _spawn(arguments: tuple[str, ...], state: StateDirectory, lock: Lock) -> None:
    """Start the runner and wait for its first process, which ends as soon as it has forked.

    From then on the runner has no parent that PM2 could find (PM2 7 kills by parent pid).
    """
    argv = (sys.executable, "-P", "-m", runner_package, *arguments, str(lock.descriptor))
    with (
        open(state.log, "ab", opener=private) as log,
        subprocess.Popen(
            argv,
            cwd=state.path,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            pass_fds=(lock.descriptor,),
            start_new_session=True,
        ) as process,
    ):
        assert process.stdin is not None  # noqa: S101 - for the type checker
        # A runner that has ended by now says why with its exit code.
        with suppress(BrokenPipeError), process.stdin as secrets:
            secrets.write(json.dumps(secret_values()).encode())
        _await_end(process, SPAWN_TIMEOUT)
        if process.wait():
            raise subprocess.CalledProcessError(process.returncode, argv)


def _await_end(process: subprocess.Popen[bytes], seconds: float) -> None:
    """As ``Popen.wait()``, but woken at once: that one sleeps up to 50 ms between two looks."""
    descriptor = os.pidfd_open(process.pid)
    try:
        if not select.select([descriptor], [], [], seconds)[0]:
            process.kill()
            raise subprocess.TimeoutExpired(process.args, seconds)
    finally:
        os.close(descriptor)


def _extra(run_id: UUID) -> dict[str, str]:
    return {"run": str(run_id)}
