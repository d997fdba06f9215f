"""Proof that a revision is live: fresh processes that answer, and say which revision they are.

An exit code is a claim. A restart counts when several answers in a row come from processes that
are younger than it and have the wanted revision, at our own health address, and when the site's own
one answers too. Asked over HTTP on this machine only, as a visitor would ask.
"""

import http.client
import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit, urlunsplit

from . import pm2
from .execution import StepExecution, StepFailedError
from .listening import listening_addresses
from .plan import Health, Step
from .process import ticks_now
from .site import Site

ANSWERS = 3
"""Good answers in a row that prove a revision."""

PATIENCE = 5.0
"""Seconds for one answer."""

PAUSE = 0.03
"""Seconds between two questions while the new processes are awaited."""

LOOK_EVERY = 0.5
"""Seconds between two looks during the soak."""

LARGEST_ANSWER = 64 * 1024

_PORTS = {"http": http.client.HTTP_PORT, "https": http.client.HTTPS_PORT}


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in time, by the clock and in clock ticks since boot."""

    time: datetime
    ticks: int

    @classmethod
    def now(cls) -> "Moment":
        return cls(datetime.now(UTC), ticks_now())


BEGINNING = Moment(datetime.min.replace(tzinfo=UTC), 0)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the site said: an HTTP status or 0 for none, and what is wrong; empty if nothing is."""

    status: int
    problem: str = ""
    revision: str = ""
    started: int = 0
    is_dependency: bool = False


class UnhealthyError(StepFailedError):
    """The site did not prove healthy. ``is_dependency``: what it depends on is down, not it."""

    def __init__(self, message: str, *, hint: str = "", is_dependency: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.is_dependency = is_dependency


class Proof:
    """Asks the site of a plan for its health."""

    def __init__(self, site: Site, health: Health) -> None:
        self._site = site
        self._health = health
        self._token = site.state.health_token()

    def prove(
        self, execution: StepExecution, step: Step, revision: str, *, after: Moment = BEGINNING
    ) -> None:
        """Wait for enough good answers of ``revision``. Raises UnhealthyError when time is up.

        Processes from before ``after`` do not count, and a switch that was refused since then is
        the end.
        """
        deadline = time.monotonic() + step.timeout
        good, last = 0, Answer(0, "nothing answers")
        while good < ANSWERS:
            if time.monotonic() > deadline:
                raise self._unhealthy(last, step.timeout)
            execution.stop_if_told()
            self._check_switch(after)
            patience = min(PATIENCE, max(deadline - time.monotonic(), PAUSE))
            last = self._look(revision, after.ticks, patience)
            good = 0 if last.problem else good + 1
            if last.problem:
                time.sleep(PAUSE)
        execution.say(f"{ANSWERS} answers in a row from {revision[:7]}")

    def soak(self, execution: StepExecution, step: Step, revision: str) -> None:
        """Watch for ``step.timeout`` seconds that nothing dies, restarts or fails."""
        pid = self._pid()
        deadline = time.monotonic() + step.timeout
        while (remaining := deadline - time.monotonic()) > 0:
            execution.pause(min(LOOK_EVERY, remaining))
            if self._pid() != pid:
                raise UnhealthyError(
                    "PM2 had to restart the new processes.", hint="Look at pm2 logs for the reason."
                )
            answer = self._look(revision, 0)
            if answer.problem:
                answer = self._look(revision, 0)
            if answer.problem:
                raise self._unhealthy(answer, step.timeout)

    def _check_switch(self, after: Moment) -> None:
        """``admin_management.serve`` knows at once that the new processes are not good."""
        report = self._site.state.serve_report() or {}
        if report.get("pid") != self._pid() or report.get("result") != "refused":
            return
        if datetime.fromisoformat(str(report["begun_at"])) >= after.time:
            raise UnhealthyError(
                f"The new processes were not let in: {report.get('reason')}",
                hint="The old ones have never stopped. Mend what it says, commit and push.",
                is_dependency=report.get("problem") == "database",
            )

    def _look(self, revision: str, younger_than: int, patience: float = PATIENCE) -> Answer:
        """One round: our own address, and the site's if it has one."""
        address = self._address()
        if address is None:
            return Answer(0, "nothing listens: the process of PM2 has no port")
        token = {"X-Health-Token": self._token}
        ours = self._ask(address, self._health.addresses[0], patience, token)
        if not ours.problem and ours.revision != revision:
            return Answer(ours.status, f"the revision {ours.revision[:7] or 'unknown'} answers")
        if not ours.problem and ours.started < younger_than:
            return Answer(ours.status, "a process from before the restart answers")
        for other in self._health.addresses[1:]:
            if ours.problem:
                break
            ours = self._ask(address, other, patience)
        return ours

    def _address(self) -> tuple[str, int] | None:
        pid = self._pid()
        found = listening_addresses(pid) if pid else []
        return found[0] if found else None

    def _pid(self) -> int | None:
        home = pm2.home(self._site.tool_environ)
        return pm2.pid_of(home, self._site.plan.pm2_process)

    def _ask(
        self,
        address: tuple[str, int],
        where: str,
        patience: float,
        token: Mapping[str, str] | None = None,
    ) -> Answer:
        connection, target = _connection(address, where, patience)
        headers = {**self._health.headers, **(token or {}), "Connection": "close"}
        try:
            connection.request("GET", target, headers=headers)
            response = connection.getresponse()
            return _answer(response.status, response.read(LARGEST_ANSWER), where)
        except (OSError, http.client.HTTPException) as error:
            return Answer(0, f"{where} does not answer: {type(error).__name__}")
        finally:
            connection.close()

    def _unhealthy(self, answer: Answer, seconds: float) -> UnhealthyError:
        hint = "Look at pm2 logs for the reason."
        if answer.is_dependency:
            hint = "What the site depends on is down; the revision itself may be good."
        return UnhealthyError(
            f"The site did not prove healthy within {seconds:g} s: {answer.problem}",
            hint=hint,
            is_dependency=answer.is_dependency,
        )


def _connection(
    address: tuple[str, int], where: str, patience: float
) -> tuple[http.client.HTTPConnection, str]:
    """A path is asked where the site listens, a full URL where it says: on this machine, too."""
    parts = urlsplit(where)
    target = urlunsplit(("", "", parts.path or "/", parts.query, ""))
    host, port = address
    if parts.scheme:
        # Said in full, or http.client would look for it in an IPv6 address.
        host, port = str(parts.hostname), parts.port or _PORTS[parts.scheme]
    if parts.scheme == "https":
        # Its certificate is for the site's public name.
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return http.client.HTTPSConnection(host, port, timeout=patience, context=context), target
    return http.client.HTTPConnection(host, port, timeout=patience), target


def _answer(status: int, body: bytes, where: str) -> Answer:
    try:
        facts = json.loads(body)
    except ValueError:
        facts = {}
    if not isinstance(facts, dict):
        facts = {}
    if not 200 <= status < 300:
        problem = str(facts.get("problem", ""))
        said = f"{where} answers {status}" + (f" ({problem})" if problem else "")
        return Answer(status, said, is_dependency=problem == "database")
    return Answer(
        status,
        revision=str(facts.get("revision", "")),
        started=int(facts.get("boot_ticks") or 0),
    )
