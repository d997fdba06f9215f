"""A step's output on its way into the journal: whole lines, cleaned, redacted, and capped.

The first and the last 256 KB of a step are kept; what lies between is counted and said. The
SHA-256 and the count are of all bytes as they came.
"""

import hashlib
import re
from collections.abc import Callable

from .redact import LONGEST_KEY, REDACTED, PrivateKeys, Redactor
from .terminal import harmless

KEPT = 256 * 1024
"""Bytes kept of the beginning, and again of the end."""

_LINE_END = re.compile(rb"\r\n|\n|\r(?!\n)")


class OutputSink:
    """Takes the bytes of one step in any pieces and passes whole lines on, a few at a time."""

    def __init__(self, emit: Callable[[str], None], redactor: Redactor) -> None:
        self._emit = emit
        self._redactor = redactor
        self._keys = PrivateKeys()
        self._digest = hashlib.sha256()
        self._pending = b""
        self._room = KEPT
        self._tail: bytearray | None = None
        self.total = 0

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def receive(self, data: bytes) -> None:
        self._digest.update(data)
        self.total += len(data)
        if self._tail is None:
            self._receive_head(data)
        else:
            self._receive_tail(data)

    def close(self) -> None:
        """Pass on what is left: an unfinished line, or the gap and the end."""
        if self._tail is not None:
            self._close_tail(self._tail)
        elif self._pending:
            self._pass_on([self._pending.removesuffix(b"\r")])
        self._pending, self._tail = b"", None

    def _receive_head(self, data: bytes) -> None:
        data = self._pending + data
        lines = []
        start = 0
        for end in _LINE_END.finditer(data):
            if end.group() == b"\r" and end.end() == len(data):
                break  # the \n of this \r may be in the next piece
            if end.end() - start > self._room:
                break
            lines.append(data[start : end.start()])
            self._room -= end.end() - start
            start = end.end()
        self._pass_on(lines)
        self._pending = data[start:]
        if len(self._pending) > self._room:
            self._tail = bytearray()
            self._receive_tail(b"")

    def _receive_tail(self, data: bytes) -> None:
        assert self._tail is not None  # noqa: S101 - for the type checker
        self._tail += self._pending + data
        self._pending = b""
        if len(self._tail) > 4 * KEPT:
            del self._tail[: len(self._tail) - 2 * KEPT]

    def _close_tail(self, tail: bytearray) -> None:
        shown = bytes(tail[-KEPT:])
        head = KEPT - self._room
        if len(shown) < self.total - head:
            # The first line is cut: half a secret would not be recognised.
            first_end = _LINE_END.search(shown)
            shown = shown[first_end.end() :] if first_end else b""
        gap = self.total - head - len(shown)
        if gap:
            self._emit(f"[… {gap:,} bytes left out …]\n")
        lines = _LINE_END.split(shown.rstrip(b"\r\n")) if shown else []
        if gap:
            self._keys.skip_to(map(_readable, lines[:LONGEST_KEY]))
        self._pass_on(lines)

    def _pass_on(self, lines: list[bytes]) -> None:
        # Together: an entry of the journal for each would be forty times the size of short lines.
        if lines:
            self._emit("".join(self._cleaned(line) + "\n" for line in lines))

    def _cleaned(self, line: bytes) -> str:
        text = _readable(line)
        if self._keys.hides(text):
            return REDACTED
        return self._redactor.output(text)


def _readable(line: bytes) -> str:
    return harmless(line.decode("utf-8", errors="replace"))
