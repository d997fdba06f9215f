"""Everything that touches the database, once more on a PostgreSQL server of our own."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DEBIAN = "/usr/lib/postgresql"


def programs() -> Path | None:
    """The folder of initdb and pg_ctl, which Debian keeps off the PATH."""
    found = sorted(Path(DEBIAN).glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


@pytest.fixture
def socket_folder() -> Iterator[str]:
    """A running server's socket folder: private data, no network port, ended by its pid file."""
    folder = programs()
    if folder is None:
        pytest.skip("no PostgreSQL server is installed (apt-get install postgresql)")
    # The server refuses to run as root; a socket's path must be short.
    owner = "postgres" if os.getuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as home:
        if owner:
            shutil.chown(home, owner)

        def run(*argv: str) -> None:
            subprocess.run(argv, user=owner, cwd=home, check=True, stdout=subprocess.DEVNULL)

        run(f"{folder}/initdb", "-D", f"{home}/data", "-U", "postgres", "-A", "trust")
        options = f"-c listen_addresses= -c unix_socket_directories={home} -c fsync=off"
        control = (f"{folder}/pg_ctl", "-D", f"{home}/data", "-w")
        run(*control, "-o", options, "-l", f"{home}/log", "start")
        try:
            yield home
        finally:
            run(*control, "-m", "immediate", "stop")


@pytest.mark.postgresql
def test_the_same_tests_pass_on_postgresql(socket_folder: str) -> None:
    argv = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist")
    chosen = ("tests/admin_management", "tests/webhooks", "-m", "not browser and not postgresql")
    other = {"TEST_POSTGRESQL_SOCKET": socket_folder, "WEBHOOK_FUZZ_INPUTS": "5000"}
    environ = os.environ | other
    environ = {name: value for name, value in environ.items() if not name.startswith("COV")}
    done = subprocess.run(
        (*argv, *chosen), cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-5000:]
