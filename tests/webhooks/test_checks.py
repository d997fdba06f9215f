"""Every wrong setting is a check with an id that stays."""

from datetime import timedelta
from typing import Any

import pytest
from django.core.checks import run_checks
from django.db import OperationalError
from django.utils import timezone

from tests.settings import SECRET_KEY
from webhooks.checks import check_settings
from webhooks.models import Secret, SecretQuerySet


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


@pytest.mark.django_db
@pytest.mark.parametrize("given", [{}, {"SECRET": ""}, {"SECRET": None}, {"SECRET": " " * 32}])
def test_w001_there_is_no_secret(settings: Any, given: Any) -> None:
    settings.WEBHOOKS = given
    assert ids() == ["github_webhooks.W001"]
    assert "503" in check_settings()[0].msg


def test_e003_the_secret_is_short(settings: Any) -> None:
    settings.WEBHOOKS = {"SECRET": " " + "x" * 15}
    assert ids() == ["github_webhooks.E003"]
    settings.WEBHOOKS = {"SECRET": "x" * 16}
    assert ids() == []


@pytest.fixture
def stored(settings: Any, db: None) -> Secret:
    """A secret in the database, and none in the settings."""
    settings.WEBHOOKS = {}
    return Secret.objects.make(created_by="alice", overlap=timedelta(days=7))[0]


def test_a_stored_secret_is_one(stored: Secret) -> None:
    assert ids() == []


def test_w001_all_stored_secrets_have_retired(stored: Secret) -> None:
    stored.retire(by="alice")
    assert ids() == ["github_webhooks.W001"]


def test_e002_a_stored_secret_cannot_be_decrypted(stored: Secret, settings: Any) -> None:
    settings.SECRET_KEY = "another one"
    assert ids() == ["github_webhooks.E002"]
    assert str(stored) in check_settings()[0].msg
    settings.SECRET_KEY_FALLBACKS = [SECRET_KEY]
    assert ids() == []


def test_w004_github_still_signs_with_the_older_secret(stored: Secret) -> None:
    stored.mark_used()
    newer, _ = Secret.objects.make(created_by="alice", overlap=timedelta(days=7))
    assert ids() == []
    Secret.objects.filter(pk=stored.pk).update(last_used_at=timezone.now())
    assert ids() == ["github_webhooks.W004"]
    newer.mark_used()
    assert ids() == []


@pytest.mark.django_db
def test_without_tables_there_is_no_stored_secret(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise OperationalError("no such table")

    settings.WEBHOOKS = {}
    monkeypatch.setattr(SecretQuerySet, "active", fail)
    assert ids() == ["github_webhooks.W001"]


@pytest.mark.parametrize("secret", ["long-enough-for-a-secret\n", " long-enough-for-a-secret"])
def test_w003_the_secret_has_white_space_around_it(settings: Any, secret: str) -> None:
    settings.WEBHOOKS = {"SECRET": secret}
    assert ids() == ["github_webhooks.W003"]


def test_a_message_never_contains_the_secret(settings: Any) -> None:
    settings.WEBHOOKS = {"SECRET": " canary "}
    assert ids() == ["github_webhooks.E003"]
    assert "canary" not in str(check_settings())
