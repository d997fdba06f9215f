"""Where a process and its children listen, read from /proc and asked of nobody (proc(5))."""

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

LISTEN = "0A"
"""The state of a listening socket in /proc/net/tcp."""


def listening_addresses(pid: int) -> list[tuple[str, int]]:
    """The TCP addresses on which ``pid`` or one of its descendants listens.

    An address that stands for all interfaces is told as loopback.
    """
    sockets = _listening_sockets()
    found: list[tuple[str, int]] = []
    for process in _family(pid):
        for inode in _inodes(process):
            if inode in sockets and sockets[inode] not in found:
                found.append(sockets[inode])
    return found


def _family(pid: int) -> Iterator[int]:
    yield pid
    with suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split():
            yield from _family(int(child))


def _inodes(pid: int) -> Iterator[str]:
    """The inodes of its open sockets: descriptors that link to ``socket:[inode]``."""
    with suppress(OSError):
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                target = str(Path(entry.path).readlink())
                if target.startswith("socket:["):
                    yield target[8:-1]


def _listening_sockets() -> dict[str, tuple[str, int]]:
    found: dict[str, tuple[str, int]] = {}
    for name in ("tcp", "tcp6"):
        with suppress(OSError):
            lines = Path(f"/proc/net/{name}").read_text("ascii").splitlines()[1:]
            for fields in map(str.split, lines):
                if fields[3] == LISTEN:
                    found[fields[9]] = _address(fields[1])
    return found


def _address(text: str) -> tuple[str, int]:
    """``0100007F:1F90`` is 127.0.0.1:8080: words of the host's byte order, in hexadecimal."""
    packed, port = text.split(":")
    words = (packed[at : at + 8] for at in range(0, len(packed), 8))
    raw = b"".join(struct.pack("=I", int(word, 16)) for word in words)
    if not any(raw):
        return ("127.0.0.1" if len(raw) == 4 else "::1"), int(port, 16)
    family = socket.AF_INET if len(raw) == 4 else socket.AF_INET6
    return socket.inet_ntop(family, raw), int(port, 16)
