"""Waiting for something that happens in another process."""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from demo.live_site import LiveSite

T = TypeVar("T")

PATIENCE = 300.0
"""Seconds until a test gives up."""


def wait_for(look: Callable[[], T | None], pause: float = 0.05) -> T:
    """Look again and again, each time after a pause in seconds, until something is there."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(pause)
    raise AssertionError(f"nothing happened within {PATIENCE:g} s")


def finished(site: LiveSite, run: str) -> dict[str, Any]:
    """The run once it has ended, asked for as a script would, and its runner has gone.

    Until then the runner's last act may ask for whatever is pushed next.
    """

    def ended() -> dict[str, Any] | None:
        answer: dict[str, Any] = site.get_json(f"/admin/update/{run}/")
        return None if answer["status"] in ("queued", "running") else answer

    # To look costs the site, which shares its processors with the update, some 20 ms each time.
    answer = wait_for(ended, pause=0.5)
    wait_for(lambda: not _is_at_work(run))
    return answer


def _is_at_work(run: str) -> bool:
    """Whether there is a process that was started with the plan of this run."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(FileNotFoundError, ProcessLookupError):
            if run.encode() in path.read_bytes():
                return True
    return False
