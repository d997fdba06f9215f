"""Where a process and its children listen, with real sockets."""

import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin_management.runner import listening
from admin_management.runner.listening import listening_addresses

CHILD = """\
import os, socket, sys, time
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
time.sleep(1000)
"""

# A process between: it has the sockets of nobody, but a child that listens.
GRANDPARENT = f"""\
import subprocess, sys
subprocess.run([sys.executable, "-c", {CHILD!r}], check=True)
"""

INHERITING = """\
import socket, sys, time
print("ready", flush=True)
time.sleep(1000)
"""


def _has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


ADDRESSES = [("127.0.0.1", "127.0.0.1"), ("127.1.2.3", "127.1.2.3"), ("0.0.0.0", "127.0.0.1")]
if _has_ipv6():
    ADDRESSES += [("::1", "::1"), ("::", "::1")]


@pytest.fixture
def children() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def start(children: ExitStack, *argv: str, inherited: tuple[int, ...] = ()) -> tuple[int, str]:
    """Start Python; its pid and the first line it prints. It is killed after the test."""
    child = subprocess.Popen(
        (sys.executable, *argv), stdout=subprocess.PIPE, pass_fds=inherited, text=True
    )
    children.enter_context(child)
    children.callback(child.kill)
    assert child.stdout is not None
    return child.pid, child.stdout.readline().strip()


@pytest.mark.parametrize(("bound", "told"), ADDRESSES)
def test_its_own_addresses_are_found(bound: str, told: str) -> None:
    family = socket.AF_INET6 if ":" in bound else socket.AF_INET
    with socket.create_server((bound, 0), family=family) as listener:
        port = listener.getsockname()[1]
        assert (told, port) in listening_addresses(os.getpid())
    assert (told, port) not in listening_addresses(os.getpid())


def test_what_is_told_can_be_connected_to() -> None:
    with socket.create_server(("0.0.0.0", 0)) as listener:
        port = listener.getsockname()[1]
        (address,) = (each for each in listening_addresses(os.getpid()) if each[1] == port)
        socket.create_connection(address, timeout=10).close()


def test_a_child_that_listens_is_found(children: ExitStack) -> None:
    pid, port = start(children, "-c", CHILD)
    assert listening_addresses(pid) == [("127.0.0.1", int(port))]


def test_a_grandchild_that_listens_is_found(children: ExitStack) -> None:
    between, port = start(children, "-c", GRANDPARENT)
    child = int(Path(f"/proc/{between}/task/{between}/children").read_text())
    children.callback(os.kill, child, 9)
    assert listening_addresses(between) == [("127.0.0.1", int(port))]


def test_a_socket_that_a_whole_family_shares_is_told_once(children: ExitStack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        os.set_inheritable(listener.fileno(), True)
        start(children, "-c", INHERITING, inherited=(listener.fileno(),))
        start(children, "-c", INHERITING, inherited=(listener.fileno(),))
        port = listener.getsockname()[1]
        found = [each for each in listening_addresses(os.getpid()) if each[1] == port]
    assert found == [("127.0.0.1", port)]


def test_a_connection_is_not_taken_for_a_listening_socket(children: ExitStack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
        with client, server:
            ports = [port for _, port in listening_addresses(os.getpid())]
            assert listener.getsockname()[1] in ports
            assert client.getsockname()[1] not in ports
            pid, _ = start(children, "-c", INHERITING, inherited=(client.fileno(),))
            assert listening_addresses(pid) == []


def test_a_process_that_is_gone_listens_nowhere() -> None:
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    assert listening_addresses(gone.pid) == []


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("0100007F:1F90", ("127.0.0.1", 8080)),
        ("00000000:0050", ("127.0.0.1", 80)),
        ("00000000000000000000000001000000:1F90", ("::1", 8080)),
        ("00000000000000000000000000000000:1F90", ("::1", 8080)),
        ("B80D01200000000000000000010000FF:FFFF", ("2001:db8::ff00:1", 65535)),
        ("0000000000000000FFFF00000100007F:1F90", ("::ffff:127.0.0.1", 8080)),
    ],
)
@pytest.mark.skipif(sys.byteorder != "little", reason="the examples are of a little-endian host")
def test_addresses_are_read_as_the_kernel_writes_them(text: str, address: tuple[str, int]) -> None:
    assert listening._address(text) == address


@given(st.ip_addresses(), st.integers(1, 65535))
def test_an_address_is_read_as_the_kernel_writes_it(
    address: IPv4Address | IPv6Address, port: int
) -> None:
    words = struct.iter_unpack("=I", address.packed)
    written = "".join(f"{word:08X}" for (word,) in words) + f":{port:04X}"
    loopback = {4: "127.0.0.1", 6: "::1"}[address.version]
    meant = ip_address(loopback) if address.is_unspecified else address
    host, read = listening._address(written)
    assert (ip_address(host), read) == (meant, port)
