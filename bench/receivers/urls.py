"""Both receivers on one site, behind the same middleware."""

from django.urls import include, path

from .bare.views import insert, verify_only

urlpatterns = [
    path("admin/", include("admin_management.urls")),
    path("webhooks/", include("webhooks.urls")),
    path("bare/insert/", insert),
    path("bare/verify/", verify_only),
]
