"""Stored secrets are encrypted, and opened by the keys that the settings have had."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.settings import SECRET_KEY
from webhooks.exceptions import SealedError
from webhooks.sealing import seal, unseal

VALUE = "5f" * 32
KEY = "a key for nothing but the secrets of webhooks"


def is_open(sealed: str) -> bool:
    try:
        return unseal(sealed) == VALUE
    except SealedError:
        return False


def test_what_was_sealed_can_be_opened_and_does_not_show() -> None:
    sealed = seal(VALUE)
    assert is_open(sealed)
    assert VALUE not in sealed
    assert seal(VALUE) != sealed


def test_an_older_secret_key_still_opens(settings: Any) -> None:
    sealed = seal(VALUE)
    settings.SECRET_KEY = "the next one"
    assert not is_open(sealed)
    settings.SECRET_KEY_FALLBACKS = ["something else", SECRET_KEY]
    assert is_open(sealed)


def test_the_newest_key_seals(settings: Any) -> None:
    settings.SECRET_KEY = "the next one"
    settings.SECRET_KEY_FALLBACKS = [SECRET_KEY]
    sealed = seal(VALUE)
    settings.SECRET_KEY_FALLBACKS = []
    assert is_open(sealed)


def test_a_key_of_its_own_seals_and_what_was_sealed_before_it_still_opens(settings: Any) -> None:
    with_secret_key = seal(VALUE)
    settings.WEBHOOKS = {"ENCRYPTION_KEY": KEY}
    assert is_open(with_secret_key)
    sealed = seal(VALUE)
    settings.SECRET_KEY = "the next one"
    assert is_open(sealed)
    settings.WEBHOOKS = {}
    assert not is_open(sealed)


def test_a_secret_key_may_be_bytes(settings: Any) -> None:
    settings.SECRET_KEY = b"the next one"
    assert is_open(seal(VALUE))


@pytest.mark.parametrize("sealed", ["", "nothing", "gAAAAA==", "\N{SNOWMAN}", "\ud800"])
def test_what_was_not_sealed_here_is_not_opened(sealed: str) -> None:
    with pytest.raises(SealedError) as error:
        unseal(sealed)
    assert sealed == "" or sealed not in str(error.value)


def test_without_any_key_nothing_opens(settings: Any) -> None:
    sealed = seal(VALUE)
    settings.SECRET_KEY = ""
    assert not is_open(sealed)


@given(st.text(st.characters(codec="utf-8")))
def test_any_secret_is_the_same_when_it_is_opened(secret: str) -> None:
    assert unseal(seal(secret)) == secret


@given(st.text(), st.integers(0, 99), st.sampled_from("Aa0-"))
def test_what_was_changed_or_never_sealed_is_not_opened(text: str, at: int, put: str) -> None:
    sealed = seal(VALUE)
    forged = sealed[:at] + put + sealed[at + 1 :]
    for each in (text, *([forged] if forged != sealed else [])):
        with pytest.raises(SealedError):
            unseal(each)
