"""A prepared question asks what its queryset asks, each time about other texts; and so for rows."""

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import F, QuerySet
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import DjangoAssertNumQueries

from admin_management.machine import node
from admin_management.models import Run, StepRun, Trigger
from admin_management.prepared import Prepared, PreparedInsert

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


def test_whether_there_is_a_row_and_its_key_are_known_without_it(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    run = a_run()
    with django_assert_num_queries(4), connection.cursor() as cursor:
        assert runs_asked_for.exists("because", "alice")
        assert not runs_asked_for.exists("alice", "because")
        assert runs_asked_for.first_key(cursor, "because", "alice") == run.pk
        assert runs_asked_for.first_key(cursor, "alice", "because") is None


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


@pytest.mark.parametrize("word", ["%s", "100 %", "%(reason)s", "it's", "reason"])
def test_a_fixed_word_is_a_value_whatever_it_looks_like(word: str) -> None:
    @Prepared
    def runs_of(reason: str) -> QuerySet[Run]:
        return Run.objects.filter(reason=reason, message=word)

    run = a_run()
    assert runs_of("because") == []
    Run.objects.update(message=word)
    assert runs_of("because") == [run]


def test_a_percent_sign_of_the_statement_stays_one() -> None:
    @Prepared
    def steps_at_odd_places(name: str) -> QuerySet[StepRun]:
        return StepRun.objects.alias(odd=F("position") % 2).filter(odd=1, name=name)

    run = a_run()
    for position in (0, 1):
        StepRun.objects.create(run=run, position=position, name="pull")
    assert [step.position for step in steps_at_odd_places("pull")] == [1]


@pytest.mark.parametrize("texts", [(), ("because",), ("because", "alice", "more")])
def test_each_blank_wants_a_text(texts: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="zip"):
        runs_asked_for.exists(*texts)


insert_run = PreparedInsert(Run)
insert_step = PreparedInsert(StepRun)


def store(insert: PreparedInsert, *rows: dict[str, object]) -> None:
    with connection.cursor() as cursor:
        for row in rows:
            insert(cursor, row)


def values_of(row: Run | StepRun) -> dict[str, object]:
    return {each.attname: getattr(row, each.attname) for each in row._meta.concrete_fields}


def a_step(run: Run, position: int = 0) -> dict[str, object]:
    """The values of one that is not stored."""
    step = StepRun(
        run=run,
        position=position,
        name="pull",
        argv=["git", "pull"],
        status="succeeded",
        started_at=run.requested_at,
    )
    values = values_of(step)
    del values["id"]
    return values


def test_rows_are_stored_as_the_orm_stores_them() -> None:
    run = a_run()
    store(insert_step, a_step(run), a_step(run, position=1))
    StepRun(**a_step(run, position=2)).save()
    of_its_own = {"id": 0, "position": 0}
    *by_hand, by_orm = (values_of(each) | of_its_own for each in StepRun.objects.all())
    assert by_hand == [by_orm, by_orm]


def test_a_key_that_was_chosen_stays() -> None:
    run = Run(node="elsewhere", trigger=Trigger.API, reverse_migrations=["app 0001"])
    store(insert_run, values_of(run))
    assert Run.objects.get(pk=run.pk).reverse_migrations == ["app 0001"]


def test_the_database_refuses_a_second_row_of_one_key() -> None:
    run = Run(node="elsewhere", trigger=Trigger.API)
    store(insert_run, values_of(run))
    with pytest.raises(IntegrityError), transaction.atomic():
        store(insert_run, values_of(run))
    assert Run.objects.count() == 1


def test_each_column_wants_a_value_and_nothing_else_has_one() -> None:
    values = values_of(Run(node="elsewhere", trigger=Trigger.API))
    assert values.keys() == set(insert_run.names)
    for wrong in (values | {"nonsense": 1}, {"id": values["id"]}):
        with pytest.raises(TypeError, match="status"):
            store(insert_run, wrong)


@pytest.mark.parametrize("text", ["%s", "%(name)s", "'; DROP TABLE x; --", "", "\N{SNOWMAN}"])
def test_a_stored_text_is_a_value_whatever_it_looks_like(text: str) -> None:
    store(insert_step, a_step(a_run()) | {"output": text})
    assert StepRun.objects.get().output == text
