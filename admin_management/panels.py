"""What another app adds to the dashboard and the doctor, without them knowing that app."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

Doors = Mapping[tuple[str, str], str]
"""The permission, ``app.codename``, that a method needs at the address of a name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """``urls`` is the dotted path of a module with addresses below the dashboard's, if any.

    ``doubts`` and ``facts`` are sentences for the doctor about what is shown: what to look after,
    and what to say if there is nothing.
    """

    template: str
    read: Callable[[], object]
    urls: str = ""
    doors: Doors = field(default_factory=dict)
    doubts: Callable[[], Iterable[str]] = tuple
    facts: Callable[[], Iterable[str]] = tuple


_panels: dict[str, Panel] = {}


def add_panel(panel: Panel) -> None:
    """Show ``template`` on the dashboard, with what ``read`` gives as ``panel``.

    Call it in AppConfig.ready(). ``read`` is called for each page and must not raise.
    """
    _panels[panel.template] = panel


def read_panels() -> Iterator[tuple[str, object]]:
    """The templates and what each is to show."""
    for panel in _panels.values():
        yield panel.template, panel.read()


def doubts_of_panels() -> list[str]:
    """What is to be looked after."""
    return [doubt for panel in _panels.values() for doubt in panel.doubts()]


def facts_of_panels() -> list[str]:
    """What is worth saying where nothing is to be looked after."""
    return [fact for panel in _panels.values() for fact in panel.facts()]


def urls_of_panels() -> Iterator[str]:
    """The modules whose addresses belong below the dashboard's."""
    return (panel.urls for panel in _panels.values() if panel.urls)


def doors_of_panels() -> Doors:
    """What the changes at these addresses need."""
    return {door: needed for panel in _panels.values() for door, needed in panel.doors.items()}
