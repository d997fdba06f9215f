"""How long an update takes, beside the bare shell line that many sites use. By hand:

    .demo/environment-3.11/bin/python -m bench.update [--rounds 5] [--write]

Two real sites, each with its own origin, gunicorn and PM2, take the same commits in turn. Ours
counts from GitHub's signed request to the moment the new revision is proved to serve (rehearsal and
proof included, the soak after it not); the bare line counts until the new page is served:

    git fetch && git pull && uv sync && collectstatic && migrate && pm2 restart
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from http.client import HTTPException
from pathlib import Path
from typing import Any

from admin_management.runner.lock import Lock
from bench.report import Report
from demo.live_site import NOTICE, PROCESS, LiveSite
from demo.tools import ROOT, Toolbox

PORTS = (8771, 8772)

GOALS = {"nothing": 0.05, "template": 0.5, "migration": 0.7, "static": 0.9, "dependency": 0.9}
"""Kinds of change, and the ratio to the bare line that is aimed at."""

CSS = "attendance/static/attendance/site.css"
SIX = ("1.16.0", "1.17.0")


def change(site: LiveSite, kind: str, number: int) -> str:
    """Commit and push a change of a kind; the notice always tells which one it is."""
    files: dict[str, str | None] = {NOTICE: f"Change {number}.\n"}
    if kind == "static":
        files[CSS] = (site.author / CSS).read_text() + f"/* {number} */\n"
    if kind == "migration":
        before = sorted(each.stem for each in site.author.glob("attendance/migrations/[0-9]*.py"))[
            -1
        ]
        files[f"attendance/migrations/{number + 1000:04}_note.py"] = _migration(before, number)
    if kind == "dependency":
        _change_dependency(site, number)
    return site.commit(files, f"Change {number}: {kind}")


def _migration(before: str, number: int) -> str:
    return (
        "from django.db import migrations, models\n\n\n"
        "class Migration(migrations.Migration):\n"
        f'    dependencies = [("attendance", "{before}")]\n'
        "    operations = [migrations.AddField(\n"
        f'        "student", "note{number}", models.TextField(null=True))]\n'
    )


def _change_dependency(site: LiveSite, number: int) -> None:
    project = site.author / "pyproject.toml"
    text = project.read_text()
    old, new = SIX[(number + 1) % 2], SIX[number % 2]
    line = f'    "six=={new}",'
    text = (
        text.replace(f'    "six=={old}",', line)
        if "six==" in text
        else text.replace('    "whitenoise",', f'    "whitenoise",\n{line}')
    )
    project.write_text(text)
    site.lock_dependencies()


def ours(site: LiveSite, kind: str, number: int) -> float:
    """Seconds from the request until the proof."""
    revision = site.revision_on_disk() if kind == "nothing" else change(site, kind, number)
    begun = time.time()
    _, answer = site.push_event(revision)
    entries = _finished(site.state.journal(answer["run"]))
    # It is settled by its runner's last act; the next one must not have to wait for that.
    while (
        not Lock.is_free(site.state.lock)
        or site.get_json("/admin/update/?status=running")["results"]
    ):
        time.sleep(0.2)
    last = "finished" if kind == "nothing" else "proved"
    at = next((entry["at"] for entry in entries if entry["event"] == last), None)
    if at is None:
        raise SystemExit(json.dumps(entries, indent=1))
    return datetime.fromisoformat(at).timestamp() - begun


def _finished(journal: Path) -> list[dict[str, Any]]:
    """What a run has written when it has ended. To ask the site would take time from the run."""
    while True:
        lines = journal.read_text().splitlines() if journal.exists() else []
        entries = [json.loads(line) for line in lines]
        if entries and entries[-1]["event"] == "finished":
            return entries
        time.sleep(0.1)


def bare(site: LiveSite, kind: str, number: int) -> float:
    """Seconds of the shell line until the new page is served."""
    if kind != "nothing":
        change(site, kind, number)
    python = site.checkout / ".venv" / "bin" / "python"
    line = (
        "git fetch -q && git pull -q && uv sync -q --locked --no-dev && "
        f"{python} manage.py collectstatic --noinput >/dev/null && "
        f"{python} manage.py migrate --noinput >/dev/null && "
        f"pm2 restart {PROCESS} --silent"
    )
    begun = time.time()
    site.shell(line)
    wanted = (site.author / NOTICE).read_text().strip()
    while not _serves(site, wanted):
        time.sleep(0.01)
    return time.time() - begun


def _serves(site: LiveSite, wanted: str) -> bool:
    try:
        return wanted in site.page()
    except (OSError, HTTPException):
        return False


def measure(rounds: int, kinds: list[str], say: Callable[[str], object]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        toolbox = Toolbox(ROOT / ".demo")
        mine, other = (
            LiveSite(Path(folder) / name, port, toolbox)
            for name, port in zip(("ours", "bare"), PORTS, strict=True)
        )
        try:
            for site in (mine, other):
                site.create()
                site.start()
            # The first update takes the plain environment over and collects all static files.
            ours(mine, "static", 0)
            say(f"{'change':<12} {'ours':>8} {'bare line':>10} {'ratio':>7} {'goal':>6}")
            number = 0
            for kind in kinds:
                pairs = []
                for _ in range(rounds):
                    number += 1
                    pairs.append((ours(mine, kind, number), bare(other, kind, number)))
                a, b = (statistics.median(column) for column in zip(*pairs, strict=True))
                ratio = statistics.median(one / two for one, two in pairs)
                say(f"{kind:<12} {a:>6.2f} s {b:>8.2f} s {ratio:>7.2f} {GOALS[kind]:>6}")
        finally:
            mine.stop()
            other.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--kind", choices=GOALS, action="append", help="only these changes")
    parser.add_argument("--write", action="store_true", help="into bench/results/update.txt")
    options = parser.parse_args()
    report = Report()
    report.say(f"Medians of {options.rounds} alternating rounds on 2 cores.")
    measure(options.rounds, options.kind or list(GOALS), report.say)
    if options.write:
        report.write("update")


if __name__ == "__main__":
    main()
