"""Questions that every push asks. Their SQL is put together once, and not each time.

Django takes 0.5 ms to turn a queryset into SQL, and SQLite 0.02 ms to answer it.
"""

from collections.abc import Callable
from functools import cached_property
from inspect import signature
from typing import Any, Generic, TypeVar

from django.db import connections, router
from django.db.models import Model, QuerySet

Row = TypeVar("Row", bound=Model)


class _Blank(str):
    """Stands for a text that is known later, and says which."""

    __slots__ = ()


class _Statement:
    """The SQL of one queryset, for each database that it was put to."""

    def __init__(self, queryset: QuerySet[Any, Any]) -> None:
        self._queryset = queryset
        self._compiled: dict[str, tuple[str, tuple[Any, ...]]] = {}

    def filled_in(self, alias: str, texts: dict[str, str]) -> tuple[str, list[Any]]:
        """The SQL and its parameters, the texts in the place of the blanks."""
        if alias not in self._compiled:
            # A clone, because compiling leaves marks and all threads share the queryset.
            query = self._queryset.query.clone()
            self._compiled[alias] = query.get_compiler(alias).as_sql()
        sql, params = self._compiled[alias]
        return sql, [texts[each] if isinstance(each, _Blank) else each for each in params]


class Prepared(Generic[Row]):
    """What a function of texts asks, with the queryset that it returns.

    It is called once, with blanks. So it must not look at its arguments, nor at anything that
    changes, and its lookups must use them as they are: ``exact`` does, ``contains`` does not.
    The database is the one that is written to: a replica may not know yet what was just asked.
    """

    def __init__(self, build: Callable[..., QuerySet[Row]]) -> None:
        self._build = build
        self._names = tuple(signature(build).parameters)

    def __call__(self, *texts: str) -> list[Row]:
        """The rows. It takes 0.1 ms longer than ``exists``."""
        alias, (sql, params) = self._asked(self._rows, texts)
        return list(self._queryset.model._default_manager.using(alias).raw(sql, params))

    def exists(self, *texts: str) -> bool:
        """Whether there is a row."""
        alias, (sql, params) = self._asked(self._first_key, texts)
        with connections[alias].cursor() as cursor:
            cursor.execute(sql, params)
            return cursor.fetchone() is not None

    @cached_property
    def _queryset(self) -> QuerySet[Row]:
        return self._build(*map(_Blank, self._names))

    @cached_property
    def _rows(self) -> _Statement:
        return _Statement(self._queryset)

    @cached_property
    def _first_key(self) -> _Statement:
        return _Statement(self._queryset.values("pk")[:1])

    def _asked(
        self, statement: _Statement, texts: tuple[str, ...]
    ) -> tuple[str, tuple[str, list[Any]]]:
        alias = router.db_for_write(self._queryset.model)
        return alias, statement.filled_in(alias, dict(zip(self._names, texts, strict=True)))
