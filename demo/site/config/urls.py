"""What answers where."""

from django.contrib import admin
from django.urls import include, path

from attendance.views import today

urlpatterns = [
    path("", today),
    path("admin/", include("admin_management.urls")),
    path("admin/", admin.site.urls),
    path("webhooks/", include("webhooks.urls")),
]
