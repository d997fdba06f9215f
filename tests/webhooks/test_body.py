"""Bodies are read within bounds and handed out only when they are verified."""

import tempfile
from io import BytesIO

import pytest

from webhooks.body import CHUNK_SIZE, IN_MEMORY, MAX_SIZE, read_verified
from webhooks.exceptions import TooLargeError, UnreadableError, UnverifiedError
from webhooks.github import Verifier, read_signature

from .payloads import SECRET, signature


class Endless:
    """A sender that does not stop; counts what was taken from it."""

    def __init__(self) -> None:
        self.taken = 0

    def read(self, size: int, /) -> bytes:
        self.taken += size
        return b"x" * size


class Broken:
    """A sender that goes away in the middle; each server has its own class for that."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.pieces = [b"{"]

    def read(self, size: int, /) -> bytes:
        if self.pieces:
            return self.pieces.pop()
        raise self.error


def verifier_of(body: bytes) -> Verifier:
    return Verifier(signature=read_signature(signature(body)), secrets=[SECRET])


@pytest.mark.parametrize(
    "size", [0, 1, CHUNK_SIZE - 1, CHUNK_SIZE, CHUNK_SIZE + 1, IN_MEMORY, IN_MEMORY + 1]
)
def test_a_verified_body_comes_back_whole(size: int) -> None:
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    for declared in (0, size):
        assert read_verified(BytesIO(body), verifier_of(body), declared=declared) == (body, 0)


def test_exactly_25_mb_are_read_and_one_byte_more_is_not() -> None:
    body = b"x" * MAX_SIZE
    assert len(read_verified(BytesIO(body), verifier_of(body))[0]) == MAX_SIZE
    body += b"x"
    with pytest.raises(TooLargeError):
        read_verified(BytesIO(body), verifier_of(body))


def test_reading_stops_soon_after_the_limit() -> None:
    sender = Endless()
    with pytest.raises(TooLargeError):
        read_verified(sender, verifier_of(b""))
    assert sender.taken <= MAX_SIZE + CHUNK_SIZE


def test_a_body_that_was_not_signed_is_not_handed_out() -> None:
    with pytest.raises(UnverifiedError):
        read_verified(BytesIO(b"other"), verifier_of(b"signed"))


@pytest.mark.parametrize("error", [OSError("reset"), ValueError("a server's own")])
def test_a_body_that_breaks_off_is_unreadable(error: Exception) -> None:
    with pytest.raises(UnreadableError):
        read_verified(Broken(error), verifier_of(b"{"))


def test_reading_stops_soon_after_what_was_declared() -> None:
    """Where the server does not end the stream there, as servers of ASGI may not."""
    sender = Endless()
    with pytest.raises(TooLargeError):
        read_verified(sender, verifier_of(b""), declared=10)
    assert sender.taken <= CHUNK_SIZE


@pytest.mark.parametrize("is_declared", [True, False])
def test_what_is_long_waits_on_disk(is_declared: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    rolled: list[bool] = []

    class Spy(tempfile.SpooledTemporaryFile[bytes]):
        def rollover(self) -> None:
            rolled.append(True)
            super().rollover()

    monkeypatch.setattr("webhooks.body.SpooledTemporaryFile", Spy)
    for size, expected in ((IN_MEMORY, []), (IN_MEMORY + 1, [True])):
        body = b"x" * size
        read_verified(BytesIO(body), verifier_of(body), declared=size if is_declared else 0)
        assert rolled == expected
