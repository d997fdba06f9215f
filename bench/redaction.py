"""Does hiding secrets take time in proportion to a line, whatever it is made of? By hand:

    .demo/environment-3.11/bin/python -m bench.redaction [--write]

Lines of beginnings that lead a pattern on and break off, and of what it looks for. Of each, how
long a character takes in a short line and in one sixteen times as long. Exit code 1 if that is more
than twice as much: then time grows faster than the line.
"""

import argparse
import sys
import time

from admin_management.runner.redact import Redactor
from bench.report import Report

SHORT = 64 * 1024
LONG = 16 * SHORT
"""Characters."""

ROUNDS = 3
GOAL = 2.0

SECRET = "correct-horse-battery-staple" * 4

LED_ON = (
    *("a", "-", " ", "://", "://a", "://a:", "://a:b", "://a:b@", "a:b@", "https://" + "x" * 299),
    *("bearer ", "bearer a", "basic ", "password=", "password=a&", "a=b&"),
    *("ghp_", "-ghp_" + "a" * 19, "github_pat_", "xoxb-", "AKIA", "dam_", "sk_live_", "pypi-"),
    *("ATBB", "\\neyJ", "%20eyJ", "-----BEGIN ", "-----BEGIN A", "-----BEGIN PRIVATE KEY-----"),
    *("eyJ", "-eyJ", "eyJaaaaaaaa", "eyJaaaaaaaa.", "-eyJaaaaaaaa.", "eyJaaaaaaaa.bbbbbbbb."),
    *(SECRET, SECRET[:-1], SECRET[1:], SECRET[:6], "Y29y", "%63", "\\u0063"),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--write", action="store_true", help="into bench/results/redaction.txt")
    options = parser.parse_args()
    redactor = Redactor([SECRET, SECRET.upper(), *(f"{number}-{SECRET}" for number in range(30))])
    report = Report()
    report.say(f"{'lines of':<24} {SHORT:>9,} {LONG:>12,} characters")
    worst = 0.0
    for piece in LED_ON:
        short, long = (_nanoseconds(redactor, piece, size) for size in (SHORT, LONG))
        worst = max(worst, long / short)
        told = repr(piece if len(piece) < 20 else piece[:17] + "…")
        report.say(f"{told:<24} {short:>6.0f} ns {long:>9.0f} ns each, {long / short:.2f}")
    report.say(f"a character of the longer line takes at most {worst:.2f} as long (goal {GOAL})")
    if options.write:
        report.write("redaction")
    return 0 if worst < GOAL else 1


def _nanoseconds(redactor: Redactor, piece: str, size: int) -> float:
    """What a character takes, in the best of some rounds."""
    line = piece * (size // len(piece))
    best = min(_seconds(redactor, line) for _ in range(ROUNDS))
    return best / len(line) * 1e9


def _seconds(redactor: Redactor, line: str) -> float:
    begun = time.process_time()
    redactor.line(line)
    return time.process_time() - begun


if __name__ == "__main__":
    sys.exit(main())
