"""One HTTP request on this machine, as a visitor's browser would make it."""

import http.client
import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit, urlunsplit

LARGEST_ANSWER = 64 * 1024

ERRORS = (OSError, http.client.HTTPException)
"""What ``ask()`` raises when there is no answer."""

_PORTS = {"http": http.client.HTTP_PORT, "https": http.client.HTTPS_PORT}


def ask(
    address: tuple[str, int], where: str, patience: float, headers: Mapping[str, str]
) -> tuple[int, bytes]:
    """GET ``where``: the status and the body. ``patience`` in seconds. Raises ``ERRORS``."""
    connection, target = _connection(address, where, patience)
    try:
        connection.request("GET", target, headers=dict(headers))
        response = connection.getresponse()
        return response.status, response.read(LARGEST_ANSWER)
    finally:
        connection.close()


def _connection(
    address: tuple[str, int], where: str, patience: float
) -> tuple[http.client.HTTPConnection, str]:
    """A path is asked where the site listens, a full URL where it says: on this machine, too."""
    parts = urlsplit(where)
    target = urlunsplit(("", "", parts.path or "/", parts.query, ""))
    host, port = address
    if parts.scheme:
        # Said in full, or http.client would look for it in an IPv6 address.
        host, port = str(parts.hostname), parts.port or _PORTS[parts.scheme]
    if parts.scheme == "https":
        # Its certificate is for the site's public name.
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return http.client.HTTPSConnection(host, port, timeout=patience, context=context), target
    return http.client.HTTPConnection(host, port, timeout=patience), target
