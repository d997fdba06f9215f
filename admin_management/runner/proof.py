"""Proof that a revision is live: fresh processes that answer, and say which revision they are.

An exit code is a claim. A restart counts when several answers in a row come from processes that
are younger than it and have the wanted revision, at our own health address, and when the site's own
one answers too. Asked over HTTP on this machine only, as a visitor would ask.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import ModuleType

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

REPORT_PAUSE = 0.01
"""Seconds between two looks at what ``admin_management.serve`` reports."""

LOOK_EVERY = 0.5
"""Seconds between two looks during the soak."""


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


def load_http() -> ModuleType:
    """Import what speaks HTTP. Before anything is replaced, and not where nothing is to be proved:
    it takes as long as a fetch.
    """
    from . import visit

    return visit


class Proof:
    """Asks the site of a plan for its health."""

    def __init__(self, site: Site, health: Health) -> None:
        self._site = site
        self._health = health
        self._visit = load_http()
        self._token = site.state.health_token()
        self._addresses: dict[int, tuple[str, int]] = {}

    def prove(
        self, execution: StepExecution, step: Step, revision: str, *, after: Moment = BEGINNING
    ) -> None:
        """Wait for enough good answers of ``revision``. Raises UnhealthyError when time is up.

        Processes from before ``after`` do not count, and a switch that was refused since then is
        the end.
        """
        deadline = time.monotonic() + step.timeout
        self._await_switch(execution, after, step.timeout / 2)
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
                self._addresses.clear()
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

    def _await_switch(self, execution: StepExecution, after: Moment, seconds: float) -> None:
        """Leave the processors to the new workers until ``admin_management.serve`` reports.

        If it cannot, the questions that follow tell as much.
        """
        deadline = time.monotonic() + seconds
        while (report := self._serve_report()) and time.monotonic() < deadline:
            if _begun_at(report) >= after.time:
                return
            execution.pause(REPORT_PAUSE)

    def _check_switch(self, after: Moment) -> None:
        """``admin_management.serve`` knows at once that the new processes are not good."""
        report = self._serve_report()
        if report.get("result") == "refused" and _begun_at(report) >= after.time:
            raise UnhealthyError(
                f"The new processes were not let in: {report.get('reason')}",
                hint="The old ones have never stopped. Mend what it says, commit and push.",
                is_dependency=report.get("problem") == "database",
            )

    def _serve_report(self) -> Mapping[str, object]:
        """What the server under PM2 has said last; empty if it is not ours."""
        report = self._site.state.serve_report() or {}
        return report if report.get("pid") == self._pid() else {}

    def _look(self, revision: str, younger_than: int, patience: float = PATIENCE) -> Answer:
        """One round: our own address, and the site's if it has one."""
        address = self._address_of(self._pid())
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

    def _address_of(self, pid: int | None) -> tuple[str, int] | None:
        """Kept as long as all is well: to look it up takes longer than to ask the site."""
        if pid is not None and pid not in self._addresses:
            found = listening_addresses(pid)
            if not found:
                return None
            self._addresses = {pid: found[0]}
        return self._addresses[pid] if pid else None

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
        headers = {**self._health.headers, **(token or {}), "Connection": "close"}
        try:
            status, body = self._visit.ask(address, where, patience, headers)
        except self._visit.ERRORS as error:
            return Answer(0, f"{where} does not answer: {type(error).__name__}")
        return _answer(status, body, where)

    def _unhealthy(self, answer: Answer, seconds: float) -> UnhealthyError:
        hint = "Look at pm2 logs for the reason."
        if answer.is_dependency:
            hint = "What the site depends on is down; the revision itself may be good."
        return UnhealthyError(
            f"The site did not prove healthy within {seconds:g} s: {answer.problem}",
            hint=hint,
            is_dependency=answer.is_dependency,
        )


def _begun_at(report: Mapping[str, object]) -> datetime:
    return datetime.fromisoformat(str(report["begun_at"]))


def _answer(status: int, body: bytes, where: str) -> Answer:
    try:
        facts = json.loads(body)
    except (ValueError, RecursionError):
        facts = {}
    if not isinstance(facts, dict):
        facts = {}
    if not 200 <= status < 300:
        problem = str(facts.get("problem", ""))
        said = f"{where} answers {status}" + (f" ({problem})" if problem else "")
        return Answer(status, said, is_dependency=problem == "database")
    started = facts.get("boot_ticks")
    return Answer(
        status,
        revision=str(facts.get("revision", "")),
        started=started if isinstance(started, int) else 0,
    )
