"""What a terminal would obey."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin_management.runner.terminal import harmless


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("tab\tand é stay", "tab\tand é stay"),
        ("bell\x07, \x9b2J", "bell\N{REPLACEMENT CHARACTER}, \N{REPLACEMENT CHARACTER}2J"),
    ],
)
def test_is_taken_out_and_what_is_left_of_it_replaced(line: str, shown: str) -> None:
    assert harmless(line) == shown


@given(st.text())
def test_nothing_that_it_obeys_is_left(line: str) -> None:
    shown = harmless(line)
    assert not any(letter < " " and letter not in "\t\n" for letter in shown)
    assert "\x7f" not in shown
