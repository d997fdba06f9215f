"""Webhook secrets on the dashboard: made, shown this once, and retired."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from admin_management.exceptions import ConflictError, SettingsError
from admin_management.launcher import Requester
from admin_management.staff_page import page, staff_page

from .conf import WebhooksSettings
from .forms import NewSecretForm
from .models import Secret


@staff_page("POST")
def new_secret(request: HttpRequest) -> HttpResponse:
    """Make a secret and show it. Not by way of a redirect: nobody else may ask for it again."""
    form = NewSecretForm(request.POST)
    if not form.is_valid():
        messages.error(request, "Choose from the list how long the old secret stays good.")
        return redirect("admin_management:dashboard")
    name = form.cleaned_data["source"]
    try:
        source = WebhooksSettings.load().source(name)
        secret, value = Secret.objects.make(created_by=_who(request), **form.cleaned_data)
    except (ConflictError, SettingsError) as error:
        messages.error(request, str(error))
        return redirect("admin_management:dashboard")
    context = {
        "title": "A new webhook secret",
        "source": source,
        "secret": secret,
        "value": value,
        "before": Secret.objects.active_of(name).exclude(pk=secret.pk),
    }
    return page(request, "webhooks/new_secret.html", context)


@staff_page("POST")
def retire_secret(request: HttpRequest, fingerprint: str) -> HttpResponse:
    """Accept a secret no longer, from now on."""
    secret = Secret.objects.active_called(fingerprint)
    if secret is None:
        messages.error(request, f"No secret that is accepted is called {fingerprint}.")
    else:
        secret.retire(by=_who(request))
        messages.success(request, f"The webhook secret {secret} is accepted no longer.")
    return redirect("admin_management:dashboard")


def _who(request: HttpRequest) -> str:
    return Requester(name=str(request.user.get_username())).name
