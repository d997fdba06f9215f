"""Include them at ``admin/``, before the admin's own: those answer everything that is left."""

from importlib.util import find_spec

from django.urls import include, path

from .dashboard import cancel, dashboard, hold, release, roll_back, show_run
from .health import health
from .panels import urls_of_panels
from .views import (
    CancelViewSet,
    HoldViewSet,
    LogViewSet,
    OriginViewSet,
    RollbackViewSet,
    StatusViewSet,
    UpdateViewSet,
)

if find_spec("drf_spectacular"):
    from . import schema  # noqa: F401 - describes the views to drf-spectacular

app_name = "admin_management"

urlpatterns = [
    path("dashboard/", dashboard, name="dashboard"),
    path("dashboard/<uuid:pk>/", show_run, name="run"),
    path("health/", health, name="health"),
    path("dashboard/<uuid:pk>/cancel/", cancel, name="cancel"),
    path("dashboard/<uuid:pk>/rollback/", roll_back, name="rollback"),
    path("dashboard/hold/", hold, name="hold"),
    path("dashboard/release/", release, name="release"),
    *(path("dashboard/", include(module)) for module in urls_of_panels()),
    path(
        "hold/",
        HoldViewSet.as_view(
            {"get": "retrieve", "post": "create", "delete": "destroy"}, name="Hold"
        ),
        name="hold-detail",
    ),
    path("origin/", OriginViewSet.as_view({"post": "create"}, name="Origin"), name="origin"),
    path("status/", StatusViewSet.as_view({"get": "retrieve"}, name="Status"), name="status"),
    path(
        "update/",
        UpdateViewSet.as_view({"get": "list", "post": "create"}, name="Updates"),
        name="update-list",
    ),
    path(
        "update/<uuid:pk>/",
        UpdateViewSet.as_view({"get": "retrieve"}, name="Update"),
        name="update-detail",
    ),
    path(
        "update/<uuid:pk>/log/",
        LogViewSet.as_view({"get": "retrieve"}, name="Log"),
        name="update-log",
    ),
    path(
        "update/<uuid:pk>/cancel/",
        CancelViewSet.as_view({"post": "create"}, name="Cancel"),
        name="update-cancel",
    ),
    path(
        "update/<uuid:pk>/rollback/",
        RollbackViewSet.as_view({"get": "retrieve", "post": "create"}, name="Rollback"),
        name="update-rollback",
    ),
]
