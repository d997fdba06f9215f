"""Signals as something to wait for."""

import os
import select
import signal
from collections.abc import Iterator

import pytest

from admin_management.serve.signals import CAUGHT, STOPS, Signals


@pytest.fixture
def signals() -> Iterator[Signals]:
    before = {number: signal.getsignal(number) for number in (*CAUGHT, *STOPS)}
    yield Signals()
    signal.set_wakeup_fd(-1)
    for number, handler in before.items():
        signal.signal(number, handler)


def test_are_kept_in_their_order_until_they_are_taken(signals: Signals) -> None:
    for number in (signal.SIGUSR1, signal.SIGHUP, signal.SIGHUP):
        signal.raise_signal(number)
    assert select.select([signals], [], [], 0)[0] == [signals]
    assert signals.take() == [signal.SIGUSR1, signal.SIGHUP, signal.SIGHUP]
    assert signals.take() == []


def test_that_stop_end_the_process_until_it_catches_them(signals: Signals) -> None:
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    signals.catch_stops()
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGINT)
    assert sorted(signals.take()) == [signal.SIGINT, signal.SIGTERM]
