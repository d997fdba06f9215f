"""The listening socket, held for as long as the site is served."""

import errno
import re
import socket
import time

BACKLOG = 2048
"""Connections that may wait to be accepted; gunicorn's own default. The system may allow fewer."""

PATIENCE = 3.0
"""Seconds for the workers of a server that was killed a moment ago to let go of the port."""

PAUSE = 0.05

_ADDRESS = re.compile(r"(?:\[(?P<six>[^\[\]]+)\]|(?P<host>[^\[\]:]+)):(?P<port>\d{1,5})")


class CannotListenError(Exception):
    """The address cannot be had; the message says why, in one line."""


def listen(address: str, patience: float = PATIENCE) -> socket.socket:
    """A listening socket at ``HOST:PORT`` or ``[HOST]:PORT``. Raises CannotListenError.

    Waits up to ``patience`` seconds for a port that is taken.
    """
    family, target = _resolved(address)
    deadline = time.monotonic() + patience
    while True:
        found = socket.socket(family, socket.SOCK_STREAM)
        try:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind(target)
            found.listen(BACKLOG)
        except OSError as error:
            found.close()
            # The port is free when its last holder is gone, of which nothing tells.
            if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                raise CannotListenError(f"cannot listen at {address}: {error.strerror}") from error
            time.sleep(PAUSE)
        else:
            return found


def shown(listener: socket.socket) -> str:
    """The address of a listening socket as it is written in a URL."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _resolved(address: str) -> tuple[socket.AddressFamily, tuple[str, int]]:
    match = _ADDRESS.fullmatch(address)
    if match is None or int(match["port"]) > 65535:
        raise CannotListenError(f"{address!r} is no HOST:PORT; an IPv6 address goes in brackets")
    try:
        found = socket.getaddrinfo(
            match["six"] or match["host"],
            int(match["port"]),
            family=socket.AF_INET6 if match["six"] else socket.AF_INET,
            type=socket.SOCK_STREAM,
        )
    except OSError as error:
        raise CannotListenError(f"cannot listen at {address}: {error}") from error
    family, _, _, _, target = found[0]
    return family, target  # type: ignore[return-value]
