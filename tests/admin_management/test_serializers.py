"""What the API takes: every wrong value is named, nothing is guessed."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import User

from admin_management.models import Run
from admin_management.serializers import (
    LogQuerySerializer,
    RunFilterSerializer,
    RunSerializer,
    UpdateRequestSerializer,
)


def test_everything_in_a_request_is_optional() -> None:
    wanted = UpdateRequestSerializer(data={})
    assert wanted.is_valid()
    assert wanted.validated_data == {
        "reason": "",
        "force": False,
        "accept_rewritten": False,
        "override_hold": False,
    }


def test_a_request_carries_a_reason_and_wishes() -> None:
    data = {"reason": " new logo ", "force": True, "accept_rewritten": True, "override_hold": True}
    wanted = UpdateRequestSerializer(data=data)
    assert wanted.is_valid()
    assert wanted.validated_data == {**data, "reason": "new logo"}


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"reason": 5}, "reason"),
        ({"reason": None}, "reason"),
        ({"reason": ["a"]}, "reason"),
        ({"reason": "x" * 501}, "reason"),
        ({"reason": "a\x00b"}, "reason"),
        ({"force": "true"}, "force"),
        ({"force": 1}, "force"),
        ({"force": None}, "force"),
        ({"force": []}, "force"),
        ({"forse": True}, "forse"),
    ],
)
def test_a_wrong_field_is_named(body: dict[str, Any], named: str) -> None:
    wanted = UpdateRequestSerializer(data=body)
    assert not wanted.is_valid()
    assert list(wanted.errors) == [named]


def test_the_unknown_is_told_what_is_known() -> None:
    wanted = UpdateRequestSerializer(data={"forse": True})
    assert not wanted.is_valid()
    assert wanted.errors == {
        "forse": ["Unknown. Known are: accept_rewritten, force, override_hold, reason."]
    }


@pytest.mark.parametrize(
    ("since", "meant"),
    [
        ("2026-11-24T08:00:00Z", datetime(2026, 11, 24, 8, tzinfo=UTC)),
        ("2026-11-24T08:00:00+02:00", datetime(2026, 11, 24, 6, tzinfo=UTC)),
        ("2026-11-24T08:00:00", datetime(2026, 11, 24, 8, tzinfo=UTC)),
    ],
)
def test_since_is_a_time(since: str, meant: datetime) -> None:
    query = RunFilterSerializer(data={"since": since})
    assert query.is_valid()
    assert query.validated_data["since"] == meant


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({"since": "yesterday"}, "since"),
        ({"since": "2026-13-01T00:00:00Z"}, "since"),
        ({"since": "0001-01-01T00:00:00+14:00"}, "since"),
        ({"status": "done"}, "status"),
        ({"trigger": "cron"}, "trigger"),
        ({"page": "2"}, "page"),
    ],
)
def test_a_wrong_filter_is_named(query: dict[str, str], named: str) -> None:
    checked = RunFilterSerializer(data=query)
    assert not checked.is_valid()
    assert list(checked.errors) == [named]


@pytest.mark.parametrize("offset", ["-1", "x", "1.5", "9" * 2000, str(2**60)])
def test_a_wrong_offset_is_named(offset: str) -> None:
    query = LogQuerySerializer(data={"offset": offset})
    assert not query.is_valid()
    assert list(query.errors) == ["offset"]


@pytest.mark.django_db
def test_a_run_is_told_with_paths_and_utc(alice: User) -> None:
    requested_at = datetime(2026, 11, 24, 8, tzinfo=UTC)
    run = Run.objects.create(node="here", trigger="api", actor=alice, actor_name="alice")
    run.requested_at = requested_at
    told = RunSerializer(run).data
    assert told["url"] == f"/admin/update/{run.pk}/"
    assert told["log_url"] == f"/admin/update/{run.pk}/log/"
    assert told["dashboard_url"] == f"/admin/dashboard/{run.pk}/"
    assert told["requested_at"] == "2026-11-24T08:00:00Z"
    assert (told["actor"], told["status"], told["duration"]) == ("alice", "queued", None)
