"""Encrypt a secret so that a copy of the database does not give it away."""

from base64 import urlsafe_b64encode

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.encoding import force_bytes

from .conf import WebhooksSettings
from .exceptions import SealedError

PURPOSE = b"github_webhooks.Secret"
"""What keeps these keys apart from all others that are made of SECRET_KEY."""


def seal(secret: str) -> str:
    """The secret, encrypted with the newest key. Raises SettingsError."""
    return _keys().encrypt(secret.encode()).decode()


def unseal(sealed: str) -> str:
    """The secret again. Raises SealedError if no key opens it."""
    try:
        return _keys().decrypt(sealed.encode()).decode()
    except (InvalidToken, ValueError, ImproperlyConfigured):
        raise SealedError("The secret cannot be decrypted.") from None


def _keys() -> MultiFernet:
    """``WEBHOOKS["ENCRYPTION_KEY"]`` if set, then SECRET_KEY and the ones before it.

    The first one seals, all of them open: a key of its own may be set after secrets were made.
    """
    own = WebhooksSettings.load().encryption_key
    sources = [*([own] if own else []), settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return MultiFernet([Fernet(_derived(force_bytes(source))) for source in sources])


def _derived(source: bytes) -> bytes:
    key = HKDF(algorithm=SHA256(), length=32, salt=None, info=PURPOSE).derive(source)
    return urlsafe_b64encode(key)
