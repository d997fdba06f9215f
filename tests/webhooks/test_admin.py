"""Deliveries in the admin can be read, and no more than that."""

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from webhooks.models import Delivery

pytestmark = pytest.mark.django_db


@pytest.fixture
def root(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("root"))
    return client


@pytest.fixture
def delivery() -> Delivery:
    return Delivery.objects.create(
        delivery_id="some-id", event="push", ref="refs/heads/<b>", outcome="ignored"
    )


def address(page: str, *arguments: object) -> str:
    return reverse(f"admin:github_webhooks_delivery_{page}", args=arguments)


def test_the_list_shows_what_came(root: Client, delivery: Delivery) -> None:
    page = root.get(address("changelist"), {"q": "some-id"}).content.decode()
    assert "refs/heads/&lt;b&gt;" in page


def test_one_delivery_is_shown_without_a_form(root: Client, delivery: Delivery) -> None:
    page = root.get(address("change", delivery.pk)).content.decode()
    assert "some-id" in page
    assert 'name="_save"' not in page


def test_nothing_can_be_added_changed_or_deleted(root: Client, delivery: Delivery) -> None:
    for url in (
        address("add"),
        address("change", delivery.pk),
        address("delete", delivery.pk),
    ):
        assert root.post(url, {"event": "x", "post": "yes"}).status_code == 403
    delete = {"action": "delete_selected", "_selected_action": delivery.pk, "post": "yes"}
    root.post(address("changelist"), delete)
    assert Delivery.objects.get().event == "push"
