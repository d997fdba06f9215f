"""Who is one sender, and whose address says nothing."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhooks.addresses import is_near, is_within, sender_of
from webhooks.conf import _networks


@pytest.mark.parametrize(
    ("address", "sender"),
    [
        (None, ""),
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff::/64"),
    ],
)
def test_an_ipv6_network_is_one_sender(address: str | None, sender: str) -> None:
    assert sender_of(address) == sender
    assert len(sender) <= 43


@pytest.mark.parametrize(
    "address",
    [
        *(None, "127.0.0.1", "10.1.2.3", "172.31.0.1", "192.168.1.1", "169.254.1.1", "100.64.0.1"),
        *("::1", "fd00::1", "fe80::1", "::ffff:10.0.0.1"),
    ],
)
def test_where_a_proxy_is_addresses_do_not_tell_senders_apart(address: str | None) -> None:
    assert is_near(address)


@pytest.mark.parametrize("address", ["192.0.2.7", "140.82.115.1", "2001:db8::1", "172.32.0.1"])
def test_any_other_address_tells_who_sends(address: str) -> None:
    assert not is_near(address)


def test_an_address_is_within_networks_of_its_own_version() -> None:
    networks = _networks(["192.0.2.0/24", "2001:db8::/32"])
    within = [
        is_within(each, networks) for each in ("192.0.2.9", "::ffff:192.0.2.9", "2001:db8::1")
    ]
    assert within == [True] * 3
    without = [is_within(each, networks) for each in (None, "198.51.100.1", "2001:db9::1")]
    assert without == [False] * 3


IPV6 = st.integers(0, 2**128 - 1).map(IPv6Address)


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_the_same_in_every_spelling(address: IPv4Address) -> None:
    plain, mapped = str(address), f"::ffff:{address}"
    assert sender_of(mapped) == sender_of(plain) == plain
    assert is_near(mapped) == is_near(plain)
    assert is_within(mapped, [IPv4Network(f"{plain}/32")])


@given(IPV6, st.integers(0, 127))
def test_two_addresses_are_one_sender_if_they_differ_below_the_64(
    address: IPv6Address, bit: int
) -> None:
    other = IPv6Address(int(address) ^ 1 << bit)
    if address.ipv4_mapped is None and other.ipv4_mapped is None:
        is_one = sender_of(str(other)) == sender_of(str(address))
        assert is_one == (bit < 64)
