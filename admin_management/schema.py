"""What drf-spectacular cannot see by itself. Imported only where it is installed."""
# mypy: disable-error-code="no-untyped-call"

from typing import Any

from drf_spectacular.authentication import SessionScheme
from drf_spectacular.extensions import (
    OpenApiAuthenticationExtension,
    OpenApiSerializerExtension,
    OpenApiSerializerFieldExtension,
    OpenApiViewExtension,
)
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import (
    Direction,
    OpenApiParameter,
    OpenApiResponse,
    extend_schema,
    extend_schema_field,
    extend_schema_serializer,
    extend_schema_view,
)
from rest_framework.serializers import Serializer

from . import serializers as ours
from .views import (
    CancelViewSet,
    HoldViewSet,
    LogViewSet,
    OriginViewSet,
    RollbackViewSet,
    StatusViewSet,
    UpdateViewSet,
)

extend_schema_field(ours.StepSerializer(many=True))(ours.RunWithStepsSerializer.get_steps)

PREFIX = "AdminManagement"
"""Of every component's name: a site has a ``Status`` and a ``Log`` of its own."""

for each in vars(ours).values():
    if isinstance(each, type) and issubclass(each, Serializer) and each.__module__ == ours.__name__:
        extend_schema_serializer(component_name=PREFIX + each.__name__.removesuffix("Serializer"))(
            each
        )

AT_THE_DOOR = {
    401: OpenApiResponse(ours.DetailSerializer, "Not signed in, or the token is not good."),
    403: OpenApiResponse(
        ours.DetailSerializer, "Without the permission, or sent by the page of another site."
    ),
    429: OpenApiResponse(ours.DetailSerializer, "Too often; `Retry-After` says for how long."),
}
MISSING = OpenApiResponse(ours.DetailSerializer, "There is no such run.")
NOT_HELD = OpenApiResponse(ours.DetailSerializer, "Updates are not held.")
NOT_POSSIBLE = OpenApiResponse(ours.DetailSerializer, "Not possible as things stand, and why.")
BODY_REFUSED = {
    413: OpenApiResponse(ours.DetailSerializer, "The body is too large."),
    415: OpenApiResponse(ours.DetailSerializer, "The body is not JSON."),
}
WRONG = OpenApiResponse(
    {
        "type": "object",
        "additionalProperties": {
            "oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]
        },
    },
    "What is wrong, by the name of the field or parameter.",
)
LOCATION = OpenApiParameter(
    "Location", str, OpenApiParameter.HEADER, response=[202], description="The path of the run."
)

IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
    OpenApiParameter.HEADER,
    description="The same one with the same body gets the same run, for 24 hours.",
)


class SameOriginSession(SessionScheme):
    """The session cookie."""

    target_class = "admin_management.authentication.SameOriginSessionAuthentication"


class Bearer(OpenApiAuthenticationExtension):
    """A token of ours."""

    target_class = "admin_management.tokens.TokenAuthentication"
    name = "tokenAuth"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer"}


class Part(OpenApiSerializerFieldExtension):
    """A part of the status, or why it cannot be read."""

    target_class = ours.PartField

    def map_serializer_field(self, auto_schema: AutoSchema, direction: Direction) -> dict[str, Any]:
        # A new instance, because drf-spectacular asks a serializer for its parent.
        problem = auto_schema._map_serializer_field(ours.ProblemSerializer(), direction)
        part = auto_schema._map_serializer_field(self.target.part, direction)
        return {"oneOf": [part, problem]}


class Word(OpenApiSerializerFieldExtension):
    """Named, so that no ``status`` of the site's own models gets in the way."""

    target_class = ours.WordField
    match_subclasses = True

    def get_name(self) -> str:
        return PREFIX + type(self.target).__name__.removesuffix("Field")

    def map_serializer_field(self, auto_schema: AutoSchema, direction: Direction) -> dict[str, Any]:
        return {"type": "string", "enum": list(self.target.words)}


class Text(OpenApiSerializerFieldExtension):
    """A text; where something must be said, spaces alone say nothing."""

    target_class = ours.TextField

    def map_serializer_field(self, auto_schema: AutoSchema, direction: Direction) -> dict[str, Any]:
        text = auto_schema._map_serializer_field(self.target, direction, bypass_extensions=True)
        return {**text} if self.target.allow_blank else {**text, "pattern": r"\S"}


class Body(OpenApiSerializerExtension):
    """Unknown names are refused."""

    target_class = ours.BodySerializer
    match_subclasses = True

    def map_serializer(self, auto_schema: AutoSchema, direction: Direction) -> dict[str, Any]:
        # Not super(), which maps the class that is matched: its subclasses have the fields.
        body = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)
        return {**body, "additionalProperties": False}


class UpdateViews(OpenApiViewExtension):
    """Updates."""

    target_class = UpdateViewSet

    def view_replacement(self) -> type[UpdateViewSet]:
        return extend_schema_view(
            list=extend_schema(
                parameters=[ours.RunFilterSerializer],
                responses={200: ours.RunSerializer(many=True), 400: WRONG, **AT_THE_DOOR},
            ),
            create=extend_schema(
                request=ours.UpdateRequestSerializer,
                parameters=[LOCATION, IDEMPOTENCY_KEY],
                responses={
                    202: ours.AcceptedRunSerializer,
                    400: WRONG,
                    422: OpenApiResponse(ours.DetailSerializer, "The key came with another body."),
                    **AT_THE_DOOR,
                    **BODY_REFUSED,
                },
            ),
            retrieve=extend_schema(
                responses={200: ours.RunWithStepsSerializer, **AT_THE_DOOR, 404: MISSING}
            ),
        )(type("UpdateViewSet", (self.target_class,), {}))


class CancelViews(OpenApiViewExtension):
    """Cancelling."""

    target_class = CancelViewSet

    def view_replacement(self) -> type[CancelViewSet]:
        return extend_schema_view(
            create=extend_schema(
                request=ours.CancelRequestSerializer,
                responses={
                    202: ours.RunSerializer,
                    400: WRONG,
                    **AT_THE_DOOR,
                    404: MISSING,
                    409: NOT_POSSIBLE,
                    **BODY_REFUSED,
                },
            )
        )(type("CancelViewSet", (self.target_class,), {}))


class RollbackViews(OpenApiViewExtension):
    """Going back."""

    target_class = RollbackViewSet

    def view_replacement(self) -> type[RollbackViewSet]:
        return extend_schema_view(
            retrieve=extend_schema(
                responses={200: ours.WayBackSerializer, **AT_THE_DOOR, 404: MISSING}
            ),
            create=extend_schema(
                request=ours.RollbackRequestSerializer,
                parameters=[LOCATION],
                responses={
                    202: ours.RunSerializer,
                    400: WRONG,
                    **AT_THE_DOOR,
                    404: MISSING,
                    409: NOT_POSSIBLE,
                    **BODY_REFUSED,
                },
            ),
        )(type("RollbackViewSet", (self.target_class,), {}))


class HoldViews(OpenApiViewExtension):
    """The hold."""

    target_class = HoldViewSet

    def view_replacement(self) -> type[HoldViewSet]:
        return extend_schema_view(
            retrieve=extend_schema(
                responses={200: ours.HoldSerializer, **AT_THE_DOOR, 404: NOT_HELD}
            ),
            create=extend_schema(
                request=ours.HoldRequestSerializer,
                responses={
                    201: ours.HoldSerializer,
                    400: WRONG,
                    **AT_THE_DOOR,
                    409: NOT_POSSIBLE,
                    **BODY_REFUSED,
                },
            ),
            destroy=extend_schema(responses={204: None, **AT_THE_DOOR, 404: NOT_HELD}),
        )(type("HoldViewSet", (self.target_class,), {}))


class LogView(OpenApiViewExtension):
    """A run's log."""

    target_class = LogViewSet

    def view_replacement(self) -> type[LogViewSet]:
        return extend_schema_view(
            retrieve=extend_schema(
                parameters=[ours.LogQuerySerializer],
                responses={200: ours.LogSerializer, 400: WRONG, **AT_THE_DOOR, 404: MISSING},
            )
        )(type("LogViewSet", (self.target_class,), {}))


class OriginView(OpenApiViewExtension):
    """The self-test of the cross-origin rule."""

    target_class = OriginViewSet

    def view_replacement(self) -> type[OriginViewSet]:
        return extend_schema_view(
            create=extend_schema(
                request=None, responses={200: ours.OriginSerializer, **AT_THE_DOOR}
            )
        )(type("OriginViewSet", (self.target_class,), {}))


class StatusView(OpenApiViewExtension):
    """The status."""

    target_class = StatusViewSet

    def view_replacement(self) -> type[StatusViewSet]:
        return extend_schema_view(
            retrieve=extend_schema(
                parameters=[ours.StatusQuerySerializer],
                responses={200: ours.StatusSerializer, 400: WRONG, **AT_THE_DOOR},
            )
        )(type("StatusViewSet", (self.target_class,), {}))
