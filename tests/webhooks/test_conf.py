"""The settings: what is missing has a default, what is wrong is named, and never the secret."""

from typing import Any

import pytest

from admin_management.exceptions import SettingsError
from webhooks.conf import WebhooksSettings
from webhooks.github import Payload

from .payloads import AFTER, BEFORE

PUSH = Payload(
    event="push",
    repository="octocat/site",
    ref="refs/heads/master",
    before=BEFORE,
    after=AFTER,
)


def wrong(settings: Any, **given: Any) -> str:
    settings.WEBHOOKS = given
    with pytest.raises(SettingsError) as error:
        WebhooksSettings.load()
    return f"{error.value} {error.value.hint}"


def test_a_site_that_sets_only_the_secret_works(settings: Any) -> None:
    settings.WEBHOOKS = {"SECRET": "something"}
    conf = WebhooksSettings.load()
    assert conf == WebhooksSettings(secret="something", repository=None, branch="master")
    assert conf.has_secret


def test_a_site_that_sets_nothing_is_disabled(settings: Any) -> None:
    del settings.WEBHOOKS
    assert not WebhooksSettings.load().has_secret


@pytest.mark.parametrize("blank", [None, "", "  ", "\n"])
def test_an_empty_or_blank_secret_disables(settings: Any, blank: str | None) -> None:
    settings.WEBHOOKS = {"SECRET": blank}
    assert not WebhooksSettings.load().has_secret


def test_the_branch_is_that_of_the_updates_unless_set(settings: Any) -> None:
    settings.ADMIN_MANAGEMENT = {"BRANCH": "live"}
    assert WebhooksSettings.load().branch == "live"
    settings.WEBHOOKS = {"BRANCH": "main"}
    assert WebhooksSettings.load().branch == "main"


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


def why(payload: Payload, **given: Any) -> str:
    return WebhooksSettings(**{"secret": "s", "branch": "master"} | given).why_ignored(payload)


def changed(**facts: Any) -> Payload:
    return Payload(**{name: getattr(PUSH, name) for name in Payload.__slots__} | facts)


def test_a_push_to_the_branch_asks_for_an_update() -> None:
    assert why(PUSH) == ""


def test_a_repository_is_compared_without_regard_to_case() -> None:
    assert why(PUSH, repository="OctoCat/Site") == ""


@pytest.mark.parametrize(
    ("payload", "given", "reason"),
    [
        (changed(event="issues"), {}, "issues asks for no update"),
        (changed(deleted=True), {}, "refs/heads/master was deleted"),
        (changed(ref="refs/tags/master"), {}, "refs/tags/master is not the branch that is live"),
        (
            changed(ref="refs/heads/x/master"),
            {},
            "refs/heads/x/master is not the branch that is live",
        ),
        (changed(ref="refs/heads/Master"), {}, "refs/heads/Master is not the branch that is live"),
        (PUSH, {"branch": "live"}, "refs/heads/master is not the branch that is live"),
        (PUSH, {"repository": "octocat/other"}, "a push to another repository"),
        (PUSH, {"repository": "octocat/sit"}, "a push to another repository"),
    ],
)
def test_everything_else_is_ignored_for_a_reason(
    payload: Payload, given: dict[str, Any], reason: str
) -> None:
    assert why(payload, **given) == reason
