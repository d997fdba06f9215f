"""Every wrong setting is a check with an id that stays."""

from typing import Any

import pytest
from django.core.checks import run_checks

from webhooks.checks import check_settings


def ids() -> list[str | None]:
    return [message.id for message in check_settings()]


def test_a_right_setting_is_silent() -> None:
    assert check_settings() == []


@pytest.mark.django_db
def test_the_check_is_registered(settings: Any) -> None:
    settings.WEBHOOKS = {"SECRETS": "a"}
    assert "github_webhooks.E001" in [message.id for message in run_checks()]


@pytest.mark.parametrize("given", [{"SECRETS": "a"}, {"SECRET": 5}, ["a"], {"REPOSITORY": "x"}])
def test_e001_a_setting_is_wrong(settings: Any, given: Any) -> None:
    settings.WEBHOOKS = given
    assert ids() == ["github_webhooks.E001"]
    assert check_settings()[0].hint


@pytest.mark.parametrize("given", [{}, {"SECRET": ""}, {"SECRET": None}, {"SECRET": " " * 32}])
def test_w001_there_is_no_secret(settings: Any, given: Any) -> None:
    settings.WEBHOOKS = given
    assert ids() == ["github_webhooks.W001"]
    assert "503" in check_settings()[0].msg


def test_w002_the_secret_is_short(settings: Any) -> None:
    settings.WEBHOOKS = {"SECRET": "x" * 15}
    assert ids() == ["github_webhooks.W002"]
    settings.WEBHOOKS = {"SECRET": "x" * 16}
    assert ids() == []


@pytest.mark.parametrize("secret", ["long-enough-for-a-secret\n", " long-enough-for-a-secret"])
def test_w003_the_secret_has_white_space_around_it(settings: Any, secret: str) -> None:
    settings.WEBHOOKS = {"SECRET": secret}
    assert ids() == ["github_webhooks.W003"]


def test_a_message_never_contains_the_secret(settings: Any) -> None:
    settings.WEBHOOKS = {"SECRET": " canary "}
    assert ids() == ["github_webhooks.W002", "github_webhooks.W003"]
    assert "canary" not in str(check_settings())
