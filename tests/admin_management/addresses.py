"""All addresses of ours, those that the webhook's panel adds to the dashboard included."""

from collections.abc import Iterator
from typing import Any

from django.urls import URLPattern, URLResolver, reverse

from admin_management import urls

UNKNOWN = "00000000-0000-4000-8000-000000000000"


def _flat(patterns: list[Any]) -> Iterator[URLPattern]:
    for each in patterns:
        if isinstance(each, URLResolver):
            yield from _flat(each.url_patterns)
        else:
            yield each


ROUTES = {str(each.name): str(each.pattern) for each in _flat(urls.urlpatterns)}


def address(name: str, run: object = UNKNOWN) -> str:
    arguments: list[object] = []
    if "<uuid:pk>" in ROUTES[name]:
        arguments = [run]
    if "<slug:fingerprint>" in ROUTES[name]:
        arguments = ["0123456789ab"]
    return reverse(f"admin_management:{name}", args=arguments)
