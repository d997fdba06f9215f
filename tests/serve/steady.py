"""Visitors: one request after the other at a steady rate, each on a new connection."""

import asyncio
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

LOST_AFTER = 30.0
"""Seconds that a visitor waits for an answer."""

PATIENCE = 120.0
"""Seconds until a test gives up."""

MOST_AT_ONCE = 100
"""Visitors who wait for an answer: more would not be a steady rate but a flood, in which a machine
that is busy drowns."""


@dataclass(frozen=True, slots=True)
class Answer:
    """``begun`` and ``seconds`` are in seconds, the first since the first request of all."""

    begun: float
    seconds: float
    status: int
    body: str
    error: str = ""

    @property
    def is_lost(self) -> bool:
        return self.status == 0


class Visitors:
    """Ask in the background while the block runs, at most ``at_most`` times."""

    def __init__(
        self, port: int, *, rate: float = 50, at_most: int = 3000, path: str = "/"
    ) -> None:
        self._port = port
        self._pause = 1 / rate
        self._at_most = at_most
        self._path = path
        self._stopped = threading.Event()
        self._counted = threading.Condition()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._visit()), daemon=True)
        self.answers: list[Answer] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopped.set()
        self._thread.join(2 * PATIENCE)
        assert not self._thread.is_alive(), "some requests do not end"

    def wait_for(self, count: int) -> None:
        """Until so many requests were answered or lost."""
        with self._counted:
            limit = PATIENCE + count * self._pause
            assert self._counted.wait_for(lambda: len(self.answers) >= count, limit)

    def wait_for_more(self, count: int) -> None:
        self.wait_for(len(self.answers) + count)

    @property
    def lost(self) -> list[Answer]:
        return [answer for answer in self.answers if answer.is_lost]

    @property
    def bodies(self) -> set[str]:
        """The different answers. Whatever is not a 200 is among them as its status."""
        return {
            answer.body if answer.status == 200 else f"{answer.status} {answer.error}"
            for answer in self.answers
        }

    async def _visit(self) -> None:
        began = time.monotonic()
        places = asyncio.Semaphore(MOST_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            for number in range(self._at_most):
                # By the clock and not after each other, or a slow answer would spare the next.
                delay = began + number * self._pause - time.monotonic()
                await asyncio.sleep(max(0.0, delay))
                await places.acquire()
                if self._stopped.is_set():
                    return
                task = group.create_task(self._ask(began))
                task.add_done_callback(lambda _: places.release())

    async def _ask(self, began: float) -> None:
        begun = time.monotonic()
        status, body, error = 0, "", ""
        try:
            async with asyncio.timeout(LOST_AFTER):
                status, body = await self._get()
        except (OSError, ValueError) as raised:
            error = f"{type(raised).__name__} {raised}"
        ended = time.monotonic()
        with self._counted:
            self.answers.append(Answer(begun - began, ended - begun, status, body, error))
            self._counted.notify_all()

    async def _get(self) -> tuple[int, str]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            request = f"GET {self._path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            writer.write(request.encode())
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            length = re.search(rb"(?i)^content-length: (\d+)", head, re.MULTILINE)
            if length is None or len(body) != int(length[1]):
                raise ValueError(f"only a part of an answer: {head + body!r}")
            return int(head.split()[1]), body.decode()
        finally:
            writer.close()


def in_background(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread
