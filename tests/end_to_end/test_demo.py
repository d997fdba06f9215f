"""``dev.py demo`` as a newcomer runs it, and what it says when something is missing."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from demo.tools import ROOT, Toolbox, free_port

pytestmark = [pytest.mark.end_to_end, pytest.mark.xdist_group("demo")]


def demo(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (sys.executable, "dev.py", "demo", *words),
        cwd=ROOT,
        env=os.environ | environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


@pytest.fixture(autouse=True)
def _needs_node() -> None:
    if not Toolbox(ROOT / ".demo").pm2.exists():
        pytest.skip("PM2 is not installed: python3 dev.py test installs it where npm is there")


def test_once_shows_an_update_that_is_served_and_leaves_nothing_running() -> None:
    done = demo("--once", "--port", str(free_port()))
    assert done.returncode == 0, done.stdout
    assert "✓ rehearsal succeeded in" in done.stdout
    assert "serves the new revision" in done.stdout
    listing = subprocess.run(("ps", "-eo", "args"), capture_output=True, text=True, check=True)
    assert str(ROOT / ".demo" / "site") not in listing.stdout


def test_a_taken_port_is_one_clear_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = demo("--once", "--port", port)
    assert done.returncode == 2
    assert done.stdout.strip().splitlines() == [
        f"dev.py: Port {port} cannot be used: Address already in use. "
        "Choose another one with --port."
    ]


def test_a_port_that_is_none_is_refused() -> None:
    done = demo("--port", "99999")
    assert done.returncode == 2
    assert "99999 is not a port between 1024 and 65535" in done.stdout


def test_a_missing_tool_is_one_clear_line(tmp_path: Path) -> None:
    done = demo("--once", PATH=str(tmp_path))
    assert done.returncode == 2
    assert done.stdout.strip().splitlines() == [
        "dev.py: git was not found. For example: apt-get install git nodejs npm"
    ]


def test_the_site_of_the_demo_is_fit_for_production() -> None:
    environ = {
        "SECRET_KEY": "a-key-of-fifty-characters-and-more-0123456789-abcdefghij",
        "GITHUB_WEBHOOK_SECRET": "a-secret-of-thirty-two-characters",
        "SITE_HTTPS": "1",
    }
    done = subprocess.run(
        (sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"),
        cwd=ROOT / "demo" / "site",
        env=os.environ | environ | {"DJANGO_SETTINGS_MODULE": "config.settings"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
