"""The settings: what is missing has a default, what is wrong is named, and never the secret."""

from typing import Any

import pytest
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st

from admin_management.exceptions import SettingsError
from webhooks.conf import WebhooksSettings
from webhooks.sources import Source


def wrong(settings: Any, **given: Any) -> str:
    settings.WEBHOOKS = given
    with pytest.raises(SettingsError) as error:
        WebhooksSettings.load()
    return f"{error.value} {error.value.hint}"


def test_a_site_that_sets_only_the_secret_works(settings: Any) -> None:
    settings.WEBHOOKS = {"SECRET": "something"}
    conf = WebhooksSettings.load()
    assert conf == WebhooksSettings(sources=(Source(secret="something", branch="master"),))
    assert conf.source("").has_secret


def test_a_site_that_sets_nothing_is_disabled(settings: Any) -> None:
    del settings.WEBHOOKS
    assert not WebhooksSettings.load().source("").has_secret


@pytest.mark.parametrize("blank", [None, "", "  ", "\n"])
def test_an_empty_or_blank_secret_disables(settings: Any, blank: str | None) -> None:
    settings.WEBHOOKS = {"SECRET": blank}
    assert not WebhooksSettings.load().source("").has_secret


def test_the_branch_is_that_of_the_updates_unless_set(settings: Any) -> None:
    settings.ADMIN_MANAGEMENT = {"BRANCH": "live"}
    assert WebhooksSettings.load().source("").branch == "live"
    settings.WEBHOOKS = {"BRANCH": "main"}
    assert WebhooksSettings.load().source("").branch == "main"


def test_a_wrong_setting_of_the_updates_is_wrong_here_too(settings: Any) -> None:
    settings.ADMIN_MANAGEMENT = {"BRANCH": ""}
    assert "BRANCH" in wrong(settings, SECRET="something")


def test_an_unknown_key_is_named(settings: Any) -> None:
    assert "'SECRETS'" in wrong(settings, SECRETS="a")


def test_a_wrong_secret_is_not_repeated_in_the_message(settings: Any) -> None:
    message = wrong(settings, SECRET=b"canary")
    assert "SECRET" in message
    assert "canary" not in message


@pytest.mark.parametrize("value", ["", "site", "a/b/c", "/b", "a/", "a b/c", "a/b\n", "ä/b", 5])
def test_a_repository_is_owner_and_name(settings: Any, value: Any) -> None:
    assert "REPOSITORY" in wrong(settings, REPOSITORY=value)


@pytest.mark.parametrize("value", ["", "x" * 31, " " * 64, b"x" * 32, 5])
def test_a_key_for_stored_secrets_is_long_and_not_repeated(settings: Any, value: Any) -> None:
    message = wrong(settings, ENCRYPTION_KEY=value)
    assert "ENCRYPTION_KEY" in message
    assert "xxx" not in message


@pytest.mark.parametrize(
    "value",
    [[], "192.0.2.0/24", ["192.0.2.1/24"], ["nowhere"], ["192.0.2.0/33"], [5], [["::/0"]], {}, 5],
)
def test_networks_are_a_list_of_networks(settings: Any, value: Any) -> None:
    assert "ALLOWED_NETWORKS" in wrong(settings, ALLOWED_NETWORKS=value)


def test_an_address_is_a_network_of_one(settings: Any) -> None:
    settings.WEBHOOKS = {"ALLOWED_NETWORKS": ["192.0.2.7", "2001:db8::/32"]}
    allowed = [str(network) for network in WebhooksSettings.load().allowed_networks]
    assert allowed == ["192.0.2.7/32", "2001:db8::/32"]


@pytest.mark.parametrize("value", ["", "refs/heads/master", "-x", "a\nb", 5])
def test_a_branch_is_a_short_name(settings: Any, value: Any) -> None:
    assert "BRANCH" in wrong(settings, BRANCH=value)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(
    st.tuples(st.sampled_from(["REPOSITORY", "BRANCH", "SOURCES", "ENCRYPTION_KEY"]), ANYTHING)
    | st.tuples(st.just("ALLOWED_NETWORKS"), ANYTHING | st.lists(st.ip_addresses().map(str)))
)
def test_any_value_is_fit_for_use_or_named(pair: tuple[str, Any]) -> None:
    told = ""
    with override_settings(WEBHOOKS=dict([pair])):
        try:
            conf = WebhooksSettings.load()
        except SettingsError as error:
            told, conf = str(error), None
    if conf is None:
        assert told.startswith(f'WEBHOOKS["{pair[0]}"]')
    else:
        [source] = conf.sources
        assert source.branch.isprintable()
        assert not source.branch.startswith("-")


SITE = {"REPOSITORY": "octocat/site", "SECRET": "the secret of the site"}
THEME = {"REPOSITORY": "octocat/theme", "BRANCH": "main"}


def test_sources_have_names_and_settings_of_their_own(settings: Any) -> None:
    settings.WEBHOOKS = {"SOURCES": {"site": SITE, "theme": THEME}}
    site, theme = WebhooksSettings.load().sources
    assert (site.name, site.repository, site.branch) == ("site", "octocat/site", "master")
    assert (theme.name, theme.repository, theme.branch) == ("theme", "octocat/theme", "main")
    assert site.has_secret
    assert not theme.has_secret
    assert WebhooksSettings.load().source("theme") == theme
    assert SITE["SECRET"] not in repr(WebhooksSettings.load())


@pytest.mark.parametrize("given", [None, {}, [], "site", {"site": None}, {"site": "octocat/site"}])
def test_sources_are_a_dict_of_dicts(settings: Any, given: Any) -> None:
    assert 'WEBHOOKS["SOURCES"]' in wrong(settings, SOURCES=given)


@pytest.mark.parametrize("name", ["", "a b", "a\n", "x" * 41, "ä", 5])
def test_a_name_of_a_source_is_short_and_plain(settings: Any, name: Any) -> None:
    assert "has the name" in wrong(settings, SOURCES={name: SITE})


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("REPOSITORY", None, "is missing"),
        ("REPOSITORY", "site", "not owner/name"),
        ("BRANCH", "", "is empty"),
        ("SECRET", 5, "is not a string"),
        ("SECRETS", "x", "unknown key"),
    ],
)
def test_what_is_wrong_with_a_source_is_said_with_its_name(
    settings: Any, key: str, value: Any, told: str
) -> None:
    message = wrong(settings, SOURCES={"site": SITE | {key: value}})
    assert 'WEBHOOKS["SOURCES"]["site"]' in message
    assert told in message


@pytest.mark.parametrize("key", ["SECRET", "REPOSITORY", "BRANCH"])
def test_beside_sources_there_is_nothing_that_is_of_none(settings: Any, key: str) -> None:
    message = wrong(settings, SOURCES={"site": SITE}, **{key: "octocat/site"})
    assert f'WEBHOOKS["{key}"] is of no source' in message


def test_two_sources_with_one_secret_are_refused_and_it_is_not_repeated(settings: Any) -> None:
    message = wrong(settings, SOURCES={"site": SITE, "theme": SITE})
    assert 'WEBHOOKS["SOURCES"]["theme"]["SECRET"] is that of site too' in message
    assert SITE["SECRET"] not in message


def test_a_source_that_is_not_there_is_an_error_that_names_those_that_are(settings: Any) -> None:
    settings.WEBHOOKS = {"SOURCES": {"site": SITE, "theme": THEME}}
    for name in ("", "other"):
        with pytest.raises(SettingsError) as error:
            WebhooksSettings.load().source(name)
        assert "site, theme" in error.value.hint
    settings.WEBHOOKS = {}
    with pytest.raises(SettingsError, match="names no source 'site'"):
        WebhooksSettings.load().source("site")
