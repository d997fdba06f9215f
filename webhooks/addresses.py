"""Which addresses are one sender, and which say nothing about who sent. Pure functions, no I/O."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network

NEAR: tuple[Network, ...] = tuple(
    ip_network(text)
    for text in (
        *("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),
        *("169.254.0.0/16", "100.64.0.0/10", "::1/128", "fc00::/7", "fe80::/10"),
    )
)
"""Where a reverse proxy is: all that it lets through comes from there, GitHub's deliveries too."""


@lru_cache
def sender_of(address: str | None) -> str:
    """What an address is counted as: itself, or its /64, which one IPv6 customer owns whole.

    Empty if there is none.
    """
    found = _parsed(address)
    if isinstance(found, IPv6Address):
        return str(IPv6Network((found, 64), strict=False))
    return str(found or "")


@lru_cache
def is_near(address: str | None) -> bool:
    """Whether it may be a proxy's, or is none at all: then it does not tell senders apart."""
    found = _parsed(address)
    return found is None or any(found in network for network in NEAR)


def is_within(address: str | None, networks: Iterable[Network]) -> bool:
    found = _parsed(address)
    return found is not None and any(found in network for network in networks)


def _parsed(address: str | None) -> IPv4Address | IPv6Address | None:
    if address is None:
        return None
    found = ip_address(address)
    # A socket for both versions writes IPv4 as ::ffff:192.0.2.7, and all of that is one /64.
    return getattr(found, "ipv4_mapped", None) or found
