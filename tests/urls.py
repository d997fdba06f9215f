"""The URL configuration of the smallest site that installs both apps."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", include("admin_management.urls")),
    path("admin/", admin.site.urls),
    path("webhooks/", include("webhooks.urls")),
]
