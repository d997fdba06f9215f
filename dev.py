#!/usr/bin/env python3
"""See this project work, and test it. Needs Python 3.11 or newer, and its standard library only."""

import argparse
import os
import signal
import sys
from pathlib import Path

if sys.version_info < (3, 11):  # noqa: UP036 - whoever has an older one shall read why
    sys.exit(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}.")

sys.path.insert(0, str(Path(__file__).resolve().parent))

from demo.story import tell
from demo.tools import ROOT, CannotBeginError, Toolbox, require

TOOLBOX = Toolbox(ROOT / ".demo")


def main() -> int:
    arguments, others = _parser().parse_known_args()
    if others and arguments.command != "test":
        _parser().error(f"unrecognized arguments: {' '.join(others)}")
    # So that what was started is stopped, however we are asked to end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        if arguments.command == "test":
            return test(others)
        return tell(TOOLBOX, port=arguments.port, push=arguments.push, once=arguments.once)
    except CannotBeginError as error:
        print(f"\ndev.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def test(words: list[str]) -> int:
    """Run pytest in the pinned environment. Without npm the tests that need PM2 are skipped."""
    require("git", "Install it, for example: apt-get install git")
    TOOLBOX.install_uv()
    TOOLBOX.install_environment()
    try:
        TOOLBOX.install_pm2()
    except CannotBeginError as error:
        print(f"{error}\nThe tests that need PM2 are skipped.", file=sys.stderr)
    # In parallel, but the tests that share a live site in one process. One process more than there
    # are processors, because many tests wait for what they have started.
    spread = ("-n", str((os.cpu_count() or 1) + 1), "--dist", "loadgroup")
    argv = (str(TOOLBOX.environment / "bin" / "python"), "-m", "pytest", *spread, *words)
    sys.stdout.flush()
    os.chdir(ROOT)
    os.execve(argv[0], argv, TOOLBOX.environ())


def _port(text: str) -> int:
    if not text.isdecimal() or not 1024 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is not a port between 1024 and 65535")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="demo|test")
    demo = commands.add_parser(
        "demo",
        help="set up a small site under PM2 and show how a push updates it",
        description="Sets up a small site below .demo/, pushes a commit to it as GitHub would, "
        "shows each step, and keeps the site up until Ctrl-C. Exit codes: 0 the new revision is "
        "served, 1 it is not, 2 something is missing.",
    )
    demo.add_argument("--once", action="store_true", help="stop after the update")
    demo.add_argument(
        "--port", type=_port, default=8000, help="on 127.0.0.1 (default: %(default)s)"
    )
    demo.add_argument(
        "--no-push", dest="push", action="store_false", help="only start the site, update nothing"
    )
    commands.add_parser(
        "test",
        help="run the tests; all other words go to pytest",
        description="Runs the tests in an environment below .demo/, exactly as pinned. All other "
        "words go to pytest: dev.py test tests/runner -k journal",
        add_help=False,
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
