"""What the API takes: every wrong value is named, nothing is guessed."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from hypothesis import given
from hypothesis import strategies as st

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


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
WISHES = ("force", "accept_rewritten", "override_hold")
BODIES = st.fixed_dictionaries(
    {}, optional={"reason": st.text(), **dict.fromkeys(WISHES, st.booleans())}
)
NAMES = st.sampled_from([*WISHES, "reason", "forse"])


@given(BODIES, st.dictionaries(NAMES, st.sampled_from(["true", "yes", 1, 0]) | JSON, max_size=1))
def test_a_body_is_taken_as_it_was_meant_or_its_wrong_fields_are_named(
    body: dict[str, Any], wild: dict[str, Any]
) -> None:
    sent = {**body, **wild}
    wanted = UpdateRequestSerializer(data=sent)
    if not wanted.is_valid():
        assert {*wanted.errors} <= {*sent, "reason"}
        return
    meant = wanted.validated_data
    assert {*sent} <= {*meant}
    assert all(meant[name] is sent.get(name, False) for name in WISHES)
    assert {type(meant[name]) for name in WISHES} == {bool}
    assert meant["reason"] == sent.get("reason", "").strip()
    assert len(meant["reason"]) <= 500
    assert "\0" not in meant["reason"]
    assert meant["reason"] or not meant["override_hold"]


@given(st.text() | st.integers().map(str))
def test_an_offset_is_a_number_in_reach_or_named(text: str) -> None:
    query = LogQuerySerializer(data={"offset": text})
    if query.is_valid():
        assert 0 <= query.validated_data["offset"] < 2**53
    else:
        assert list(query.errors) == ["offset"]
