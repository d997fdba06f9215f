"""Output on its way into the journal."""

import hashlib
import re
import tracemalloc
from collections.abc import Iterable
from unittest.mock import patch

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from admin_management.runner import output
from admin_management.runner.output import KEPT, OutputSink
from admin_management.runner.redact import LONGEST_KEY, Redactor

GAP = re.compile(r"^\[… ([\d,]+) bytes left out …\]\n", re.MULTILINE)


def passed_on(pieces: Iterable[bytes], redactor: Redactor | None = None) -> list[str]:
    emitted: list[str] = []
    sink = OutputSink(emitted.append, redactor or Redactor([]))
    for piece in pieces:
        sink.receive(piece)
    sink.close()
    return emitted


def text_of(*pieces: bytes, redactor: Redactor | None = None) -> str:
    return "".join(passed_on(pieces, redactor))


def test_whole_lines_are_passed_on_as_they_come() -> None:
    emitted: list[str] = []
    sink = OutputSink(emitted.append, Redactor([]))
    sink.receive(b"first\nsecond\nthi")
    assert "".join(emitted) == "first\nsecond\n"
    sink.receive(b"rd\n")
    assert "".join(emitted) == "first\nsecond\nthird\n"


def test_an_unfinished_last_line_is_passed_on_at_the_end() -> None:
    assert text_of(b"no end") == "no end\n"
    assert text_of() == ""


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (b"a\r\nb\n", "a\nb\n"),
        (b"10%\r50%\r100%\n", "10%\n50%\n100%\n"),
        (b"100%\r", "100%\n"),
        (b"a\n\n\nb\n", "a\n\n\nb\n"),
        (b"\x1b[31;1mred\x1b[0m \x1b[2Kline\n", "red line\n"),
        (b"\x1b]0;a title\x07\x1b]8;;http://x\x1b\\link\n", "link\n"),
        (b"\x1b(B\x1b[mplain \x1b7\x1b8\x1b=\x1bMend\n", "plain end\n"),
        (b"a\tb\n", "a\tb\n"),
        (b"bell\x07 nul\x00 del\x7f\n", "bell� nul� del�\n"),
        ("\x9b31m and \x85\n".encode(), "�31m and �\n"),
        (b"caf\xc3\xa9 \xff\xfe\n", "café ��\n"),
        ("✓ snow ☃ \N{PILE OF POO}\n".encode(), "✓ snow ☃ \N{PILE OF POO}\n"),
    ],
)
def test_only_clean_text_is_passed_on(written: bytes, read: str) -> None:
    assert text_of(written) == read


def test_a_character_that_is_cut_in_two_is_whole_again() -> None:
    assert text_of(b"caf\xc3", b"\xa9\n") == "café\n"


def test_a_line_end_that_is_cut_in_two_is_one_line_end() -> None:
    assert text_of(b"a\r", b"\nb") == "a\nb\n"


def test_a_secret_that_comes_in_two_pieces_is_hidden() -> None:
    redactor = Redactor(["hunter2-hunter2"])
    assert text_of(b"it is hunter2-", b"hunter2.\n", redactor=redactor) == "it is [REDACTED].\n"


def test_a_secret_with_colours_in_it_is_hidden() -> None:
    redactor = Redactor(["hunter2-hunter2"])
    assert text_of(b"hunter2\x1b[1m-hunter2\n", redactor=redactor) == "[REDACTED]\n"


def test_all_bytes_are_counted_and_hashed_as_they_came() -> None:
    sink = OutputSink(lambda text: None, Redactor([]))
    written = b"\xff\r\n" * 500_000
    for start in range(0, len(written), 100_000):
        sink.receive(written[start : start + 100_000])
    sink.close()
    assert sink.total == len(written)
    assert sink.sha256 == hashlib.sha256(written).hexdigest()


def test_up_to_two_times_256_kb_everything_is_kept() -> None:
    line = b"x" * 63 + b"\n"
    written = line * (2 * KEPT // len(line))
    assert len(written) == 2 * KEPT == 2 * 256 * 1024
    assert text_of(written) == written.decode()


def test_of_more_the_first_and_the_last_256_kb_are_kept_and_the_gap_is_said() -> None:
    lines = [f"line {number:06}\n" for number in range(100_000)]
    kept = text_of("".join(lines).encode())
    head, count, tail = GAP.split(kept)
    assert head + tail != ""
    assert "".join(lines).startswith(head)
    assert "".join(lines).endswith(tail)
    assert KEPT - 20 <= len(head) <= KEPT
    assert KEPT - 20 <= len(tail) <= KEPT
    assert len(head) + int(count.replace(",", "")) + len(tail) == len("".join(lines))


def test_half_a_secret_at_the_edge_of_the_gap_is_not_shown() -> None:
    redactor = Redactor(["hunter2-hunter2"])
    for shift in range(60):
        written = b"x\n" * 100 + b"it is hunter2-hunter2\n" + b"y\n" * 20 + b"z" * shift
        with patch.object(output, "KEPT", 64):
            text = text_of(written, redactor=redactor)
        assert GAP.search(text)
        assert "unter2" not in text
        assert "hunter" not in text


def test_a_line_longer_than_what_is_kept_is_left_out_whole() -> None:
    written = b"begin\n" + b"x" * 3 * KEPT + b"\nend\n"
    assert text_of(written) == f"begin\n[… {3 * KEPT + 1:,} bytes left out …]\nend\n"


def test_a_line_without_an_end_is_left_out_whole() -> None:
    assert text_of(b"x" * 3 * KEPT) == f"[… {3 * KEPT:,} bytes left out …]\n"


def test_memory_does_not_grow_with_the_output() -> None:
    piece = b"x" * 99 + b"\n"
    sink = OutputSink(lambda text: None, Redactor([]))
    tracemalloc.start()
    for _ in range(1000):
        sink.receive(piece * 640)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sink.total == 64_000_000
    assert peak < 16 * KEPT


def test_closing_twice_passes_nothing_on_twice() -> None:
    emitted: list[str] = []
    sink = OutputSink(emitted.append, Redactor([]))
    sink.receive(b"last")
    sink.close()
    sink.close()
    assert emitted == ["last\n"]


PIECES = st.lists(
    st.one_of(
        st.binary(max_size=30), st.sampled_from([b"\r", b"\n", b"\r\n", b"abcdefgh", b"\xc3"])
    )
)


@given(PIECES)
@example([b"a" * 31, b"\r", b"\n"])
@example([b"a" * 32, b"\r", b"b"])
@example([b"a" * 31 + b"\r", b"\n" * 40])
def test_the_pieces_make_no_difference(pieces: list[bytes]) -> None:
    with patch.object(output, "KEPT", 32):
        assert text_of(*pieces) == text_of(b"".join(pieces))


@given(st.lists(st.text("abcdefgh", max_size=12), max_size=40))
def test_what_is_shown_and_what_is_left_out_is_everything(lines: list[str]) -> None:
    written = "".join(f"{line}.\n" for line in lines)
    with patch.object(output, "KEPT", 64):
        kept = text_of(written.encode())
    if gap := GAP.search(kept):
        shown = kept[: gap.start()] + kept[gap.end() :]
        assert len(shown) + int(gap[1].replace(",", "")) == len(written)
        assert written.startswith(kept[: gap.start()])
        assert written.endswith(kept[gap.end() :])
    else:
        assert kept == written


@given(st.lists(st.binary(max_size=40)))
def test_what_is_passed_on_is_whole_lines_that_every_database_can_store(
    pieces: list[bytes],
) -> None:
    for text in passed_on(pieces):
        assert text.endswith("\n")
        assert not set(text) & {"\x00", "\x1b", "\r"}
        text.encode()


KEY = "\n".join(
    [
        "-----BEGIN OPENSSH PRIVATE KEY-----",
        *["b3BlbnNzaC1rZXktdjEAAAAABG5vbmU"] * 5,
        "-----END OPENSSH PRIVATE KEY-----",
    ]
)


class TestAPrivateKey:
    def test_is_hidden_whole_and_nothing_around_it(self) -> None:
        shown = text_of(f"before\n{KEY}\nafter\n".encode())
        assert shown == "before\n" + "[REDACTED]\n" * 7 + "after\n"

    def test_is_hidden_in_whatever_pieces_it_comes(self) -> None:
        data = f"before\n{KEY}\nafter\n".encode()
        shown = text_of(*(data[at : at + 7] for at in range(0, len(data), 7)))
        assert shown == "before\n" + "[REDACTED]\n" * 7 + "after\n"

    def test_in_one_line_is_hidden_and_the_next_line_is_not(self) -> None:
        one_line = KEY.replace("\n", "\\n")
        assert text_of(f"{one_line}\nafter\n".encode()) == "[REDACTED]\nafter\n"

    def test_that_begins_on_the_line_where_another_ends_is_hidden_too(self) -> None:
        # cat of two files, of which the first lacks its last line end
        shown = text_of(f"{KEY}{KEY}\nafter\n".encode())
        assert shown == "[REDACTED]\n" * 13 + "after\n"

    def test_that_never_ends_does_not_black_out_the_rest(self) -> None:
        begin = KEY.splitlines()[0]
        shown = text_of(f"{begin}\n".encode() + b"line\n" * LONGEST_KEY)
        assert shown.splitlines()[-1] == "line"

    @pytest.mark.parametrize(
        "keys",
        [
            KEY,
            # As grep --color shows it
            KEY.replace("-END OPENSSH PRIVATE", "-END OPENSSH \x1b[01;31mPRIVATE\x1b[m"),
            # The first lacks its last line end.
            f"{KEY}{KEY}",
        ],
        ids=["one", "coloured", "two"],
    )
    def test_of_which_a_gap_has_taken_the_beginning_is_hidden(self, keys: str) -> None:
        line = b"x" * 99 + b"\n"
        head = line * (KEPT // 100 + 9_000)
        # The kept end begins within the key.
        end = (keys[50:].encode() + b"\n" + line * (KEPT // 100 + 1))[: KEPT - 1] + b"\n"
        shown = text_of(head + keys[:50].encode() + end)
        assert "b3BlbnNzaC1rZXktdjEAAAAABG5vbmU" not in shown
        assert "[REDACTED]\nxxx" in shown
        assert shown.endswith("x\n")

    def test_whose_certificate_is_public_is_left_alone(self) -> None:
        text = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
        assert text_of(text.encode()) == text
