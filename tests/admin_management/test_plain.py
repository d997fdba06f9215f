"""What others have written is one line that no terminal obeys."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin_management.plain import plain


@given(st.text())
def test_whatever_it_was_it_is_one_line_as_long_as_before(text: str) -> None:
    assert plain(text).isprintable()
    assert len(plain(text)) == len(text)


@given(st.text(st.characters(exclude_categories=["C", "Z"])))
def test_what_is_plain_stays_as_it_is(text: str) -> None:
    assert plain(text) == text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("two\nlines\r\n", "two lines  "),
        ("a tab\tand\u2028more", "a tab and more"),
        ("\x1b[2J", "\N{REPLACEMENT CHARACTER}[2J"),
        ("\u202elive\0", "\N{REPLACEMENT CHARACTER}live\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_white_space_stays_white(text: str, told: str) -> None:
    assert plain(text) == told
