"""Where a request comes from."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from django.http import HttpRequest
from django.test import RequestFactory
from hypothesis import given
from hypothesis import strategies as st

from admin_management.client import address_of


@pytest.mark.parametrize(
    ("remote", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("fe80::1%eth0", "fe80::1"),
        ("", None),
        ("/run/site.sock", None),
    ],
)
def test_an_address_is_one_that_the_database_can_hold(remote: str, address: str | None) -> None:
    assert address_of(RequestFactory(REMOTE_ADDR=remote).get("/")) == address


def a_request(remote: str) -> HttpRequest:
    request = HttpRequest()
    request.META["REMOTE_ADDR"] = remote
    return request


@given(st.text() | st.ip_addresses().map(str) | st.from_regex(r"[0-9a-f:.%/]+", fullmatch=True))
def test_whatever_a_server_says_is_an_address_in_its_one_spelling_or_none(remote: str) -> None:
    found = address_of(a_request(remote))
    assert found is None or str(ip_address(found)) == found
    assert found is None or len(found) <= 45


@given(st.ip_addresses(), st.text("abc0", min_size=1, max_size=5))
def test_no_address_is_lost(address: IPv4Address | IPv6Address, zone: str) -> None:
    assert address_of(a_request(str(address))) == str(address)
    assert address_of(a_request(f"{address}%{zone}")) == str(address)
