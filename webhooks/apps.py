"""The Django app ``webhooks``, labelled so that a site's own app may be called that."""

from django.apps import AppConfig
from django.core.checks import register


class WebhooksConfig(AppConfig):
    name = "webhooks"
    label = "github_webhooks"
    verbose_name = "GitHub webhooks"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from admin_management.panels import Panel, add_panel

        from .checks import check_router, check_settings
        from .panel import DOORS, TEMPLATE, doubts, facts, read_panel

        register(check_settings)
        register(check_router)
        add_panel(
            Panel(
                template=TEMPLATE,
                read=read_panel,
                urls="webhooks.dashboard_urls",
                doors=DOORS,
                doubts=doubts,
                facts=facts,
            )
        )
