"""The status as a person reads it on a terminal."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin_management.summary import summary

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)

COMMIT = {
    "revision": "1234567890" * 4,
    "subject": "A new logo",
    "author": "Ada",
    "committed_at": NOW - timedelta(hours=3),
}
RUN = {
    "status": "succeeded",
    "trigger": "webhook",
    "actor": "GitHub: octocat",
    "requested_at": NOW.isoformat(),
    "message": "Updated: 1234567 A new logo",
}
STATUS: dict[str, Any] = {
    "fetched": True,
    "checkout": "/srv/site",
    "branch": "master",
    "live": COMMIT,
    "remote": {"name": "origin", "branch": "master", "ahead": 0, "behind": 2},
    "pending": [COMMIT, {**COMMIT, "subject": "A newer logo"}],
    "dirty_files": [],
    "pm2": {
        "name": "site",
        "status": "online",
        "uptime": 75,
        "restarts": 0,
        "memory": 27_400_000,
    },
    "hold": None,
    "current_run": None,
    "waiting_run": None,
    "last_run": RUN,
    "versions": {"admin_management": "0.1.0", "pm2": {"error": "pm2 was not found."}},
}


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django.utils.timezone.now", lambda: NOW)


def test_tells_all_there_is_in_aligned_lines() -> None:
    assert summary(STATUS).splitlines() == [
        "checkout  /srv/site, on master",
        "live      1234567 A new logo (Ada, 3 h ago)",
        "remote    origin/master: 2 not live yet, 0 only here",
        "pending   1234567 A new logo (Ada, 3 h ago)",
        "          1234567 A newer logo (Ada, 3 h ago)",
        "process   site online, up 1 min 15 s, 0 restarts, 27.4 MB",
        "last      succeeded, asked for just now by GitHub: octocat (webhook): "
        "Updated: 1234567 A new logo",
        "versions  admin management 0.1.0, pm2: pm2 was not found.",
    ]


def test_says_how_old_the_knowledge_of_the_remote_is() -> None:
    assert "only here, as of the last fetch\n" in summary({**STATUS, "fetched": False})
    failed = {**STATUS, "fetched": {"error": "git fetch: no route"}}
    assert "only here, as of the last fetch: git fetch: no route\n" in summary(failed)


def test_lists_what_stands_in_the_way_and_what_goes_on() -> None:
    stopped = {**STATUS["pm2"], "status": "stopped", "uptime": None}
    status = {
        **STATUS,
        "dirty_files": ["a.py", "b.py"],
        "pm2": stopped,
        "current_run": {**RUN, "actor": "", "status": "running", "message": ""},
    }
    told = summary(status)
    assert "changed   a.py\n          b.py\n" in told
    assert "process   site stopped, 0 restarts" in told
    assert "current   running, asked for just now by webhook\n" in told


def test_a_subject_does_not_clear_the_screen() -> None:
    told = summary({**STATUS, "live": {**COMMIT, "subject": "\x1b[2J\nlive  good"}})
    assert "live      1234567 \ufffd[2J live  good (Ada, 3 h ago)\n" in told


@pytest.mark.parametrize(
    "part", ["checkout", "branch", "live", "remote", "pending", "dirty_files", "pm2", "last_run"]
)
def test_a_part_that_cannot_be_read_says_why(part: str) -> None:
    assert "It is gone." in summary({**STATUS, part: {"error": "It is gone."}})


@given(st.text(), st.text(), st.lists(st.text(), max_size=3))
def test_nothing_that_others_wrote_moves_a_cursor_or_begins_a_line(
    subject: str, reason: str, files: list[str]
) -> None:
    hold = {"actor": "alice", "reason": reason}
    status = {**STATUS, "live": {**COMMIT, "subject": subject}, "hold": hold, "dirty_files": files}
    told = summary(status).split("\n")
    assert all(line.isprintable() for line in told)
    assert len(told) == len(summary({**STATUS, "hold": {**hold, "reason": ""}}).split("\n")) + len(
        files
    )
