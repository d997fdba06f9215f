"""Send changed deliveries to the webhook's view: how slow is one, does memory grow? By hand:

    .demo/environment-3.11/bin/python -m bench.fuzz [--inputs 1000000] [--seed N] [--write]

The inputs are made as in tests/webhooks/test_fuzz.py, with the settings' secret alone; the database
is an SQLite file of its own. Exit code 1 if one was answered with a 5xx or took a second, if a row
is of none that was accepted, or if memory has grown; the seed and a case's number make it again.
"""

import argparse
import logging
import os
import secrets
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

from bench.memory import in_use
from bench.report import Report

LISTED = 5
"""Of the slowest."""

SLOWEST = 1.0
"""Seconds that no answer may take."""

GROWTH = 5.0
"""Megabytes in use that may be more at the end than after a tenth: what is not due to a leak."""


def nothing() -> None:
    """Stands where runs are started and settled."""


def prepare(folder: Path) -> None:
    """The tests' site with a database in the folder."""
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "TEST_SQLITE_FILE": f"{folder}/db.sqlite3",
    }
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    logging.disable(logging.CRITICAL)


def send(seed: str, inputs: int, folder: Path, say: Callable[[str], object]) -> bool:
    """Send all of them and say what was seen. Whether nothing was wrong with it."""
    from tests.webhooks.fuzzing import make_case
    from tests.webhooks.payloads import SECRET
    from webhooks import views
    from webhooks.models import Delivery

    statuses: Counter[int] = Counter()
    # On disk, because its memory would look like a leak of the receiver's.
    accepted_ids = (folder / "accepted").open("w")
    slowest: list[tuple[float, int]] = []
    begun_with = in_use()
    for number in range(inputs):
        case = make_case(seed, number, secrets=[SECRET])
        request = case.request()
        begun = time.perf_counter()
        status = views.receive(request).status_code
        took = time.perf_counter() - begun
        statuses[status] += 1
        slowest = sorted([*slowest, (took, number)], reverse=True)[:LISTED]
        if status in (200, 202):
            accepted_ids.write(f"{case.delivery_id}\n")
        if status >= 500:
            say(f"case {number}: {status}")
        if number == inputs // 10:
            begun_with = in_use()
    ended_with = in_use()
    accepted_ids.close()
    accepted = set((folder / "accepted").read_text().split())
    kept = set(Delivery.objects.values_list("delivery_id", flat=True).iterator())
    say(f"answers: {dict(sorted(statuses.items()))}")
    say(f"accepted: {len(accepted)} deliveries; rows: {len(kept)}, {len(kept ^ accepted)} differ")
    say("slowest: " + ", ".join(f"{took * 1000:.0f} ms (case {n})" for took, n in slowest))
    say(f"memory in use: {begun_with:.1f} MB after a tenth, {ended_with:.1f} MB at the end")
    return (
        kept == accepted
        and not any(status >= 500 for status in statuses)
        and slowest[0][0] < SLOWEST
        and ended_with - begun_with < GROWTH
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", default=secrets.token_hex(4))
    parser.add_argument("--write", action="store_true", help="into bench/results/fuzz.txt")
    options = parser.parse_args()
    report = Report()
    report.say(f"seed {options.seed}, {options.inputs:,} inputs")
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        folder = Path(name)
        prepare(folder)
        # Runs are asked for and not started: they would update this checkout.
        with (
            patch("admin_management.launcher.start_next", nothing),
            patch("webhooks.views.settle", nothing),
        ):
            is_good = send(options.seed, options.inputs, folder, report.say)
    if options.write:
        report.write("fuzz")
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
