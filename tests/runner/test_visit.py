"""One HTTP request: where it goes. What comes back is tested with the proof."""

import subprocess
import sys

import pytest

from admin_management.runner import visit


@pytest.mark.parametrize(
    ("url", "port"), [("http://localhost/x", 80), ("https://[::1]", 443), ("/x", 8080)]
)
def test_it_goes_to_the_port_of_its_scheme_or_to_where_the_site_listens(
    url: str, port: int
) -> None:
    connection, target = visit._connection(("127.0.0.1", 8080), url, 1)
    assert connection.port == port
    assert target == ("/" if port == 443 else "/x")


def test_a_run_that_has_nothing_to_prove_does_not_load_it() -> None:
    code = "import sys, admin_management.runner.run; print('http.client' in sys.modules)"
    done = subprocess.run((sys.executable, "-c", code), capture_output=True, check=True)
    assert done.stdout == b"False\n"
