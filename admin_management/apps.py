"""The Django app ``admin_management``."""

from typing import TYPE_CHECKING

from django.apps import AppConfig
from django.core.checks import register

if TYPE_CHECKING:
    from .health import Release


class AdminManagementConfig(AppConfig):
    name = "admin_management"
    verbose_name = "Server updates"
    default_auto_field = "django.db.models.BigAutoField"

    release: "Release"
    """What this process runs. Read once: later the disk says what will run next."""

    def ready(self) -> None:
        from django.contrib.auth.signals import user_logged_in
        from django.core.signals import request_started

        from . import checks
        from .authentication import remember_login
        from .content_type import discard_unreadable
        from .health import Release

        user_logged_in.connect(remember_login, dispatch_uid="admin_management")
        request_started.connect(discard_unreadable, dispatch_uid="admin_management")
        self.release = Release.on_disk()
        register(checks.check_settings)
        register(checks.check_apps)
        register(checks.check_database)
        register(checks.check_router)
        register(checks.check_time_zone)
        register(checks.check_urls)
