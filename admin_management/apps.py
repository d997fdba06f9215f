"""The Django app ``admin_management``."""

from django.apps import AppConfig
from django.core.checks import register


class AdminManagementConfig(AppConfig):
    name = "admin_management"
    verbose_name = "Server updates"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from . import checks

        register(checks.check_settings)
        register(checks.check_apps)
        register(checks.check_database)
        register(checks.check_urls)
