"""Which values of the settings are secret."""

from typing import Any

from admin_management.redaction import secret_values


def test_secret_values_are_those_of_settings_whose_names_tell_of_one(settings: Any) -> None:
    settings.PAYMENT_TOKEN = "value-of-the-token"
    settings.SITE_NAME = "not secret"
    found = secret_values()
    assert "value-of-the-token" in found
    assert settings.SECRET_KEY in found
    assert settings.WEBHOOKS["SECRET"] in found
    assert "not secret" not in found


def test_they_are_found_however_deep_they_are(settings: Any) -> None:
    settings.SERVICES = {
        "mail": [{"password": "of-the-mail"}, {"host": "mail.example.com"}],
        "PRIVATE": {"any": {"name": ("of-a-tuple", {"of-a-set"}, b"of-bytes \xff")}},
    }
    found = secret_values()
    assert {"of-the-mail", "of-a-tuple", "of-a-set", "of-bytes �"} <= set(found)
    assert "mail.example.com" not in found


def test_they_are_text_only(settings: Any) -> None:
    settings.TOKEN_LIFETIME = 3600
    settings.TOKEN_MODEL = None
    assert all(isinstance(value, str) for value in secret_values())


def test_those_of_djangos_own_settings_hide_nothing_of_everyday(settings: Any) -> None:
    shown = {"static/", "/static/", "/accounts/login/", "default", "django", "admin"}
    assert not shown & set(secret_values())
