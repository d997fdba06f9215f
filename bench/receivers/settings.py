"""The settings of a site with this package's receiver and a bare view beside it."""

import os
from pathlib import Path
from typing import Any

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS

BASE_DIR = Path(os.environ["BENCH_CHECKOUT"])
ROOT_URLCONF = "bench.receivers.urls"
INSTALLED_APPS += ["bench.receivers.bare"]
DATABASES: dict[str, Any] = {  # type: ignore[no-redef]
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": BASE_DIR.parent / "db.sqlite3",
        # Each commit is on the disk before it is answered, for all alike.
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL",
        },
        "CONN_MAX_AGE": None,
    }
}
LOGGING = {"version": 1, "loggers": {"webhooks": {"level": "CRITICAL"}}}
WEBHOOKS = {"SECRET": os.environ["BENCH_SECRET"]}
