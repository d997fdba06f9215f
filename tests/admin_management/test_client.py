"""Where a request comes from."""

import pytest
from django.test import RequestFactory

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
