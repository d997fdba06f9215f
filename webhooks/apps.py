"""The Django app ``webhooks``, labelled so that a site's own app may be called that."""

from django.apps import AppConfig


class WebhooksConfig(AppConfig):
    name = "webhooks"
    label = "github_webhooks"
    verbose_name = "GitHub webhooks"
    default_auto_field = "django.db.models.BigAutoField"
