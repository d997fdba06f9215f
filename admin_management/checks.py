"""Every wrong setting is a system check with a stable id and a hint that says what to do."""

from collections.abc import Sequence

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error

from .conf import AdminManagementSettings
from .exceptions import SettingsError


def check_settings(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: object
) -> list[CheckMessage]:
    """E001: ``ADMIN_MANAGEMENT`` is wrong."""
    try:
        AdminManagementSettings.load()
    except SettingsError as error:
        return [Error(str(error), hint=error.hint, id="admin_management.E001")]
    return []
