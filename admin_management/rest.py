"""Django REST framework with every choice made here: a host's REST_FRAMEWORK changes nothing."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import IO, Any
from urllib.parse import urlsplit

from django.apps import apps
from django.db import transaction
from django.utils.http import parse_header_parameters
from rest_framework.exceptions import (
    APIException,
    NotFound,
    ParseError,
    PermissionDenied,
    ValidationError,
)
from rest_framework.metadata import SimpleMetadata
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.pagination import BasePagination, Cursor, CursorPagination
from rest_framework.parsers import BaseParser
from rest_framework.permissions import SAFE_METHODS
from rest_framework.renderers import BaseRenderer, BrowsableAPIRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.settings import DEFAULTS, IMPORT_STRINGS, APISettings
from rest_framework.throttling import BaseThrottle
from rest_framework.viewsets import GenericViewSet

from .authentication import SameOriginSessionAuthentication
from .exceptions import ConflictError, KeyReusedError
from .headers import protect
from .permissions import IsAllowed, record_refusal
from .throttling import ChangeThrottle
from .tokens import TokenAuthentication

LARGEST_BODY = 64 * 1024


OWN_SETTINGS = APISettings({"URL_FORMAT_OVERRIDE": "format"}, DEFAULTS, IMPORT_STRINGS)


class TooLargeError(APIException):
    status_code = 413
    default_detail = f"The body is larger than {LARGEST_BODY // 1024} KB."
    default_code = "too_large"


class NotPossibleError(APIException):
    status_code = 409
    default_code = "conflict"


class ReusedError(APIException):
    status_code = 422
    default_code = "key_reused"


class JSONObjectParser(BaseParser):
    """One JSON object in UTF-8, of bounded size, that can be stored and sent back."""

    media_type = "application/json"
    renderer_class = JSONRenderer

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        body = stream.read(LARGEST_BODY + 1)
        if len(body) > LARGEST_BODY:
            raise TooLargeError
        try:
            value = json.loads(body.decode("utf-8"), parse_constant=_refuse)
            # A lone surrogate, "\ud800", is valid JSON and no text.
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        except (ValueError, RecursionError):
            raise ParseError("The body is not JSON in UTF-8.") from None
        if not isinstance(value, dict):
            raise ParseError('The body is not a JSON object, {"…": …}.')
        return value


class Renderer(JSONRenderer):
    ensure_ascii = False
    compact = True
    strict = True


class BrowsableRenderer(BrowsableAPIRenderer):
    """DRF's browsable pages without their only inline style."""

    def get_context(
        self, data: Any, accepted_media_type: str | None, renderer_context: Mapping[str, Any]
    ) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context(data, accepted_media_type, renderer_context)
        return context | {"code_style": None}


class Negotiation(DefaultContentNegotiation):
    settings = OWN_SETTINGS  # type: ignore[assignment]

    def get_accept_list(self, request: Request) -> list[str]:
        """Without what Django cannot read: to any stranger it would be a 500."""
        return [each for each in super().get_accept_list(request) if _is_readable(each)]


def _is_readable(media_type: str) -> bool:
    try:
        parse_header_parameters(media_type)
    except Exception:
        return False
    return True


class StaffViewSet(GenericViewSet[Any]):
    """What all endpoints share: who may, same origin, JSON in, JSON or a browsable page out."""

    settings = OWN_SETTINGS
    authentication_classes = (TokenAuthentication, SameOriginSessionAuthentication)
    permission_classes = (IsAllowed,)
    parser_classes = (JSONObjectParser,)
    renderer_classes = (Renderer, BrowsableRenderer)
    throttle_classes: Sequence[type[BaseThrottle]] = (ChangeThrottle,)
    filter_backends = ()
    pagination_class: type[BasePagination] | None = None
    versioning_class = None
    metadata_class = SimpleMetadata
    content_negotiation_class = Negotiation

    @classmethod
    def as_view(cls, *args: Any, **kwargs: Any) -> Any:
        # With ATOMIC_REQUESTS a runner would start before its run is committed.
        return transaction.non_atomic_requests(super().as_view(*args, **kwargs))

    def get_renderers(self) -> list[BaseRenderer]:
        """The browsable pages need templates, which come with the app ``rest_framework``."""
        if apps.is_installed("rest_framework"):
            return super().get_renderers()
        return [Renderer()]

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, ConflictError):
            exc = NotPossibleError(str(exc))
        elif isinstance(exc, KeyReusedError):
            exc = ReusedError(str(exc))
        return super().handle_exception(exc)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        try:
            super().initial(request, *args, **kwargs)
        except PermissionDenied:
            if request.method not in SAFE_METHODS:
                record_refusal(request)
            raise

    def finalize_response(
        self, request: Request, response: Response, *args: Any, **kwargs: Any
    ) -> Response:
        response = super().finalize_response(request, response, *args, **kwargs)
        protect(response)
        return response


class RunPages(CursorPagination):
    """Runs, newest first. Links are paths: behind a proxy we may not know our own scheme."""

    page_size = 50
    page_size_query_param = None
    max_page_size = None
    ordering = ("-requested_at", "-id")

    def decode_cursor(self, request: Request) -> Cursor | None:
        try:
            cursor = super().decode_cursor(request)
            if cursor is not None and cursor.position is not None:
                # In UTC, because PostgreSQL does not take each offset that Python does.
                position: Any = datetime.fromisoformat(str(cursor.position)).astimezone(UTC)
                cursor = cursor._replace(position=position.isoformat())
        except (NotFound, ValueError, OverflowError):
            message = "Not one of ours: follow the links `next` and `previous`."
            raise ValidationError({"cursor": [message]}) from None
        return cursor

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        link = {"type": "string", "nullable": True}
        page = {"next": link, "previous": link, "results": schema}
        return {"type": "object", "required": list(page), "properties": page}

    def get_next_link(self) -> str | None:
        return _path(super().get_next_link())

    def get_previous_link(self) -> str | None:
        return _path(super().get_previous_link())


def _path(url: str | None) -> str | None:
    if url is None:
        return None
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"


def _refuse(constant: str) -> None:
    raise ValueError(constant)
