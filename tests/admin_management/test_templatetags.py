"""How the dashboard writes times and revisions."""

from datetime import UTC, datetime, timedelta
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


def test_of_a_line_without_an_end_the_last_is_shown() -> None:
    assert tags.tail("x" * (tags.SHOWN + 5) + "\n") == "x" * (tags.SHOWN - 1) + "\n"


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


SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86_400}


@given(st.floats(0, 1e2) | st.floats(0, 1e4) | st.floats(0, 1e5) | st.floats(0, 1e9))
def test_a_duration_is_right_to_the_smallest_unit_that_is_written(seconds: float) -> None:
    words = tags.duration(seconds).split()
    written = sum(
        float(number) * SECONDS[unit] for number, unit in zip(words[::2], words[1::2], strict=True)
    )
    finest = 0.06 if seconds < 10 else SECONDS[words[-1]]
    assert abs(seconds - written) <= finest
    assert len(words) <= 4


@given(st.timedeltas(timedelta(days=-1), timedelta(days=30)))
def test_an_age_is_never_told_too_high(age: timedelta) -> None:
    with mock.patch("django.utils.timezone.now", return_value=NOW):
        number, _, unit = tags.ago(NOW - age).partition(" ")
    told = {"min": "minutes", "h": "hours", "day": "days"}.get(unit.split()[0].rstrip("s"))
    if told is None:
        assert number == "just"
        assert age < timedelta(minutes=1)
    else:
        assert timedelta(0) <= age - timedelta(**{told: int(number)}) < timedelta(**{told: 1})


@given(st.lists(st.text("ab ", max_size=12), max_size=12), st.booleans())
def test_what_is_shown_is_the_end_of_the_output_and_never_nothing_of_it(
    lines: list[str], is_whole: bool
) -> None:
    output = "\n".join(lines) + ("\n" if is_whole else "")
    with mock.patch.object(tags, "SHOWN", 10):
        shown = tags.tail(output)
    assert output.endswith(shown)
    assert len(shown) <= 10
    assert bool(shown) == bool(output)
