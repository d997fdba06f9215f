#!/usr/bin/env python3
"""What visitors notice of a restart: three ways side by side on the demo's site, under a real PM2.

    python3 bench/restart.py [--rounds 3] [--requests 1000] [--rate 50] [--write]

Each round starts the site once per way, measures it undisturbed, and then during one restart that
takes up a changed page. Every request has a connection of its own. --write puts the table into
bench/results/restart.txt. Needs what the demo needs: Linux, Python 3.11, git, Node and npm.
"""

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from demo.live_site import NOTICE, PROCESS, LiveSite
from demo.tools import ROOT, Toolbox, free_port
from tests.end_to_end.waiting import wait_for
from tests.serve.steady import Answer, Visitors

GUNICORN = "gunicorn config.wsgi --workers 2"


@dataclass(frozen=True, slots=True)
class Way:
    """A way to run the site under PM2 and to restart it."""

    name: str
    arguments: str
    restart: Callable[[LiveSite, int], object]


def hang_up(site: LiveSite, pid: int) -> None:
    os.kill(pid, signal.SIGHUP)


WAYS = (
    Way(
        "serve, SIGHUP",
        "-m admin_management.serve --bind {bind} -- " + GUNICORN,
        hang_up,
    ),
    Way("gunicorn, SIGHUP", f"-m {GUNICORN} --bind {{bind}}", hang_up),
    Way(
        "gunicorn, pm2 restart",
        f"-m {GUNICORN} --bind {{bind}}",
        lambda site, pid: site.pm2("restart", PROCESS),
    ),
)


@dataclass(frozen=True, slots=True)
class Measured:
    """One restart. Times are in milliseconds."""

    lost: int
    gap: float
    slowest: float
    undisturbed: float
    switched: float


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=1000, help="during each restart")
    parser.add_argument("--rate", type=float, default=50, help="requests per second")
    parser.add_argument("--write", action="store_true", help="into bench/results/restart.txt")
    options = parser.parse_args()
    table = "\n".join(
        _table(measure(WAYS, options.rounds, options.requests, options.rate), options)
    )
    print(f"\n{table}")
    if options.write:
        results = ROOT / "bench" / "results"
        results.mkdir(exist_ok=True)
        (results / "restart.txt").write_text(table + "\n", encoding="utf-8")


def measure(
    ways: Sequence[Way], rounds: int, requests: int, rate: float
) -> dict[str, list[Measured]]:
    """All ways in turn, ``rounds`` times."""
    toolbox = Toolbox(ROOT / ".demo")
    toolbox.install_uv()
    toolbox.install_environment()
    toolbox.install_pm2()
    found: dict[str, list[Measured]] = {way.name: [] for way in ways}
    with tempfile.TemporaryDirectory() as folder:
        site = LiveSite(Path(folder) / "site", free_port(), toolbox)
        try:
            site.create()
            for number in range(rounds):
                for way in ways:
                    measured = _measure(site, way, requests, rate, f"{way.name} {number}")
                    found[way.name].append(measured)
                    print(f"round {number + 1}, {way.name}: {measured}", flush=True)
        finally:
            site.stop()
    return found


def _measure(site: LiveSite, way: Way, requests: int, rate: float, text: str) -> Measured:
    pid = _start(site, way)
    # The first answers of a worker import what is asked for the first time.
    for count in (50, requests // 4):
        with Visitors(site.port, rate=rate, at_most=count) as visitors:
            visitors.wait_for(count)
    undisturbed = _slowest(visitors.answers)
    (site.checkout / NOTICE).write_text(f"{text}\n", encoding="utf-8")
    with Visitors(site.port, rate=rate, at_most=requests) as visitors:
        visitors.wait_for(requests // 5)
        asked = max(answer.begun for answer in visitors.answers)
        way.restart(site, pid)
        visitors.wait_for(requests)
    site.pm2("delete", PROCESS)
    answers = sorted(visitors.answers, key=lambda answer: answer.begun)
    new = [answer.begun + answer.seconds for answer in answers if text in answer.body]
    if text not in answers[-1].body:
        raise SystemExit(f"{way.name}: the new page is not served")
    return Measured(
        lost=sum(answer.status != 200 for answer in answers),
        gap=_gap(answers),
        slowest=_slowest(answers),
        undisturbed=undisturbed,
        switched=1000 * (min(new) - asked),
    )


def _start(site: LiveSite, way: Way) -> int:
    app = {
        "name": PROCESS,
        "cwd": str(site.checkout),
        "script": str(site.checkout / ".venv" / "bin" / "python"),
        "interpreter": "none",
        "args": way.arguments.format(bind=f"127.0.0.1:{site.port}"),
        "kill_timeout": 40_000,
        "treekill": "serve" not in way.name,
    }
    declaration = site.folder / "pm2.json"
    declaration.write_text(json.dumps({"apps": [app]}), encoding="utf-8")
    site.pm2("start", str(declaration))
    wait_for(lambda: _page(site))
    return site.pm2_process()[0]


def _page(site: LiveSite) -> str | None:
    try:
        return site.page()
    except OSError:
        return None


def _slowest(answers: Sequence[Answer]) -> float:
    return 1000 * max(answer.seconds for answer in answers if answer.status == 200)


def _gap(answers: Sequence[Answer]) -> float:
    """The longest time without any answer."""
    ends = sorted(each.begun + each.seconds for each in answers if each.status == 200)
    return 1000 * max(later - earlier for earlier, later in pairwise(ends))


def _table(found: dict[str, list[Measured]], options: argparse.Namespace) -> list[str]:
    columns = {
        "lost": "lost",
        "longest gap": "gap",
        "slowest": "slowest",
        "undisturbed": "undisturbed",
        "new after": "switched",
    }
    lines = [
        f"What visitors notice of a restart. {datetime.now(UTC):%Y-%m-%d}, Python "
        f"{platform.python_version()}, {os.cpu_count()} cores; 2 sync workers;",
        f"{options.requests} requests at {options.rate:g}/s, each on a new connection, during one "
        f"restart; medians of {options.rounds} rounds,",
        "in brackets the worst; milliseconds. bench/restart.py made this.",
        "",
        f"{'':24}" + "".join(f"{title:>15}" for title in columns),
    ]
    for name, runs in found.items():
        cells = [[getattr(run, field) for run in runs] for field in columns.values()]
        shown = [f"{median(values):.0f} ({max(values):.0f})" for values in cells]
        lines.append(f"{name:24}" + "".join(f"{cell:>15}" for cell in shown))
    return lines


if __name__ == "__main__":
    main()
