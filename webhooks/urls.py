"""Where GitHub's deliveries go; the final slash is optional, because a POST is not redirected."""

from django.urls import path

from . import views

app_name = "webhooks"

urlpatterns = [
    path("github/", views.receive, name="github"),
    path("github", views.receive),
]
