"""What ``python -m admin_management.serve`` understands, and what it does before it serves."""

import socket
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from admin_management.serve import __main__ as command
from admin_management.serve.listener import listen, shown
from tests.conftest import Checkout

GUNICORN = ("--", "gunicorn", "config.wsgi")


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """With what a supervisor was made. It serves nobody and is told to stop at once."""
    made: list[tuple[Any, ...]] = []

    class Stopped:
        def __init__(self, listener: socket.socket, *rest: Any) -> None:
            listener.close()
            made.append(rest)

        def run(self) -> int:
            return 0

    monkeypatch.setattr(command, "Supervisor", Stopped)
    monkeypatch.setattr(command, "Signals", lambda: "signals")
    return made


@pytest.fixture
def recovered(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The programs that were started; they succeed at once."""
    started: list[tuple[str, ...]] = []

    def run(argv: tuple[str, ...], **_: Any) -> subprocess.CompletedProcess[bytes]:
        started.append(argv)
        return subprocess.CompletedProcess(argv, 0)

    monkeypatch.setattr("subprocess.run", run)
    return started


@pytest.fixture
def here(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(checkout.path)
    return checkout.path


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(["--help"])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    for word in ("--bind HOST:PORT", "SIGHUP", "SIGUSR1", "serve.json", "exit codes", "treekill"):
        assert word in told


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "--bind"),
        (GUNICORN, "--bind"),
        (("--bind", "127.0.0.1:0"), 'after "--" must come: gunicorn'),
        (("--bind", "127.0.0.1:0", "--", "uvicorn"), 'after "--" must come: gunicorn'),
        (("--bind", "127.0.0.1:0", "--timeout", "0", *GUNICORN), "--timeout"),
        (("--bind", "127.0.0.1:0", "--timeout", "soon", *GUNICORN), "--timeout"),
        (("--bind", "127.0.0.1:0", "gunicorn", "config.wsgi"), "unrecognized arguments"),
    ],
)
def test_wrong_usage_is_named(
    words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(list(words))
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_serves_with_what_it_was_given(
    here: Path, served: list[tuple[Any, ...]], recovered: list[tuple[str, ...]]
) -> None:
    words = ["--bind", "127.0.0.1:0", "--timeout", "7.5", *GUNICORN, "--workers", "2", "--", "x"]
    assert command.main(words) == 0
    ((arguments, signals, state, timeout),) = served
    assert arguments == ["config.wsgi", "--workers", "2", "--", "x"]
    assert (signals, timeout) == ("signals", 7.5)
    assert state.path.is_dir()


def test_recovers_first(
    here: Path, served: list[tuple[Any, ...]], recovered: list[tuple[str, ...]]
) -> None:
    assert command.main(["--bind", "127.0.0.1:0", *GUNICORN]) == 0
    runner = (sys.executable, "-P", "-m", "admin_management.runner")
    assert recovered == [(*runner, "--recover", str(here))]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (subprocess.CompletedProcess((), 3), "failed with exit code 3"),
        (subprocess.TimeoutExpired((), 600), "did not end: "),
        (OSError("no interpreter"), "did not end: no interpreter"),
    ],
)
def test_serves_whatever_comes_of_the_recovery(
    served: list[tuple[Any, ...]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    outcome: Any,
    said: str,
) -> None:
    def run(*_: Any, **__: Any) -> Any:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr("subprocess.run", run)
    assert command.main(["--bind", "127.0.0.1:0", *GUNICORN]) == 0
    assert f"serve: the recovery of an earlier update {said}" in capsys.readouterr().err
    assert len(served) == 1


def test_a_taken_port_is_one_clear_line(
    here: Path,
    recovered: list[tuple[str, ...]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(command, "listen", partial(listen, patience=0))
    monkeypatch.setattr(command, "Signals", lambda: None)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = shown(taken)
        assert command.main(["--bind", address, *GUNICORN]) == 2
    said = capsys.readouterr().err
    assert said == f"serve: cannot listen at {address}: Address already in use\n"


def test_nothing_to_recover_outside_of_git(
    tmp_path: Path,
    served: list[tuple[Any, ...]],
    recovered: list[tuple[str, ...]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command.main(["--bind", "127.0.0.1:0", *GUNICORN]) == 0
    assert recovered == []
    assert "serve: nothing will be recorded: " in capsys.readouterr().err
    assert served[0][2] is None
