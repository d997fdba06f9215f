"""Questions that every push asks. Their SQL is put together once, and not each time.

Django takes 0.5 ms to turn a queryset into SQL, and SQLite 0.02 ms to answer it.
"""

from collections.abc import Callable
from functools import cached_property
from inspect import signature
from typing import Any, Generic, TypeVar

from django.db import DEFAULT_DB_ALIAS, connection
from django.db.models import Model, QuerySet

Row = TypeVar("Row", bound=Model)


class _Blank(str):
    """Stands for a text that is known later, and says which."""

    __slots__ = ()


Sql = tuple[str, tuple[Any, ...]]
"""A statement, and its parameters, blanks among them."""


class Prepared(Generic[Row]):
    """What a function of texts asks, with the queryset that it returns.

    It is called once, with blanks. So it must not look at its arguments, nor at anything that
    changes, and its lookups must use them as they are: ``exact`` does, ``contains`` does not.
    """

    def __init__(self, build: Callable[..., QuerySet[Row]]) -> None:
        self._build = build
        self._names = tuple(signature(build).parameters)

    def __call__(self, *texts: str) -> list[Row]:
        """The rows. It takes 0.1 ms longer than ``exists``."""
        sql, params = self._rows
        manager = self._queryset.model._default_manager
        return list(manager.raw(sql, self._filled_in(params, texts)))

    def exists(self, *texts: str) -> bool:
        """Whether there is a row."""
        sql, params = self._first_key
        with connection.cursor() as cursor:
            cursor.execute(sql, self._filled_in(params, texts))
            return cursor.fetchone() is not None

    @cached_property
    def _queryset(self) -> QuerySet[Row]:
        return self._build(*map(_Blank, self._names))

    @cached_property
    def _rows(self) -> Sql:
        return _compiled(self._queryset)

    @cached_property
    def _first_key(self) -> Sql:
        return _compiled(self._queryset.values("pk")[:1])

    def _filled_in(self, params: tuple[Any, ...], texts: tuple[str, ...]) -> list[Any]:
        found = dict(zip(self._names, texts, strict=True))
        return [found[each] if isinstance(each, _Blank) else each for each in params]


def _compiled(queryset: QuerySet[Any, Any]) -> Sql:
    # A clone, because compiling leaves marks and all threads share the queryset.
    compiled: Sql = queryset.query.clone().get_compiler(DEFAULT_DB_ALIAS).as_sql()
    return compiled
