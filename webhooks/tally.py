"""Refusals are counted in memory at once and in the database a moment later, however many come."""

import logging
import time
from collections import Counter
from datetime import UTC, datetime
from threading import Lock, Timer

from django.db import Error as DatabaseFailure
from django.db import connections

from .addresses import is_near, sender_of
from .exceptions import Reason
from .models import PATIENCE, STRANGERS, Refusal, newest_deliveries_from

logger = logging.getLogger("webhooks")

WRITTEN_AFTER = 1.0
"""Seconds: a flood costs one transaction in that time, and not one for each request."""

MOST_AT_ONCE = 100
"""Counts in that transaction, which keeps others from writing. More are on nobody's account."""

Counted = tuple[str, Reason, int]
"""What is counted: the sender, why it was refused, and in which minute since 1970."""


class Tally:
    """The refusals of this process that are not in the database yet. For all its threads.

    A process that is killed loses those of the last second; one that ends waits until they are
    written.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._counts: Counter[Counted] = Counter()
        self._being_written: Counter[Counted] = Counter()
        # One writer at a time, however long the database keeps it waiting.
        self._has_writer = False

    def count(self, address: str | None, reason: Reason) -> None:
        """Count one refusal of now. Never raises."""
        minute = int(time.time()) // 60
        refused = (sender_of(address), reason, minute)
        with self._lock:
            if len(self._counts) >= MOST_AT_ONCE and refused not in self._counts:
                refused = ("", reason, minute)
            self._counts[refused] += 1
            had_writer, self._has_writer = self._has_writer, True
        if not had_writer:
            self._write_later()

    def too_many_from(self, address: str | None) -> bool:
        """Whether this sender must wait. Never one whose address others share with it.

        That is a proxy's, or one that one of the newest deliveries came from: anybody can have
        GitHub send us deliveries that are signed with a secret of their own. Never raises.
        """
        if is_near(address):
            return False
        sender = sender_of(address)
        try:
            refused = self._held_against(sender) + Refusal.objects.held_against(sender)
            return refused >= PATIENCE and not newest_deliveries_from.exists(sender)
        except DatabaseFailure:
            logger.exception("Refusals could not be looked up")
            return False

    def write(self) -> None:
        """Bring what was counted into the database. Never raises."""
        with self._lock:
            counts = self._being_written = self._counts
            self._counts = Counter()
        try:
            Refusal.objects.add(
                {
                    (sender, reason, datetime.fromtimestamp(minute * 60, UTC)): count
                    for (sender, reason, minute), count in counts.items()
                }
            )
        except Exception:  # in a thread nobody else would hear of it
            logger.exception("%d refusals could not be counted", counts.total())
        with self._lock:
            self._being_written = Counter()
            has_more = self._has_writer = bool(self._counts)
        if has_more:
            self._write_later()

    def _held_against(self, sender: str) -> int:
        with self._lock:
            counts = self._counts + self._being_written
        return sum(counts[each] for each in counts if each[0] == sender and each[1] in STRANGERS)

    def _write_later(self) -> None:
        try:
            Timer(WRITTEN_AFTER, self._write_and_close).start()
        except RuntimeError:  # the system gives no thread, or this process is ending
            self.write()

    def _write_and_close(self) -> None:
        self.write()
        # Connections belong to threads, and this one ends.
        connections.close_all()


TALLY = Tally()
