"""A prepared question asks what its queryset asks, each time about other texts."""

import pytest
from django.db.models import QuerySet
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import DjangoAssertNumQueries

from admin_management.conf import node
from admin_management.models import Run, Trigger
from admin_management.prepared import Prepared

pytestmark = pytest.mark.django_db


@Prepared
def runs_asked_for(reason: str, actor: str) -> QuerySet[Run]:
    """Both texts in another order than they stand in the table, and one word that is fixed."""
    return Run.objects.filter(actor_name=actor, reason=reason, trigger=Trigger.COMMAND)


def a_run(reason: str = "because", actor: str = "alice", trigger: Trigger = Trigger.COMMAND) -> Run:
    return Run.objects.create(
        node=node(), trigger=trigger, reason=reason, actor_name=actor, status="succeeded"
    )


def test_the_rows_are_those_of_the_texts_and_whole() -> None:
    run = a_run()
    a_run(actor="bob")
    a_run(trigger=Trigger.API)
    (found,) = runs_asked_for("because", "alice")
    assert found == run
    assert not found.get_deferred_fields()
    assert (found.requested_at, found.reverse_migrations) == (run.requested_at, [])
    assert runs_asked_for("because", "carol") == []


def test_whether_there_is_a_row_is_known_without_it(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    a_run()
    with django_assert_num_queries(2):
        assert runs_asked_for.exists("because", "alice")
        assert not runs_asked_for.exists("alice", "because")


@pytest.mark.parametrize("text", ["reason", "%s", "%(reason)s", "'; DROP TABLE x; --", "", "é"])
def test_a_text_is_a_value_whatever_it_looks_like(text: str) -> None:
    assert not runs_asked_for.exists(text, "alice")
    a_run(text)
    assert runs_asked_for.exists(text, "alice")
    assert [run.reason for run in runs_asked_for(text, "alice")] == [text]


STORABLE = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)


@given(st.lists(st.tuples(STORABLE, STORABLE), max_size=4), STORABLE, STORABLE)
def test_it_finds_what_the_orm_finds(
    stored: list[tuple[str, str]], reason: str, actor: str
) -> None:
    Run.objects.all().delete()
    for each in stored:
        a_run(*each)
    for texts in (*stored, (reason, actor)):
        found = runs_asked_for(*texts)
        assert {*found} == {*Run.objects.filter(reason=texts[0], actor_name=texts[1])}
        assert runs_asked_for.exists(*texts) == bool(found)


def test_the_queryset_is_made_once() -> None:
    made: list[str] = []

    @Prepared
    def runs_of(actor: str) -> QuerySet[Run]:
        made.append(actor)
        return Run.objects.filter(actor_name=actor)

    for actor in ("alice", "bob"):
        assert not runs_of.exists(actor)
        assert runs_of(actor) == []
    assert made == ["actor"]


@pytest.mark.parametrize("texts", [(), ("because",), ("because", "alice", "more")])
def test_each_blank_wants_a_text(texts: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="zip"):
        runs_asked_for.exists(*texts)
