"""The status of the site as a few lines of text, for a terminal."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from .plain import plain
from .templatetags.admin_management import ago, duration, short

WIDTH = 10


def summary(status: dict[str, Any]) -> str:
    """What ``read_status()`` returned, as a person reads it."""
    return "".join(f"{name:<{WIDTH}}{plain(text)}\n" for name, text in _lines(status))


def _lines(status: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "checkout", f"{_text(status['checkout'])}, on {_text(status['branch'])}"
    yield "live", _commit(status["live"])
    yield "remote", _remote(status["remote"], fetched=status["fetched"])
    yield from _list("pending", status["pending"], _commit)
    yield from _list("changed", status["dirty_files"], _text)
    yield "process", _process(status["pm2"])
    if status["hold"]:
        yield "held", _hold(status["hold"])
    for name in ("current", "waiting", "last"):
        run = status[f"{name}_run"]
        if run:
            yield name, _run(run)
    versions = (_version(name, value) for name, value in status["versions"].items())
    yield "versions", ", ".join(versions)


def _problem(part: Any) -> str:
    """Why a part cannot be read; empty if it can."""
    return str(part.get("error", "")) if isinstance(part, dict) else ""


def _text(part: Any) -> str:
    return _problem(part) or str(part)


def _version(name: str, part: Any) -> str:
    called = name.replace("_", " ")
    return f"{called}: {_problem(part)}" if _problem(part) else f"{called} {part}"


def _list(name: str, part: Any, write: Any) -> Iterator[tuple[str, str]]:
    if _problem(part):
        yield name, _problem(part)
        return
    for index, each in enumerate(part):
        yield ("" if index else name), write(each)


def _commit(part: dict[str, Any]) -> str:
    return _problem(part) or (
        f"{short(part['revision'])} {part['subject']} "
        f"({part['author']}, {ago(part['committed_at'])})"
    )


def _remote(part: dict[str, Any], *, fetched: Any) -> str:
    if _problem(part):
        return _problem(part)
    seen = "" if fetched is True else ", as of the last fetch"
    counts = f"{part['behind']} not live yet, {part['ahead']} only here"
    return f"{part['name']}/{part['branch']}: {counts}{seen}{_and(_problem(fetched))}"


def _process(part: dict[str, Any]) -> str:
    if _problem(part):
        return _problem(part)
    up = "" if part["uptime"] is None else f", up {duration(part['uptime'])}"
    memory = f"{part['memory'] / 1_000_000:.1f} MB"
    return f"{part['name']} {part['status']}{up}, {part['restarts']} restarts, {memory}"


def _hold(part: dict[str, Any]) -> str:
    until = f" until {part['expires_at']}" if part.get("expires_at") else ""
    return _problem(part) or f"by {part['actor']}{until}: {part['reason']}"


def _run(part: dict[str, Any]) -> str:
    if _problem(part):
        return _problem(part)
    when = ago(datetime.fromisoformat(part["requested_at"]))
    who = f"{part['actor']} ({part['trigger']})" if part["actor"] else part["trigger"]
    return f"{part['status']}, asked for {when} by {who}{_and(part['message'])}"


def _and(text: str) -> str:
    return f": {text}" if text else ""
