"""A log in pieces."""

from unittest import mock

from hypothesis import given
from hypothesis import strategies as st

from admin_management import asking
from admin_management.asking import LogPiece, log_piece
from admin_management.models import Run, StepRun


def pieces(run: Run, steps: list[StepRun], size: int, most: int) -> list[LogPiece]:
    """What a reader gets who asks ``next`` until it is null or brings nothing new."""
    told: list[LogPiece] = []
    offset = 0
    with mock.patch.object(asking, "LARGEST_PIECE", size):
        while len(told) <= most:
            told.append(log_piece(run, steps, offset))
            if told[-1].next is None or not told[-1].output:
                break
            offset = int(told[-1].next.rpartition("?offset=")[2])
    return told


@given(st.lists(st.text(max_size=20), max_size=3), st.integers(1, 30), st.booleans())
def test_who_follows_the_pieces_has_the_whole_log_once(
    outputs: list[str], size: int, is_finished: bool
) -> None:
    run = Run(status="succeeded" if is_finished else "running")
    steps = [StepRun(name="fetch", status="succeeded", output=each) for each in outputs]
    whole = log_piece(run, steps, 0).output
    told = pieces(run, steps, size, most=len(whole) + 1)
    assert "".join(each.output for each in told) == whole
    assert all(len(each.output) <= size for each in told)
    assert (told[-1].next is None) == is_finished


@given(st.integers(0, 2**53 - 1))
def test_an_offset_beyond_the_end_waits_there(offset: int) -> None:
    run = Run(status="running")
    piece = log_piece(run, [], offset)
    assert piece.output == ""
    assert piece.next is not None
    assert piece.next.endswith(f"?offset={offset}")
