"""Refusals are counted at once and written a moment later; nobody gains by that moment."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from threading import Timer
from typing import Any

import pytest
from django.db import connection

from demo.tools import ROOT
from webhooks import tally
from webhooks.exceptions import Reason
from webhooks.models import PATIENCE, RefusalQuerySet, Refused
from webhooks.tally import TALLY, Tally

from .test_refusals import STRANGER, counted, refuse, send


@pytest.fixture
def not_written_yet(db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(Tally, "_write_later", lambda self: None)
    yield
    TALLY.write()


@pytest.mark.django_db(transaction=True)
def test_what_came_meanwhile_is_written_by_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    started: list[Timer] = []
    its_time = threading.Event()

    class Watched(Timer):
        def start(self) -> None:
            started.append(self)
            super().start()

        def run(self) -> None:
            its_time.wait()
            self.function()

    monkeypatch.setattr(tally, "Timer", Watched)
    refuse(STRANGER, 3)
    refuse("198.51.100.9", 2)
    assert counted() == {}
    (timer,) = started
    its_time.set()
    timer.join()
    assert counted() == {(STRANGER, "signature"): 3, ("198.51.100.9", "signature"): 2}
    refuse(STRANGER, 1)
    started[1].join()
    assert counted()[STRANGER, "signature"] == 4


@pytest.mark.django_db(transaction=True)
def test_a_process_that_ends_waits_until_they_are_written() -> None:
    program = (
        "import sys, django; from tests import settings;"
        "settings.DATABASES['default']['NAME'] = sys.argv[1]; django.setup();"
        "from webhooks.exceptions import Reason; from webhooks.tally import TALLY;"
        f"TALLY.count({STRANGER!r}, Reason.SIGNATURE)"
    )
    environ = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings"}
    name = str(connection.settings_dict["NAME"])
    subprocess.run((sys.executable, "-c", program, name), check=True, cwd=ROOT, env=environ)
    assert counted() == {(STRANGER, "signature"): 1}


def test_a_sender_must_wait_for_what_is_not_written_yet(not_written_yet: None) -> None:
    for _ in range(PATIENCE):
        assert send(STRANGER, secret="not our secret at all").status_code == 403
    assert counted() == {}
    assert send(STRANGER).status_code == 429
    assert send("192.0.2.8").status_code == 202


def test_what_is_written_and_what_is_not_is_held_against_a_sender_once(
    not_written_yet: None,
) -> None:
    refuse(STRANGER, PATIENCE // 2)
    TALLY.write()
    refuse(STRANGER, PATIENCE // 2 - 1)
    assert not TALLY.too_many_from(STRANGER)
    refuse(STRANGER, 1)
    assert TALLY.too_many_from(STRANGER)


def test_a_malformed_delivery_is_not_held_against_a_sender(not_written_yet: None) -> None:
    refuse(STRANGER, PATIENCE, Reason.MALFORMED)
    assert not TALLY.too_many_from(STRANGER)


@pytest.mark.django_db
def test_where_there_is_no_thread_to_be_had_it_is_written_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.undo()
    monkeypatch.setattr(threading.Thread, "start", fail)
    refuse(STRANGER, 1)
    assert counted() == {(STRANGER, "signature"): 1}


def test_a_flood_is_one_update(
    not_written_yet: None, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    now = time.time()
    monkeypatch.setattr("webhooks.tally.time.time", lambda: now)
    refuse(STRANGER, 1)
    TALLY.write()
    refuse(STRANGER, 500)
    with django_assert_num_queries(3):  # a savepoint, the update, the savepoint's release
        TALLY.write()
    assert counted() == {(STRANGER, "signature"): 501}


def test_many_senders_at_once_are_counted_on_nobodys_account(
    not_written_yet: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each would be a row in a transaction that keeps the site from writing."""
    now = time.time()
    monkeypatch.setattr("webhooks.tally.time.time", lambda: now)
    monkeypatch.setattr(tally, "MOST_AT_ONCE", 3)
    for each in range(5):
        refuse(f"198.51.100.{each}", 2)
    TALLY.write()
    assert counted() == {("", "signature"): 4} | {
        (f"198.51.100.{each}", "signature"): 2 for each in range(3)
    }


@pytest.mark.django_db
def test_while_one_writes_nobody_else_does_and_nothing_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    writers: list[str] = []
    monkeypatch.setattr(Tally, "_write_later", lambda _: writers.append("one more"))
    real = RefusalQuerySet.add

    def add(self: RefusalQuerySet, counts: Mapping[Refused, int]) -> None:
        if len(writers) == 1:
            refuse(STRANGER, PATIENCE // 2)  # while the database keeps the writer waiting
            assert len(writers) == 1
            assert TALLY.too_many_from(STRANGER)
        real(self, counts)

    monkeypatch.setattr(RefusalQuerySet, "add", add)
    refuse(STRANGER, PATIENCE // 2)
    TALLY.write()
    assert len(writers) == 2
    TALLY.write()
    assert len(writers) == 2
    assert counted() == {(STRANGER, "signature"): PATIENCE // 2 * 2}
