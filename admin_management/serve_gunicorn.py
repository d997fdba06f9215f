"""Gunicorn as ``admin_management.serve`` starts it: each worker proves itself before it accepts.

``python -m admin_management.serve_gunicorn PARENT,SOCKET,REPORTS,GATE ARGUMENT…``: the pid of who
starts it and three descriptors: the listening socket, the pipe to report on, and the eventfd that
becomes readable once workers may accept. Who is on their other ends is ``serve/generation.py``.
"""

import ctypes
import gc
import inspect
import json
import logging
import os
import select
import signal
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from gunicorn.app.wsgiapp import WSGIApplication
from gunicorn.errors import AppImportError

from .runner.head import checked_out_revision
from .runner.redact import Redactor, secrets_in_environment
from .runner.state import NotAGitCheckoutError

PAUSE = 1.0
"""Seconds before a late worker that is not good ends: gunicorn starts the next one at once."""

LONGEST = 500
"""Characters of a reason. A report must fit into what a pipe takes whole, 4,096 bytes."""

PR_SET_PDEATHSIG = 1


class NotImportedError(Exception):
    """The site does not import. In place of the exception that says why, which may hold secrets."""


class ServedApplication(WSGIApplication):  # type: ignore[misc]
    """The site as gunicorn's own command would serve it, on a socket that another process holds."""

    def __init__(self, listener: int, reports: int, gate: int) -> None:
        self._listener = listener
        self._reports = reports
        self._gate = gate
        self._master = os.getpid()
        self._revision = _revision()
        super().__init__("%(prog)s [OPTIONS] [APP_MODULE]", prog="gunicorn")

    def load_config(self) -> None:
        """The site's configuration and hooks, but for what two at a time would fight about."""
        super().load_config()
        site_init, site_exit = self.cfg.post_worker_init, self.cfg.child_exit

        def post_worker_init(worker: Any) -> None:
            site_init(worker)
            self._prove(worker)

        def child_exit(server: Any, worker: Any) -> None:
            self._report({"gone": worker.pid})
            site_exit(server, worker)

        settings = {
            "bind": f"fd://{self._listener}",
            "daemon": False,
            "reuse_port": False,
            "pidfile": None,
            "control_socket_disable": True,
            "post_worker_init": post_worker_init,
            "child_exit": child_exit,
        }
        for name, value in settings.items():
            # The control socket is younger than the rest.
            if name in self.cfg.settings:
                self.cfg.set(name, value)
        self._report({"workers": self.cfg.workers, "grace": self.cfg.graceful_timeout})

    def load(self) -> Any:
        """Import the site. Who fails says why."""
        # Nothing that is loaded here will ever be garbage: not looking for it saves a tenth.
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            return super().load()
        except Exception as error:
            self._report_this_worker("code", _named(error), loaded=False)
            if self._is_open() and os.getpid() != self._master:
                # Gunicorn would end the workers that serve for it.
                _give_up()
            if isinstance(error, AppImportError):
                raise
            # Gunicorn would log the exception as it is, and print it.
            told = _without_secrets("".join(traceback.format_exception(error)))
            logging.getLogger("gunicorn.error").error("%s", "\n".join(told))
            raise NotImportedError(" ".join(_without_secrets(_named(error)))) from None
        finally:
            gc.freeze()
            if was_enabled:
                gc.enable()

    def _prove(self, worker: Any) -> None:
        """Answer the health address, say how that went, and wait until all others have."""
        end_with_parent(worker.ppid)
        is_late = self._is_open()
        problem, reason = _problem_of(worker.wsgi)
        self._report_this_worker(problem, reason, loaded=True)
        # Late, and of the commit that was proved: then it is not the code that is bad, and it is
        # no better to answer nothing.
        if is_late and problem == "code" and _revision() != self._revision:
            _give_up()
        self._wait_at_gate(worker)

    def _wait_at_gate(self, worker: Any) -> None:
        # Signals wake it through gunicorn's own pipe; its master wants to hear from it meanwhile.
        wakeup = worker.PIPE[0]
        while worker.alive:
            worker.notify()
            ready, _, _ = select.select([self._gate, wakeup], [], [], worker.timeout or None)
            if self._gate in ready:
                return
            if wakeup in ready:
                os.read(wakeup, 4096)

    def _is_open(self) -> bool:
        return bool(select.select([self._gate], [], [], 0)[0])

    def _report_this_worker(self, problem: str, reason: str, *, loaded: bool) -> None:
        self._report(
            {
                "pid": os.getpid(),
                "loaded": loaded,
                "problem": problem,
                "reason": " ".join(_without_secrets(reason))[:LONGEST],
            }
        )

    def _report(self, facts: dict[str, Any]) -> None:
        # If nobody listens any more, this process is about to be told to end.
        with suppress(BrokenPipeError):
            os.write(self._reports, json.dumps(facts).encode() + b"\n")


def end_with_parent(parent: int) -> None:
    """Have the system send SIGTERM when the parent dies: an orphan would keep the socket.

    prctl(2). It is lost when the user changes, so this comes after that.
    """
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit("Who started this has died.")


def _give_up() -> NoReturn:
    time.sleep(PAUSE)
    # Not gunicorn's exit codes of a failed start, for which it would end them all.
    sys.exit(1)


def _problem_of(application: Any) -> tuple[str, str]:
    """``database`` or ``code``, and what is wrong; both empty when nothing is."""
    # Imported here: Django is set up by the site, and each generation has its own.
    from django.core.handlers.wsgi import WSGIHandler
    from django.db import connections

    from .exceptions import DatabaseDownError, NotHealthyError
    from .health import answer_in_process

    call = application if inspect.isfunction(application) else type(application).__call__
    try:
        # An ASGI application has the same settings, middleware and addresses as this handler.
        answer_in_process(WSGIHandler() if inspect.iscoroutinefunction(call) else application)
    except DatabaseDownError as error:
        return "database", str(error)
    except NotHealthyError as error:
        return "code", str(error)
    except Exception as error:
        return "code", _named(error)
    finally:
        connections.close_all()
    return "", ""


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _without_secrets(text: str) -> list[str]:
    """Its lines."""
    secrets = secrets_in_environment(os.environ)
    from django.conf import settings

    if settings.configured:
        from .redaction import secret_values

        secrets += secret_values()
    return Redactor(secrets).lines(text)


def _revision() -> str | None:
    try:
        return checked_out_revision(Path.cwd())
    except (NotAGitCheckoutError, OSError):
        return None


def main() -> None:
    parent, listener, reports, gate = map(int, sys.argv.pop(1).split(","))
    end_with_parent(parent)
    for descriptor in (reports, gate):
        os.set_inheritable(descriptor, False)
    ServedApplication(listener, reports, gate).run()


if __name__ == "__main__":
    main()
