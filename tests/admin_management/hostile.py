"""The settings of a site whose REST_FRAMEWORK is as different as can be, and what it names."""

from typing import Any, NoReturn

from rest_framework.authentication import BaseAuthentication
from rest_framework.negotiation import BaseContentNegotiation

from tests.settings import *  # noqa: F403

REST_FRAMEWORK: dict[str, Any] = {  # type: ignore[no-redef]
    "DEFAULT_AUTHENTICATION_CLASSES": ["tests.admin_management.hostile.EverybodyIsAlice"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.AllowAny"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.FormParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.StaticHTMLRenderer"],
    "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.LimitOffsetPagination",
    "DEFAULT_FILTER_BACKENDS": ["rest_framework.filters.SearchFilter"],
    "DEFAULT_THROTTLE_CLASSES": ["rest_framework.throttling.AnonRateThrottle"],
    "DEFAULT_THROTTLE_RATES": {"anon": "1/day"},
    "DEFAULT_VERSIONING_CLASS": "rest_framework.versioning.AcceptHeaderVersioning",
    "ALLOWED_VERSIONS": ["7"],
    "DEFAULT_METADATA_CLASS": None,
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "tests.admin_management.hostile.Negotiation",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "tests.admin_management.hostile.refuse",
    "VIEW_NAME_FUNCTION": "tests.admin_management.hostile.refuse",
    "VIEW_DESCRIPTION_FUNCTION": "tests.admin_management.hostile.refuse",
    "UNAUTHENTICATED_USER": None,
    "DATETIME_FORMAT": "%d.%m.%Y",
    "DATETIME_INPUT_FORMATS": ["%d.%m.%Y"],
    "PAGE_SIZE": 1,
    "NON_FIELD_ERRORS_KEY": "problems",
    "URL_FORMAT_OVERRIDE": None,
    "URL_FIELD_NAME": "href",
    "FORMAT_SUFFIX_KWARG": "pk",
    "COERCE_BIGINT_TO_STRING": True,
    "STRICT_JSON": False,
    "UNICODE_JSON": False,
    "COMPACT_JSON": False,
}


class EverybodyIsAlice(BaseAuthentication):
    def authenticate(self, request: Any) -> Any:
        from django.contrib.auth.models import User

        return User(username="alice", is_staff=True), None


class Negotiation(BaseContentNegotiation):
    def select_parser(self, request: Any, parsers: Any) -> NoReturn:
        refuse()

    def select_renderer(self, request: Any, renderers: Any, format_suffix: Any = None) -> NoReturn:
        refuse()


def refuse(*arguments: object) -> NoReturn:
    raise AssertionError("A setting of the host was asked.")
