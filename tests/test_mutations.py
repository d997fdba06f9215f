"""The list of bench/mutations.py stays true: what it takes away and who notices are there."""

import re
import shlex

import pytest

from bench.mutations import MUTATIONS, Mutation
from demo.tools import ROOT

from .named import named_tests_of


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.guard)
def test_what_a_mutation_takes_away_and_who_notices_are_there(mutation: Mutation) -> None:
    assert mutation.old in (ROOT / mutation.file).read_text()
    assert mutation.old != mutation.new
    where, _, wanted = mutation.test.partition(" -k ")
    *paths, last = shlex.split(where)
    for word in (*paths, last):
        path, _, name = word.partition("::")
        text = (ROOT / path).read_text()
        assert name or wanted, "a named test, and not a whole file"
        assert not name or name in named_tests_of(ROOT / path)
        assert all(each in text.lower() for each in re.findall(r"\w{4,}", wanted)), wanted


def test_no_guard_is_named_twice() -> None:
    guards = [mutation.guard for mutation in MUTATIONS]
    assert sorted(set(guards)) == sorted(guards)
