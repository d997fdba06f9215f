"""How the dashboard writes times and revisions."""

from datetime import UTC, datetime, timedelta

import pytest

from admin_management.runner.status import Status
from admin_management.templatetags import admin_management as tags

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (None, ""),
        (-0.1, "0.00 s"),
        (0.416, "0.42 s"),
        (7.26, "7.3 s"),
        (12.9, "12 s"),
        (72, "1 min 12 s"),
        (3 * 3600 + 5 * 60, "3 h 5 min"),
        (2 * 86_400 + 4 * 3600, "2 d 4 h"),
    ],
)
def test_durations(seconds: float | None, written: str) -> None:
    assert tags.duration(seconds) == written


@pytest.mark.parametrize(
    ("age", "written"),
    [
        (timedelta(seconds=-5), "just now"),
        (timedelta(seconds=59), "just now"),
        (timedelta(minutes=5), "5 min ago"),
        (timedelta(hours=3), "3 h ago"),
        (timedelta(days=1), "1 day ago"),
        (timedelta(days=12), "12 days ago"),
    ],
)
def test_ages(age: timedelta, written: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django.utils.timezone.now", lambda: NOW)
    assert tags.ago(NOW - age) == written


def test_from_a_month_on_the_date_is_written() -> None:
    assert tags.ago(datetime(2020, 2, 3, 12, tzinfo=UTC)) == "Feb. 3, 2020"


def test_every_status_has_a_sign() -> None:
    assert all(tags.icon(status) for status in Status)


def test_words() -> None:
    assert tags.words("rolled_back") == "rolled back"
    assert tags.short("a" * 40) == "aaaaaaa"


def test_the_end_of_an_output_begins_with_a_whole_line() -> None:
    output = "".join(f"line {number}\n" for number in range(10_000))
    assert tags.tail("short\n") == "short\n"
    assert tags.tail(output).startswith("line ")
    assert tags.tail(output).endswith("line 9999\n")
    assert len(tags.tail(output)) <= tags.SHOWN
