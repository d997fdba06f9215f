"""Waiting for something that happens in another process."""

import time
from collections.abc import Callable
from typing import TypeVar

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
