"""The main job, shown: a commit is pushed, GitHub says so, and the running site updates itself."""

import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from admin_management.follow import follow
from admin_management.runner.lock import Lock

from .live_site import STAFF, LiveSite
from .tools import CannotBeginError, Toolbox, progress, require


def tell(toolbox: Toolbox, *, port: int, push: bool, once: bool) -> int:
    """Set up the site and show an update. Returns the exit code; raises CannotBeginError."""
    for program in ("git", "node", "npm"):
        require(program, "For example: apt-get install git nodejs npm")
    _require_free(port)
    toolbox.install_uv()
    toolbox.install_pm2()
    with _only_one(toolbox):
        return _show(LiveSite(toolbox.folder / "site", port, toolbox), push=push, once=once)


def _show(site: LiveSite, *, push: bool, once: bool) -> int:
    try:
        site.create()
        with progress("Starting the site with gunicorn under PM2"):
            site.start()
        succeeded = _show_update(site) if push else True
        if not once:
            _say_where(site)
            _wait_for_interrupt()
        return 0 if succeeded else 1
    finally:
        # A second Ctrl-C must not leave half of it running.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with progress("Stopping the site"):
            site.stop()


def _show_update(site: LiveSite) -> bool:
    """Push a commit, tell the site as GitHub does, and follow the run. Whether it is served."""
    text = f"This was pushed at {datetime.now():%H:%M:%S}."  # noqa: DTZ005 - as the clock on the wall
    revision = site.change_text(text)
    print(f"\nPushed {revision[:7]} to origin/master: “{text}”")
    status, answer = site.push_event(revision)
    print(f"GitHub's push event, signed: HTTP {status}, run {answer.get('run')}\n")
    if status != 202 or not answer.get("run"):
        print(f"The site did not accept it: {answer}")
        return False
    started = time.monotonic()
    progress = follow(
        site.state.journal(answer["run"]), site.state.lock, say=_say, show_progress=_progress
    )
    _progress("")
    print(f"\n{progress.message} ({time.monotonic() - started:.1f} s)")
    served = progress.status == "succeeded" and text in site.page()
    print(f"{site.url}/ serves {'the new' if served else 'the OLD'} revision.")
    return served


def _say(line: str) -> None:
    _progress("")
    print(f"  {line}", flush=True)


def _progress(text: str) -> None:
    if sys.stdout.isatty():
        print(f"\r\x1b[K  {text}" if text else "\r\x1b[K", end="", flush=True)


def _say_where(site: LiveSite) -> None:
    print(f"\n  the site       {site.url}/")
    print(f"  the dashboard  {site.url}/admin/dashboard/")
    print(f"  login          {STAFF}")
    print(f"  password       {site.password}\n", flush=True)


def _wait_for_interrupt() -> None:
    print("Push the button, or change something in the developer's clone. Ctrl-C stops it all.")
    sys.stdout.flush()
    try:
        signal.pause()
    except KeyboardInterrupt:
        print()


@contextmanager
def _only_one(toolbox: Toolbox) -> Iterator[None]:
    """Two demos of one clone would share a folder."""
    lock = Lock.try_acquire(toolbox.folder / "demo.lock")
    if lock is None:
        raise CannotBeginError("Another demo runs in this clone. End it with Ctrl-C first.")
    with lock:
        yield


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            message = f"Port {port} cannot be used: {error.strerror}."
            raise CannotBeginError(f"{message} Choose another one with --port.") from None
