"""GitHub, as the site hears it."""

import uuid
from typing import Any, Protocol

import pytest
from django.test import Client

from webhooks import views

from .payloads import JSON, as_json, signature


class Deliver(Protocol):
    """Sends one delivery; headers that are None are left out."""

    def __call__(
        self,
        payload: object,
        *,
        event: str = "push",
        body: bytes | None = None,
        content_type: str = JSON,
        **headers: str | None,
    ) -> Any: ...


@pytest.fixture
def deliver(client: Client) -> Deliver:
    """Signed right, with a delivery id of its own, unless the test says otherwise."""

    def send(
        payload: object,
        *,
        event: str = "push",
        body: bytes | None = None,
        content_type: str = JSON,
        **headers: str | None,
    ) -> Any:
        data = as_json(payload) if body is None else body
        sent: dict[str, str | None] = {
            "X-GitHub-Event": event,
            "X-GitHub-Delivery": str(uuid.uuid4()),
            "X-Hub-Signature-256": signature(data),
        }
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        return client.generic(
            "POST",
            "/webhooks/github/",
            data,
            content_type=content_type,
            headers={name: value for name, value in sent.items() if value is not None},
        )

    return send


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """How often runs were to be settled; the launcher itself is tested beside it."""
    calls: list[bool] = []
    monkeypatch.setattr(views, "settle", lambda: calls.append(True))
    return calls
