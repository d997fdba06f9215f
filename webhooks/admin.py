"""Deliveries in Django's admin: to be looked at, not to be touched."""

from django.contrib import admin
from django.http import HttpRequest

from .models import Delivery


@admin.register(Delivery)
class DeliveryAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("received_at", "event", "repository", "ref", "sender", "outcome", "reason")
    list_filter = ("outcome", "event", "received_at")
    search_fields = ("delivery_id", "ref", "before", "after", "sender")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Delivery | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Delivery | None = None) -> bool:
        return False
