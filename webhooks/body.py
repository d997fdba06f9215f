"""Read a request's body within bounds, and let nobody have it before it is verified."""

from io import BytesIO
from tempfile import SpooledTemporaryFile
from typing import IO, Protocol

from .exceptions import TooLargeError, UnreadableError
from .github import Verifier

MAX_SIZE = 25 * 1024 * 1024
"""GitHub never sends more: https://docs.github.com/en/webhooks/webhook-events-and-payloads."""

CHUNK_SIZE = 64 * 1024
IN_MEMORY = 256 * 1024
"""What is longer waits on disk for its verdict, so that strangers cannot fill the memory.

What the server reads ahead comes on top: gunicorn 27 up to 1 MB of each request, held thrice, and
glibc keeps as much for each of its threads unless MALLOC_ARENA_MAX is 1 (mallopt(3)).
"""


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def read_verified(stream: Readable, verifier: Verifier, *, declared: int = 0) -> tuple[bytes, int]:
    """The whole body, and which secret it was signed with; raises UnverifiedError, TooLargeError
    or UnreadableError instead. ``declared`` is its length if it is known; 0 if it is not."""
    size, longest = 0, declared or MAX_SIZE
    with _spool(declared) as spool:
        while chunk := _read(stream):
            size += len(chunk)
            # Not every server ends a stream at what was declared.
            if size > longest:
                raise TooLargeError
            verifier.update(chunk)
            spool.write(chunk)
        signed_with = verifier.verify()
        spool.seek(0)
        return spool.read(), signed_with


def _spool(declared: int) -> IO[bytes]:
    # A spooled file would do for all of them, but takes longer.
    is_small = 0 < declared <= IN_MEMORY
    return BytesIO() if is_small else SpooledTemporaryFile(max_size=IN_MEMORY)


def _read(stream: Readable) -> bytes:
    try:
        return stream.read(CHUNK_SIZE)
    except Exception:  # each server has its own classes for a broken body
        raise UnreadableError from None
