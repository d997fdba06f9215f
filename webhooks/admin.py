"""Deliveries, secrets and refusals in Django's admin: to be looked at, not to be touched."""

from django.contrib import admin
from django.http import HttpRequest

from admin_management.read_only import ReadOnlyMixin

from .models import Delivery, Refusal, Secret


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyMixin, admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("received_at", "event", "repository", "ref", "sender", "outcome", "reason")
    list_filter = ("outcome", "event", "received_at")
    search_fields = ("delivery_id", "ref", "before", "after", "sender")


@admin.register(Secret)
class SecretAdmin(ReadOnlyMixin, admin.ModelAdmin):  # type: ignore[type-arg]
    """For superusers, and without what is encrypted."""

    list_display = ("fingerprint", "created_at", "created_by", "last_used_at", "retires_at")
    fields = list_display

    def has_view_permission(self, request: HttpRequest, obj: Secret | None = None) -> bool:
        return bool(request.user.is_active and request.user.is_superuser)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)


@admin.register(Refusal)
class RefusalAdmin(ReadOnlyMixin, admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("minute", "address", "reason", "count")
    list_filter = ("reason",)
    search_fields = ("address",)
