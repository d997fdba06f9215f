"""Why a delivery is refused: one tree, each class with the HTTP status of its answer."""

from enum import StrEnum
from typing import ClassVar

from admin_management.exceptions import AdminManagementError


class Reason(StrEnum):
    """What refusals are counted by. The sender is not told more than the message."""

    SIGNATURE = "signature"
    NETWORK = "network"
    TOO_MANY = "too_many"
    TOO_LARGE = "too_large"
    UNREADABLE = "unreadable"
    MALFORMED = "malformed"
    DISABLED = "disabled"
    METHOD = "method"


class RefusedError(AdminManagementError):
    """A delivery that is not accepted. The message is shown to the sender, so it tells nothing."""

    status: ClassVar[int] = 400
    reason: ClassVar[Reason] = Reason.MALFORMED


class MethodError(RefusedError):
    """Not a POST."""

    status = 405
    reason = Reason.METHOD

    def __init__(self) -> None:
        super().__init__("Deliveries are sent by POST.")


class ParseError(RefusedError):
    """Signed, but not what GitHub sends."""


class UnreadableError(RefusedError):
    """The body broke off before its end."""

    reason = Reason.UNREADABLE

    def __init__(self) -> None:
        super().__init__("The body could not be read to its end.")


class UnverifiedError(RefusedError):
    """Not signed with our secret. One message for every cause: it must not help to guess."""

    status = 403
    reason = Reason.SIGNATURE

    def __init__(self) -> None:
        super().__init__("The signature is missing or wrong.")


class NetworkError(UnverifiedError):
    """From an address that is not allowed; answered like a wrong signature."""

    reason = Reason.NETWORK


class TooManyError(RefusedError):
    """Refused too often of late to be read again so soon."""

    status = 429
    reason = Reason.TOO_MANY

    def __init__(self) -> None:
        super().__init__("Too many requests were refused.")


class TooLargeError(RefusedError):
    """More than GitHub ever sends."""

    status = 413
    reason = Reason.TOO_LARGE

    def __init__(self) -> None:
        super().__init__("The body is larger than 25 MB.")


class DisabledError(RefusedError):
    """There is no secret to verify with, or the settings are wrong."""

    status = 503
    reason = Reason.DISABLED

    def __init__(self) -> None:
        super().__init__("Webhooks are not configured here.")


class SealedError(AdminManagementError):
    """A stored secret cannot be decrypted: the key it was encrypted with is gone."""
