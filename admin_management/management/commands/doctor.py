"""``manage.py doctor``."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from admin_management.doctor import CHECKS, Finding, Verdict, examine, remember

MARKS = {Verdict.OK: "✓", Verdict.WARN: "!", Verdict.FAIL: "✗"}
WIDTH = max(len(name) for name, _ in CHECKS)


class Command(BaseCommand):
    help = (
        "Check all that an update of this site needs, and say how to mend what is missing. Changes "
        "nothing; GET /admin/status/ names the result. Exit code: 0 if nothing failed, 1 if "
        "something did; warnings do not count."
    )
    # They are findings, and must not keep the others from being made.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="as JSON, for a program")

    def handle(self, *args: Any, **options: Any) -> None:
        findings = list(self._findings(tell=not options["json"]))
        remember(findings)
        failed = sum(each.verdict is Verdict.FAIL for each in findings)
        warned = sum(each.verdict is Verdict.WARN for each in findings)
        if options["json"]:
            listed = [asdict(each) for each in findings]
            self.stdout.write(json.dumps({"ok": not failed, "findings": listed}, indent=1))
        else:
            self.stdout.write(f"{len(findings)} checked, {warned} warned, {failed} failed")
        if failed:
            raise CommandError(f"Updates will not work: mend what failed ({failed}).")

    def _findings(self, *, tell: bool) -> Iterator[Finding]:
        for finding in examine(self._show_progress):
            self._show_progress("")
            if tell:
                self._tell(finding)
            yield finding

    def _tell(self, finding: Finding) -> None:
        self.stdout.write(f"{MARKS[finding.verdict]} {finding.name:<{WIDTH}}  {finding.message}")
        if finding.advice:
            self.stdout.write(f"  {'':<{WIDTH}}  → {finding.advice}")

    def _show_progress(self, name: str) -> None:
        """On a terminal only: some checks take seconds."""
        if self.stderr.isatty():
            self.stderr.write(f"\r\x1b[K{name and f'… {name}'}", ending="")
