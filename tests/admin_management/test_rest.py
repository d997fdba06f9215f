"""A host's own settings of Django REST framework change nothing."""

import os
import subprocess
import sys
from pathlib import Path

HOSTED = ("views", "tokens", "throttling")


def test_the_api_is_the_same_on_a_hostile_host() -> None:
    # In a process of its own: DRF reads most of its settings when it is imported.
    environ = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.admin_management.hostile"}
    environ = {name: value for name, value in environ.items() if not name.startswith("COV")}
    # A second run of tests on the same PostgreSQL server would drop the database of this one.
    environ.pop("TEST_POSTGRESQL_SOCKET", None)
    argv = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist")
    done = subprocess.run(
        (*argv, *(str(Path(__file__).with_name(f"test_{each}.py")) for each in HOSTED)),
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:]
