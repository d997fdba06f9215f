"""Runs, holds and events in Django's admin: to be read, and nothing else. Tokens: to be made."""

from typing import Any, cast

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from .authentication import require_recent_login, why_foreign
from .forms import ApiTokenForm
from .headers import protect
from .models import ApiToken, AuditEvent, Hold, Run, StepRun
from .read_only import ReadOnlyMixin


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


@admin.register(ApiToken)
class ApiTokenAdmin(ReadOnlyMixin, admin.ModelAdmin):  # type: ignore[type-arg]
    """One's own tokens, made and revoked by whoever may add them.

    Nobody makes a token for somebody else here, or they could do what that user can.
    """

    form = ApiTokenForm
    list_display = ("name", "scope", "user", "created_at", "expires_at", "last_used", "revoked_at")
    list_filter = ("scope",)
    search_fields = ("name",)
    actions = ("revoke",)

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return admin.ModelAdmin.has_add_permission(self, request)

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("admin_management.revoke_apitoken")

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self.has_add_permission(request) or self.has_revoke_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Together with their user only. Otherwise tokens are revoked, and stay in the list."""
        match = request.resolver_match
        return bool(obj and match and "apitoken" not in (match.url_name or ""))

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiToken]:
        tokens = ApiToken.objects.select_related("user")
        if self.has_revoke_permission(request):
            return tokens
        return tokens.filter(user=cast("Any", request.user))

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ("name", "scope", "days") if obj is None else self.list_display

    @admin.display(description="last used", ordering="last_used_at", empty_value="never")
    def last_used(self, token: ApiToken) -> Any:
        return token.last_used_at

    def changeform_view(self, request: HttpRequest, *arguments: Any, **options: Any) -> Any:
        _require_own_page(request)
        return super().changeform_view(request, *arguments, **options)

    def changelist_view(self, request: HttpRequest, *arguments: Any, **options: Any) -> Any:
        _require_own_page(request)
        return super().changelist_view(request, *arguments, **options)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        # Or else an old session would make a token, which is asked for no login.
        require_recent_login(request)
        obj.user = request.user
        days, by = form.cleaned_data["days"], request.user.get_username()
        obj.issue(by=by, days=days)

    def response_add(
        self, request: HttpRequest, obj: ApiToken, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Show the value here and nowhere else: a message would be stored for the next page."""
        context = {**self.admin_site.each_context(request), "title": "The new token", "token": obj}
        answer = render(request, "admin_management/token.html", context)
        protect(answer)
        return answer

    @admin.action(description="Revoke the selected tokens")
    def revoke(self, request: HttpRequest, tokens: QuerySet[ApiToken]) -> None:
        by = request.user.get_username()
        revoked = sum(token.revoke(by=by) for token in tokens)
        self.message_user(request, f"Revoked: {revoked}.")


def _require_own_page(request: HttpRequest) -> None:
    """Beside the token of Django's forms. Raises PermissionDenied."""
    if problem := why_foreign(request):
        raise PermissionDenied(problem)
