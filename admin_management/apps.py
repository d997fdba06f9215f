"""The Django app ``admin_management``."""

from django.apps import AppConfig
from django.core.checks import register


class AdminManagementConfig(AppConfig):
    name = "admin_management"
    verbose_name = "Server updates"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from .checks import check_settings

        register(check_settings)
