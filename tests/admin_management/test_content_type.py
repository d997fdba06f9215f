"""A Content-Type that Django cannot read."""

from typing import Any

import pytest
from django.core.handlers.wsgi import WSGIRequest
from django.test import Client, RequestFactory
from hypothesis import given
from hypothesis import strategies as st

from admin_management.content_type import discard_unreadable

UNREADABLE = [
    "application/json; a*=foo''%41",
    "application/json; a*=idna''%41",
    "application/json; x*99999=1; x*=1",
    "application/json; charset=zlib",
]


def environ_with(**facts: str) -> dict[str, Any]:
    return RequestFactory().get("/").environ | facts


@pytest.mark.django_db
@pytest.mark.parametrize("content_type", UNREADABLE)
@pytest.mark.parametrize(
    ("method", "address", "status"),
    [
        ("POST", "/webhooks/github/?x", 403),
        ("GET", "/admin/status/?x", 401),
        ("POST", "/admin/update/?x", 401),
    ],
)
def test_is_no_500_to_any_stranger(
    content_type: str, method: str, address: str, status: int
) -> None:
    client = Client()
    response = client.generic(method, address, b"{}", content_type=content_type)
    assert response.status_code == status


@pytest.mark.django_db
@pytest.mark.parametrize(("besides", "status"), [("", 406), ("application/json, ", 401)])
@pytest.mark.parametrize("media_type", UNREADABLE[:-1])
def test_nor_is_a_media_type_that_is_asked_for(media_type: str, besides: str, status: int) -> None:
    answer = Client().get("/admin/status/", headers={"Accept": besides + media_type})
    assert answer.status_code == status


@pytest.mark.parametrize("content_type", UNREADABLE)
@pytest.mark.parametrize("query", ["", "x"])
def test_is_as_good_as_none(content_type: str, query: str) -> None:
    environ = environ_with(QUERY_STRING=query, CONTENT_TYPE=content_type)
    discard_unreadable(environ=environ)
    assert WSGIRequest(environ).content_type == ""


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/json; charset=latin-1", "multipart/form-data; boundary=xyz"],
)
def test_one_that_it_can_read_stays(content_type: str) -> None:
    environ = environ_with(CONTENT_TYPE=content_type)
    discard_unreadable(environ=environ)
    assert environ["CONTENT_TYPE"] == content_type


def test_no_request_over_asgi_is_looked_at() -> None:
    discard_unreadable(scope={"type": "http"})


def test_nor_does_a_very_long_one_keep_a_request_from_being_made() -> None:
    environ = environ_with(CONTENT_TYPE="x" * 99_999)
    discard_unreadable(environ=environ)
    WSGIRequest(environ)


WORDS = st.text(st.sampled_from("ab;=*'\"%0419 utf-8charset/\\\xff"), max_size=40)


@given(WORDS, st.text("ab&=%4\xff", max_size=10))
def test_whatever_it_is_a_request_can_be_made(parameters: str, query: str) -> None:
    environ = environ_with(QUERY_STRING=query, CONTENT_TYPE=f"a/b;{parameters}")
    discard_unreadable(environ=environ)
    WSGIRequest(environ)
