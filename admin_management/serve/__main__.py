"""``python -m admin_management.serve --bind HOST:PORT -- gunicorn …``: see ``--help``."""

import argparse
import subprocess
import sys
from pathlib import Path

from admin_management.runner.state import NotAGitCheckoutError, StateDirectory

from .listener import CannotListenError, listen
from .signals import Signals
from .supervisor import Supervisor, say

RECOVERY_TIMEOUT = 600.0
"""Seconds until the site is served whatever has become of the recovery."""

HELP = """\
Serves the site with gunicorn, and replaces it without losing a request.

  .venv/bin/python -m admin_management.serve --bind 127.0.0.1:8000 -- gunicorn config.wsgi -w 2

All that follows "gunicorn" is gunicorn's; its configuration file and hooks work as usual, but for
bind, daemon, pidfile, reuse_port and the control socket, which would be in each other's way. Run it
from the folder with manage.py, and let PM2 signal this process alone ("treekill": false).

signals
  SIGHUP           starts a second gunicorn of the code, environment and settings that are on disk
                   now. Each of its workers must answer the health address before any of them
                   accepts a request; then the old gunicorn ends gracefully. If the new one is not
                   good in time, it is ended, and the old one has never stopped.
  SIGTERM, SIGINT  end all gracefully; a second one ends all quickly
  SIGUSR1          is passed on: gunicorn opens its log files anew

What became of a switch is said on standard error and, in a git work tree, in
<git directory>/admin-management/serve.json.

exit codes
  0  it was told to stop
  2  wrong usage, or the address cannot be had
  other codes are those of a gunicorn that ended by itself
"""


def main(words: list[str]) -> int:
    own, gunicorn = _divided(words)
    options = _parser().parse_args(own)
    if gunicorn[:1] != ["gunicorn"]:
        _parser().error('after "--" must come: gunicorn, and its arguments')
    signals = Signals()
    state = _state(Path.cwd())
    if state is not None:
        recover(Path.cwd())
    try:
        listener = listen(options.bind)
    except CannotListenError as error:
        say(str(error))
        return 2
    return Supervisor(listener, gunicorn[1:], signals, state, options.timeout).run()


def recover(folder: Path) -> None:
    """Have an update that was cut off finished or undone. Whatever comes of it: we go on."""
    argv = (sys.executable, "-P", "-m", "admin_management.runner", "--recover", str(folder))
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, timeout=RECOVERY_TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        say(f"the recovery of an earlier update did not end: {error}")
    else:
        if done.returncode:
            say(f"the recovery of an earlier update failed with exit code {done.returncode}")


def _state(folder: Path) -> StateDirectory | None:
    try:
        state = StateDirectory.of(folder)
        state.create()
    except (NotAGitCheckoutError, OSError) as error:
        say(f"nothing will be recorded: {error}")
        return None
    return state


def _divided(words: list[str]) -> tuple[list[str], list[str]]:
    """What stands before the first ``--``, and what after it."""
    if "--" not in words:
        return words, []
    here = words.index("--")
    return words[:here], words[here + 1 :]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m admin_management.serve",
        usage="%(prog)s --bind HOST:PORT [--timeout SECONDS] -- gunicorn ARGUMENT…",
        description=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--bind", required=True, metavar="HOST:PORT", help="[::1]:8000 for IPv6")
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=30.0,
        metavar="SECONDS",
        help="until a new gunicorn must be good (default: %(default)g)",
    )
    return parser


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= 3600:
        raise ValueError(text)
    return seconds


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
