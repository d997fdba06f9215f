"""Waiting for something that happens in another process."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

from demo.live_site import LiveSite

T = TypeVar("T")

PATIENCE = 120.0
"""Seconds until a test gives up."""


def wait_for(look: Callable[[], T | None]) -> T:
    """Look again and again until something is there, and return it."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.05)
    raise AssertionError(f"nothing happened within {PATIENCE:g} s")


def finished(site: LiveSite, run: str) -> dict[str, Any]:
    """The run once it has ended, asked for as a script would."""

    def ended() -> dict[str, Any] | None:
        answer: dict[str, Any] = site.get_json(f"/admin/update/{run}/")
        return None if answer["status"] in ("queued", "running") else answer

    return wait_for(ended)
