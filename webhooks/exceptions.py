"""Why a delivery is refused: one tree, each class with the HTTP status of its answer."""

from typing import ClassVar

from admin_management.exceptions import AdminManagementError


class RefusedError(AdminManagementError):
    """A delivery that is not accepted. The message is shown to the sender, so it tells nothing."""

    status: ClassVar[int] = 400


class ParseError(RefusedError):
    """Signed, but not what GitHub sends."""


class UnreadableError(RefusedError):
    """The body broke off before its end."""

    def __init__(self) -> None:
        super().__init__("The body could not be read to its end.")


class UnverifiedError(RefusedError):
    """Not signed with our secret. One message for every cause: it must not help to guess."""

    status = 403

    def __init__(self) -> None:
        super().__init__("The signature is missing or wrong.")


class TooLargeError(RefusedError):
    """More than GitHub ever sends."""

    status = 413

    def __init__(self) -> None:
        super().__init__("The body is larger than 25 MB.")


class DisabledError(RefusedError):
    """There is no secret to verify with, or the settings are wrong."""

    status = 503

    def __init__(self) -> None:
        super().__init__("Webhooks are not configured here.")
