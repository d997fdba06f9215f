"""The address: read, had, or refused in one line."""

import socket
import threading
from collections.abc import Iterator

import pytest

from admin_management.serve.listener import CannotListenError, listen, shown


@pytest.fixture
def taken() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.mark.parametrize("address", ["127.0.0.1:0", "localhost:0"])
def test_a_host_and_a_port(address: str) -> None:
    with listen(address) as found:
        host, port = found.getsockname()
        assert (host, shown(found)) == ("127.0.0.1", f"127.0.0.1:{port}")
        with socket.create_connection((host, port)), found.accept()[0]:
            pass


def test_an_ipv6_address_goes_in_brackets() -> None:
    with listen("[::1]:0") as found:
        assert found.family is socket.AF_INET6
        assert shown(found) == f"[::1]:{found.getsockname()[1]}"


@pytest.mark.parametrize(
    "address",
    ["", "8000", ":8000", "localhost", "localhost:", "::1:8000", "a:b:1", "[::1]", "a:65536"],
)
def test_anything_else_is_no_address(address: str) -> None:
    with pytest.raises(CannotListenError, match="is no HOST:PORT"):
        listen(address)


@pytest.mark.parametrize("address", ["no-such-host.invalid:80", "[fe80::zz]:80"])
def test_an_address_that_cannot_be_is_refused(address: str) -> None:
    with pytest.raises(CannotListenError, match=r"^cannot listen at "):
        listen(address)


def test_an_address_of_another_machine_is_refused_at_once() -> None:
    with pytest.raises(CannotListenError, match=r"192\.0\.2\.1:80: Cannot assign"):
        listen("192.0.2.1:80", patience=60)


def test_a_taken_port_is_refused_after_a_while(taken: socket.socket) -> None:
    with pytest.raises(CannotListenError, match=r":\d+: Address already in use$"):
        listen(shown(taken), patience=0.2)


def test_a_port_is_had_when_its_last_holder_lets_go(
    taken: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited = threading.Event()

    def let_go(_: float) -> None:
        taken.close()
        waited.set()

    address = shown(taken)
    monkeypatch.setattr("time.sleep", let_go)
    with listen(address, patience=60):
        assert waited.is_set()
