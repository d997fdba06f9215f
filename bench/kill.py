"""Kill the runners of real updates at random moments, and see whether the site is whole. By hand:

    .demo/environment-3.11/bin/python -m bench.kill [--kills 200] [--seed N] [--write]

A real site takes commits of all kinds. Each update's runner gets SIGKILL at a uniformly random
moment of its life, 85 % of them at a forced update. Then the next request recovers, and everything
must belong to one revision.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from admin_management.runner.lock import Lock
from bench.report import Report
from bench.update import change
from demo.live_site import LiveSite
from demo.tools import ROOT, Toolbox
from tests.end_to_end.invariants import check, check_status

PORT = 8773
FORCED = 0.85
KINDS = ("template", "template", "static", "migration", "dependency")


def kill_one(site: LiveSite, number: int, chance: random.Random, longest: float) -> dict[str, Any]:
    """One update whose runner is killed; the run as it was recovered."""
    change(site, chance.choice(KINDS), number)
    force = chance.random() < FORCED
    run = site.post_json("/admin/update/", {"force": force})["id"]
    time.sleep(chance.uniform(0, longest))
    with suppress(FileNotFoundError, IndexError, ProcessLookupError):
        first = site.state.journal(run).read_text().splitlines()[0]
        os.kill(int(json.loads(first)["pid"]), signal.SIGKILL)
    return wait(site, run)


def wait(site: LiveSite, run: str) -> dict[str, Any]:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        facts = site.get_json(f"/admin/update/{run}/")
        # The runner's last act may ask for the next push: let it come to its end.
        if facts["status"] not in ("queued", "running") and Lock.is_free(site.state.lock):
            return facts
        time.sleep(0.2)
    raise AssertionError(f"{run} has not ended: {facts['status']}")


def kill_many(kills: int, chance: random.Random, say: Callable[[str], object]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        site = LiveSite(Path(folder) / "site", PORT, Toolbox(ROOT / ".demo"))
        violations, statuses, steps = 0, Counter[str](), Counter[str]()
        try:
            site.create()
            site.start()
            change(site, "static", 0)
            begun = time.monotonic()
            wait(site, site.post_json("/admin/update/", {"force": True})["id"])
            longest = time.monotonic() - begun
            for number in range(1, kills + 1):
                facts = kill_one(site, number, chance, longest)
                statuses[facts["status"]] += 1
                steps[facts["failed_step"] or "after its end"] += 1
                try:
                    check(site)
                    check_status(site, facts)
                except AssertionError as error:
                    violations += 1
                    say(f"kill {number}: {error} ({facts['status']}, {facts['failed_step']})")
                if number % 20 == 0:
                    print(f"{number} kills, {violations} violations", flush=True)
        finally:
            site.stop()
    say(f"{kills} kills within {longest:.1f} s each, {violations} violations")
    say("statuses: " + ", ".join(f"{name} {count}" for name, count in statuses.most_common()))
    say("killed in: " + ", ".join(f"{name} {count}" for name, count in steps.most_common()))
    return violations


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--write", action="store_true", help="into bench/results/kill.txt")
    options = parser.parse_args()
    report = Report()
    report.say(f"seed {options.seed}")
    violations = kill_many(options.kills, random.Random(options.seed), report.say)
    if options.write:
        report.write("kill")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
