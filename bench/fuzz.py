"""Send changed deliveries to the webhook's view: how slow is one, does memory grow? By hand:

    .demo/environment-3.11/bin/python -m bench.fuzz [--inputs 1000000] [--seed N]

The inputs are those of tests/webhooks/test_fuzz.py, the database is an SQLite file of its own. Exit
code 1 if one was answered with a 5xx; its number and the seed make it again.
"""

import argparse
import logging
import os
import resource
import secrets
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from unittest.mock import patch

ROOT = Path(__file__).resolve().parent.parent
SLOWEST = 5


def rss() -> float:
    """Megabytes of memory that the process has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def nothing() -> None:
    """Stands where runs are started and settled."""


def prepare(folder: str) -> None:
    """The tests' site with a database in the folder."""
    sys.path.insert(0, str(ROOT))
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "TEST_SQLITE_FILE": f"{folder}/db.sqlite3",
    }
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    logging.disable(logging.CRITICAL)


def send(seed: str, inputs: int) -> bool:
    """Send all of them and print what was seen. Whether none was a 5xx."""
    from tests.webhooks.fuzzing import make_case
    from tests.webhooks.payloads import SECRET
    from webhooks import views

    statuses: Counter[int] = Counter()
    slowest: list[tuple[float, int]] = []
    begun_with = rss()
    for number in range(inputs):
        request = make_case(seed, number, secret=SECRET).request()
        begun = time.perf_counter()
        status = views.receive(request).status_code
        took = time.perf_counter() - begun
        statuses[status] += 1
        slowest = sorted([*slowest, (took, number)], reverse=True)[:SLOWEST]
        if status >= 500:
            print(f"case {number}: {status}")
        if number == inputs // 10:
            begun_with = rss()
    print(f"answers: {dict(sorted(statuses.items()))}")
    print("slowest: " + ", ".join(f"{took * 1000:.0f} ms (case {n})" for took, n in slowest))
    print(f"memory: {begun_with:.0f} MB after a tenth, {rss():.0f} MB at the end")
    return not any(status >= 500 for status in statuses)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", default=secrets.token_hex(4))
    options = parser.parse_args()
    print(f"seed {options.seed}, {options.inputs} inputs")
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        prepare(folder)
        # Runs are asked for and not started: they would update this checkout.
        with (
            patch("admin_management.launcher.start_next", nothing),
            patch("webhooks.views.settle", nothing),
        ):
            return 0 if send(options.seed, options.inputs) else 1


if __name__ == "__main__":
    sys.exit(main())
