"""The cross-origin rule, row by row, and as a browser or curl meets it."""

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from admin_management.authentication import RequestHeaders, is_same_origin
from admin_management.models import Run

HOST = "site.example"
TRUSTED = ("https://ci.example", "null", "https://*.trusted.example")


def same_origin(
    *, host: str = HOST, is_https: bool = True, method: str = "POST", **sent: str
) -> bool:
    headers = RequestHeaders(method=method, host=host, is_https=is_https, **sent)
    return is_same_origin(headers, TRUSTED)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_reading_is_allowed_from_anywhere(method: str) -> None:
    assert same_origin(method=method, origin="https://evil.example", fetch_site="cross-site")


def test_a_client_that_is_not_a_browser_is_allowed() -> None:
    assert same_origin()


@pytest.mark.parametrize("fetch_site", ["same-origin", "none"])
def test_the_browsers_own_word_for_the_same_origin_is_believed(fetch_site: str) -> None:
    assert same_origin(fetch_site=fetch_site)


@pytest.mark.parametrize(
    "fetch_site",
    ["cross-site", "same-site", "", "Same-Origin", "same-origin, cross-site", " same-origin", "?"],
)
def test_every_other_word_of_the_browser_is_refused(fetch_site: str) -> None:
    assert not same_origin(fetch_site=fetch_site)
    assert not same_origin(fetch_site=fetch_site, origin=f"https://{HOST}")


@pytest.mark.parametrize(
    ("host", "is_https", "origin"),
    [
        ("site.example", True, "https://site.example"),
        ("site.example", True, "https://site.example:443"),
        ("site.example:443", True, "https://site.example"),
        ("SITE.example", True, "https://site.EXAMPLE"),
        ("site.example", False, "http://site.example"),
        ("site.example:80", False, "http://site.example"),
        ("site.example:8000", False, "http://site.example:8000"),
        ("[::1]:8000", False, "http://[::1]:8000"),
        # behind a proxy that ends TLS and does not say so
        ("site.example", False, "https://site.example"),
    ],
)
def test_its_own_origin_is_allowed(host: str, is_https: bool, origin: str) -> None:
    assert same_origin(host=host, is_https=is_https, origin=origin)
    assert same_origin(host=host, is_https=is_https, referer=f"{origin}/admin/dashboard/?a=1")


@pytest.mark.parametrize(
    ("host", "is_https", "origin"),
    [
        ("site.example", True, "https://evil.example"),
        ("site.example", True, "http://site.example"),
        ("site.example", True, "https://site.example:8443"),
        ("site.example", True, "https://sub.site.example"),
        ("site.example", True, "https://site.example.evil.example"),
        ("site.example", True, "https://site.example@evil.example"),
        ("site.example", True, "https://user@site.example"),
        ("site.example:8000", False, "http://site.example"),
        ("site.example:8000", False, "http://site.example:8001"),
    ],
)
def test_another_origin_is_refused(host: str, is_https: bool, origin: str) -> None:
    assert not same_origin(host=host, is_https=is_https, origin=origin)
    assert not same_origin(host=host, is_https=is_https, referer=f"{origin}/page")


@pytest.mark.parametrize(
    "malformed",
    [
        *("", "null", "site.example", "//site.example", "https://", "https:site.example"),
        *("ftp://site.example", "file:///site.example", "https://[site.example", "https://:443"),
        *("https://site.example:port", "https://site.example:99999", "https://site.exam\tple"),
        *("https://site.example ", "https://site.example https://evil.example", "\udce9"),
    ],
)
def test_what_cannot_be_understood_is_refused(malformed: str) -> None:
    assert not same_origin(origin=malformed)
    assert not same_origin(referer=malformed)


@pytest.mark.parametrize("rest", ["/", "/path", "?query", "#fragment"])
def test_an_origin_has_no_path(rest: str) -> None:
    assert not same_origin(origin=f"https://{HOST}{rest}")


def test_the_origin_counts_more_than_the_referer() -> None:
    assert not same_origin(origin="https://evil.example", referer=f"https://{HOST}/")
    assert same_origin(origin=f"https://{HOST}", referer="https://evil.example/")


def test_a_trusted_origin_is_allowed_even_across_sites() -> None:
    assert same_origin(origin="https://ci.example", fetch_site="cross-site")


@pytest.mark.parametrize(
    "origin", ["http://ci.example", "https://ci.example:444", "null", "https://a.trusted.example"]
)
def test_a_trusted_origin_must_match_exactly(origin: str) -> None:
    assert not same_origin(origin=origin, fetch_site="cross-site")


@pytest.mark.django_db
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Referer": "https://evil.example/"},
    ],
)
def test_the_api_refuses_a_page_of_another_site(
    client: Client, alice: User, headers: dict[str, str]
) -> None:
    client.force_login(alice)
    answer = client.post("/admin/update/", content_type="application/json", headers=headers)
    assert answer.status_code == 403
    assert "another site" in answer.json()["detail"]
    assert not Run.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://testserver", "Sec-Fetch-Site": "same-origin"},
        {"Origin": "https://ci.example"},
    ],
)
def test_the_api_takes_a_session_cookie_without_a_token(
    alice: User, settings: Any, headers: dict[str, str]
) -> None:
    settings.CSRF_TRUSTED_ORIGINS = ["https://ci.example"]
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    answer = client.post("/admin/update/", content_type="application/json", headers=headers)
    assert answer.status_code == 202


SPELLINGS = st.sampled_from(
    [f"{scheme}://{HOST}{port}" for scheme in ("http", "https") for port in ("", ":80", ":443")]
)
NOISE = st.sampled_from(["/", "/x", "?x", "#x", ":8443", ".evil", "@evil", "evil"]) | st.text(
    "/@:.#?x\t\\ ", max_size=2
)
ALMOST = (
    SPELLINGS
    | st.builds("{}{}".format, SPELLINGS, NOISE)
    | st.builds("{}{}".format, NOISE, SPELLINGS)
    | st.builds(f"https://{{}}{HOST}".format, NOISE)
)
OURS = re.compile(rf"https://{re.escape(HOST)}(:|:443)?\??#?", re.IGNORECASE)


@given(st.text() | ALMOST)
def test_no_origin_but_our_own_in_its_few_spellings_may_change_anything(origin: str) -> None:
    is_ours = OURS.fullmatch(origin) is not None
    assert is_same_origin(secure(origin=origin)) == is_ours
    assert not is_same_origin(secure(origin=origin, fetch_site="cross-site"))


@given(st.text() | ALMOST)
def test_a_referer_is_ours_only_if_it_begins_with_our_origin(referer: str) -> None:
    if is_same_origin(secure(referer=referer)):
        assert referer.lower().startswith(f"https://{HOST}")
        assert referer[len(f"https://{HOST}") :][:1] in ("", "/", ":", "?", "#")


def secure(**sent: str) -> RequestHeaders:
    return RequestHeaders(method="POST", host=HOST, is_https=True, **sent)
