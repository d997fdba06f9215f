"""What can go wrong when an update is asked for, or a site is asked how it is.

Each message says what happened or what to do about it.
"""

from django.core.exceptions import ImproperlyConfigured


class AdminManagementError(Exception):
    """Base of this package's own errors."""


class SettingsError(ImproperlyConfigured, AdminManagementError):
    """A setting has a wrong name or value; ``hint`` says what to write instead."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class AppendOnlyError(AdminManagementError):
    """Somebody tried to change or delete what may only be added to."""

    def __init__(self) -> None:
        super().__init__("The audit log is append-only: its events are never changed or deleted.")


class ConflictError(AdminManagementError):
    """What was asked for is not possible as things stand; the message says why."""


class KeyReusedError(AdminManagementError):
    """An idempotency key came again with another body."""

    def __init__(self) -> None:
        super().__init__(
            "This Idempotency-Key was used with another body: make a new one for each request."
        )


class WrongUserError(AdminManagementError):
    """This process is not of the user that the checkout belongs to."""

    def __init__(self, owner: str, user: str) -> None:
        super().__init__(
            f"The checkout belongs to {owner}, and this is run by {user}. Do it as that user: "
            f"sudo -u {owner} …"
        )


class ReasonMissingError(AdminManagementError):
    """A person must say why."""

    def __init__(self) -> None:
        super().__init__("Say why: this is done only for a reason.")


class NotHealthyError(AdminManagementError):
    """The site does not answer its health address as it should: the message says what it did."""


class DatabaseDownError(NotHealthyError):
    """It would be healthy, but the database does not answer. That says nothing about its code."""
