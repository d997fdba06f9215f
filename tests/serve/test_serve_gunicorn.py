"""What of a generation's gunicorn needs no gunicorn to be tested."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from admin_management import serve_gunicorn
from admin_management.runner.state import StateDirectory
from admin_management.serve.generation import Generation
from admin_management.serve.listener import listen
from admin_management.serve.signals import Signals
from admin_management.serve.supervisor import Supervisor
from tests.conftest import Checkout
from tests.serve.site import measured

PARENT_IS_NOT_INIT = "from admin_management.serve_gunicorn import *; end_with_parent(1)"


def test_an_orphan_ends_at_once() -> None:
    done = subprocess.run(
        (sys.executable, "-c", PARENT_IS_NOT_INIT),
        env=os.environ | measured(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "Who started this has died.\n")


def test_an_asgi_application_is_asked_as_a_wsgi_one(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("it is never asked")

    monkeypatch.setattr("django.db.connections.close_all", lambda: None)
    assert serve_gunicorn._problem_of(application) == ("", "")


def test_a_report_to_nobody_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    application = serve_gunicorn.ServedApplication.__new__(serve_gunicorn.ServedApplication)
    application._reports = writer
    application._report({"gone": 1})
    os.close(writer)


def test_outside_of_git_there_is_no_revision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert serve_gunicorn._revision() is None


class TestAnInterpreterThatIsGone:
    @pytest.fixture(autouse=True)
    def gone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sys.executable", "/no/such/python")

    def test_leaves_no_descriptor_open(self) -> None:
        before = descriptors()
        with listen("127.0.0.1:0") as listener, pytest.raises(FileNotFoundError):
            Generation(1, (), listener.fileno())
        assert descriptors() == before

    def test_ends_the_first_start(
        self, checkout: Checkout, capsys: pytest.CaptureFixture[str]
    ) -> None:
        state = StateDirectory.of(checkout.path)
        state.create()
        with listen("127.0.0.1:0") as listener:
            supervisor = Supervisor(listener, (), NoSignals(), state, 30)
            assert supervisor.run() == 1
        assert "refused (attempt 1): gunicorn cannot be started: " in capsys.readouterr().err
        assert (state.serve_report() or {})["result"] == "refused"


def descriptors() -> list[str]:
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


class NoSignals(Signals):
    """Nobody signals."""

    def __init__(self) -> None:
        self._pipe, self._writer = os.pipe()

    def catch_stops(self) -> None:
        pass

    def __del__(self) -> None:
        os.close(self._pipe)
        os.close(self._writer)
