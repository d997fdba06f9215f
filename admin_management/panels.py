"""What another app adds to the dashboard, without the dashboard knowing that app."""

from collections.abc import Callable, Iterator

_panels: dict[str, Callable[[], object]] = {}


def add_panel(template: str, read: Callable[[], object]) -> None:
    """Show ``template`` on the dashboard, with what ``read`` gives as ``panel``.

    Call it in AppConfig.ready(). ``read`` is called for each page and must not raise.
    """
    _panels[template] = read


def read_panels() -> Iterator[tuple[str, object]]:
    """The templates and what each is to show."""
    for template, read in _panels.items():
        yield template, read()
