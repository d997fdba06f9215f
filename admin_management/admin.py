"""Runs, holds and events in Django's admin: to be read, and nothing else."""

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest

from .models import AuditEvent, Hold, Run, StepRun


class ReadOnlyMixin:
    """Nothing can be added, changed or deleted."""

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class StepRunInline(ReadOnlyMixin, admin.TabularInline):  # type: ignore[type-arg]
    """The steps in short; their output is on the run's own page, one click away."""

    model = StepRun
    fields = ("name", "status", "started_at", "finished_at", "exit_code", "message")
    readonly_fields = fields
    extra = 0


@admin.register(Run)
class RunAdmin(ReadOnlyMixin, admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("short_id", "status", "requested_at", "trigger", "actor_name", "reason", "to")
    list_filter = ("status", "trigger", "node")
    search_fields = ("id", "actor_name", "reason", "from_revision", "to_revision")
    date_hierarchy = "requested_at"
    inlines = (StepRunInline,)
    actions = None

    @admin.display(description="to", ordering="to_revision")
    def to(self, run: Run) -> str:
        return run.to_revision[:7]


@admin.register(Hold)
class HoldAdmin(ReadOnlyMixin, admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("reason", "actor_name", "held_at", "expires_at", "released_at", "released_by")
    list_filter = ("node",)
    search_fields = ("reason", "actor_name", "released_by")
    date_hierarchy = "held_at"


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyMixin, admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("seq", "at", "kind", "run_id", "text")
    list_filter = ("kind",)
    search_fields = ("run_id", "text")
    date_hierarchy = "at"
    actions = None
