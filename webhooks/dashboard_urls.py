"""What the webhook adds to the dashboard's addresses; ``admin_management.urls`` includes it."""

from django.urls import path

from . import pages

urlpatterns = [
    path("webhook-secrets/", pages.new_secret, name="new_webhook_secret"),
    path(
        "webhook-secrets/<slug:fingerprint>/retire/",
        pages.retire_secret,
        name="retire_webhook_secret",
    ),
]
