"""Proof that a revision is live, against a server of the test's own."""

import http.server
import json
import os
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin_management.runner import proof as proof_module
from admin_management.runner.execution import Recorder, StepExecution
from admin_management.runner.journal import Journal, Progress, replay
from admin_management.runner.listening import listening_addresses
from admin_management.runner.plan import Health, Step
from admin_management.runner.process import StoppedError, ticks_now
from admin_management.runner.proof import ANSWERS, Moment, Proof, UnhealthyError
from admin_management.runner.redact import Redactor
from admin_management.runner.site import Site as RunnersSite
from tests.runner.conftest import Site

NEW, OLD = "2" * 40, "1" * 40

PROOF = Step(name="proof", argv=(), timeout=60)
SHORT = Step(name="proof", argv=(), timeout=0.3)


@dataclass
class Server:
    """Answers from ``answers`` in turn, the last one for ever; knows what it was asked."""

    answers: dict[str, list[tuple[int, object]]] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    address: tuple[str, int] = ("", 0)
    then: Callable[[], None] = lambda: None

    def answer(self, path: str, headers: dict[str, str]) -> tuple[int, bytes]:
        self.asked.append((path, headers))
        self.then()
        left = self.answers.get(path) or [(404, "nothing here")]
        status, body = left.pop(0) if len(left) > 1 else left[0]
        return status, body if isinstance(body, bytes) else json.dumps(body).encode()

    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]


def good(revision: str = NEW, **others: object) -> tuple[int, object]:
    return 200, {"ok": True, "revision": revision, "boot_ticks": ticks_now()} | others


def handler_for(server: Server) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = server.answer(self.path, dict(self.headers))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    return Handler


class QuietServer(http.server.ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Who asked has lost patience."""


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    stops: list[Callable[[], None]] = []

    def serve(certificate: Path | None = None, **answers: list[tuple[int, object]]) -> Server:
        server = Server({f"/{path}": each for path, each in answers.items()})
        listener = QuietServer(("127.0.0.1", 0), handler_for(server))
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            listener.socket = context.wrap_socket(listener.socket, server_side=True)
        server.address = ("127.0.0.1", listener.server_address[1])
        thread = threading.Thread(target=listener.serve_forever, args=(0.01,))
        thread.start()
        stops.extend((listener.server_close, thread.join, listener.shutdown))
        return server

    yield serve
    for stop in reversed(stops):
        stop()


@dataclass
class Asker:
    """Proves within a recorded step, and shows what the step says."""

    site: RunnersSite
    journal: Path
    health: Health

    def prove(self, step: Step = PROOF, revision: str = NEW, **options: Any) -> Progress:
        with self.site.recorder.step(step.name, timeout=step.timeout) as execution:
            Proof(self.site, self.health).prove(execution, step, revision, **options)
        return replay(self.journal)

    def soak(self, seconds: float = 0.1) -> None:
        step = Step(name="soak", argv=(), timeout=seconds)
        with self.site.recorder.step(step.name, timeout=step.timeout) as execution:
            Proof(self.site, self.health).soak(execution, step, NEW)


@pytest.fixture
def asker(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Asker]:
    """PM2's process is this very one, and it listens where the test's first server does."""
    monkeypatch.setattr(proof_module, "LOOK_EVERY", 0.01)
    journal = Journal(tmp_path / "journal.jsonl")
    recorder = Recorder(journal, Redactor([]), site.checkout.path)
    health = Health(addresses=("/health/",), headers={"Host": "www.example.com"})
    yield Asker(RunnersSite(site.plan, recorder, site.environ), tmp_path / "journal.jsonl", health)
    journal.close()


@pytest.fixture
def served(
    asker: Asker, serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Server]:
    """Starts the site's server, with these answers to the health address."""

    def served(*answers: tuple[int, object], **others: list[tuple[int, object]]) -> Server:
        server = serve(**others)
        server.answers["/health/"] = list(answers)
        # Whatever else this process listens on, the site's server is the first that is found.
        monkeypatch.setattr(proof_module, "listening_addresses", lambda pid: [server.address])
        return server

    return served


def problem(asker: Asker, step: Step = SHORT, **options: Any) -> UnhealthyError:
    with pytest.raises(UnhealthyError) as raised:
        asker.prove(step, **options)
    return raised.value


class TestProof:
    def test_is_several_good_answers_in_a_row(
        self, asker: Asker, served: Callable[..., Server]
    ) -> None:
        server = served(good(), (500, "no"), good(), good(), (502, "no"), good())
        progress = asker.prove()
        assert len(server.asked) == 5 + ANSWERS
        assert progress.steps[0].output == f"{ANSWERS} answers in a row from 2222222\n"

    def test_is_asked_for_as_a_visitor_would_and_with_the_token(
        self, asker: Asker, served: Callable[..., Server]
    ) -> None:
        server = served(good())
        asker.prove()
        path, headers = server.asked[0]
        assert path == "/health/"
        assert headers["Host"] == "www.example.com"
        assert headers["X-Health-Token"] == asker.site.state.health_token()
        assert headers["Connection"] == "close"

    def test_is_found_where_the_process_of_pm2_listens(
        self, asker: Asker, serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server = serve(health=[good()])
        asker.health = replace(asker.health, addresses=("/health",))
        found = listening_addresses
        seen: list[int] = []

        def look(pid: int) -> list[tuple[str, int]]:
            seen.append(pid)
            return [each for each in found(pid) if each == server.address]

        monkeypatch.setattr(proof_module, "listening_addresses", look)
        asker.prove()
        assert set(seen) == {os.getpid()}

    def test_is_not_given_by_another_revision(
        self, asker: Asker, served: Callable[..., Server]
    ) -> None:
        served(good(OLD))
        failure = problem(asker)
        assert str(failure) == (
            "The site did not prove healthy within 0.3 s: the revision 1111111 answers"
        )
        assert failure.hint == "Look at pm2 logs for the reason."
        assert not failure.is_dependency

    def test_is_not_given_by_one_that_does_not_say_its_revision(
        self, asker: Asker, served: Callable[..., Server]
    ) -> None:
        served((200, b"<html>"))
        assert "the revision unknown answers" in str(problem(asker))

    def test_is_not_given_by_an_answer_that_is_no_object(
        self, asker: Asker, served: Callable[..., Server]
    ) -> None:
        served((200, ["ok"]))
        assert "the revision unknown answers" in str(problem(asker))

    def test_is_not_given_by_a_process_from_before_the_restart(
        self, asker: Asker, served: Callable[..., Server]
    ) -> None:
        restarted_at = ticks_now()
        server = served(good(boot_ticks=restarted_at - 1))
        after = Moment(datetime.now(UTC), restarted_at)
        failure = problem(asker, after=after)
        assert "a process from before the restart answers" in str(failure)
        server.answers["/health/"] = [good(boot_ticks=restarted_at)]
        asker.prove(after=after)

    def test_is_not_given_by_a_process_that_does_not_say_its_age(
        self, asker: Asker, served: Callable[..., Server]
    ) -> None:
        served((200, {"revision": NEW, "boot_ticks": None}))
        assert "from before the restart" in str(problem(asker, after=Moment(datetime.now(UTC), 1)))

    def test_comes_late_but_in_time(self, asker: Asker, served: Callable[..., Server]) -> None:
        server = served((502, "starting"), (200, {"revision": OLD}), good())
        asker.prove()
        assert len(server.asked) == 2 + ANSWERS

    def test_is_not_given_by_an_error(self, asker: Asker, served: Callable[..., Server]) -> None:
        served((500, "Internal"))
        failure = problem(asker)
        assert "/health/ answers 500" in str(failure)
        assert not failure.is_dependency

    def test_tells_a_dependency_that_is_down(
        self, asker: Asker, served: Callable[..., Server]
    ) -> None:
        served((503, {"ok": False, "problem": "database", "revision": NEW}))
        failure = problem(asker)
        assert "/health/ answers 503 (database)" in str(failure)
        assert failure.is_dependency
        assert "the revision itself may be good" in failure.hint

    def test_is_missing_where_nothing_listens(
        self, asker: Asker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(proof_module, "listening_addresses", lambda pid: [])
        assert "nothing listens" in str(problem(asker))

    def test_is_missing_where_pm2_has_no_process(self, asker: Asker) -> None:
        asker.site = RunnersSite(
            replace(asker.site.plan, pm2_process="another"),
            asker.site.recorder,
            asker.site.site_environ,
        )
        assert "nothing listens" in str(problem(asker))

    def test_is_missing_where_the_connection_is_refused(
        self, asker: Asker, served: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(proof_module, "listening_addresses", lambda pid: [("127.0.0.1", 1)])
        assert "/health/ does not answer: ConnectionRefusedError" in str(problem(asker))

    def test_does_not_wait_longer_than_its_time_for_one_answer(
        self, asker: Asker, served: Callable[..., Server]
    ) -> None:
        silence = threading.Event()
        server = served(good())

        def hang() -> None:
            silence.wait(60)

        server.then = hang
        try:
            assert "/health/ does not answer: TimeoutError" in str(problem(asker))
        finally:
            silence.set()

    def test_ends_when_the_runner_is_told_to_stop(
        self, asker: Asker, served: Callable[..., Server]
    ) -> None:
        stop = os.eventfd(0)
        asker.site.recorder.stop = stop
        server = served((500, "no"))
        server.then = lambda: os.eventfd_write(stop, 1)
        with pytest.raises(StoppedError):
            asker.prove()
        os.close(stop)


def report(asker: Asker, begun_at: datetime, result: str = "switched", **others: object) -> None:
    """What the server under PM2, this very process, says of its last switch."""
    facts = {"pid": os.getpid(), "result": result, "begun_at": begun_at.isoformat()}
    asker.site.state.set_serve_report(facts | others)


class TestOurServer:
    def test_is_asked_nothing_until_it_has_let_the_new_workers_in(
        self, asker: Asker, served: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        after = Moment.now()
        server = served(good())
        report(asker, after.time - timedelta(seconds=5))
        asked: list[int] = []
        wait = StepExecution.pause

        def pause(execution: StepExecution, seconds: float) -> None:
            if seconds:
                asked.append(len(server.asked))
            if len(asked) == 3:
                report(asker, after.time)
            wait(execution, seconds)

        monkeypatch.setattr(StepExecution, "pause", pause)
        asker.prove(after=after)
        assert asked == [0, 0, 0]
        assert len(server.asked) == ANSWERS

    def test_is_asked_all_the_same_if_it_reports_nothing(
        self, asker: Asker, served: Callable[..., Server]
    ) -> None:
        after = Moment.now()
        served(good())
        report(asker, after.time - timedelta(seconds=5))
        asker.prove(replace(PROOF, timeout=1), after=after)

    def test_has_refused_a_switch_and_that_is_the_end(
        self, asker: Asker, served: Callable[..., Server]
    ) -> None:
        server = served(good(OLD))
        after = Moment.now()
        report(asker, after.time, "refused", reason="ImportError: no", problem="code")
        failure = problem(asker, PROOF, after=after)
        assert str(failure) == "The new processes were not let in: ImportError: no"
        assert server.asked == []

    def test_of_another_pid_is_not_the_one_that_serves(
        self, asker: Asker, served: Callable[..., Server]
    ) -> None:
        after = Moment.now()
        served(good())
        report(asker, after.time, "refused", reason="no", problem="code", pid=1)
        asker.prove(after=after)


class TestTheSitesOwnAddress:
    def test_must_answer_too(self, asker: Asker, served: Callable[..., Server]) -> None:
        asker.health = replace(asker.health, addresses=("/health/", "/own?deep=1"))
        server = served(good())
        server.answers["/own?deep=1"] = [(500, "no"), (204, b"")]
        asker.prove()
        assert server.paths() == ["/health/", "/own?deep=1"] * (1 + ANSWERS)

    def test_is_not_asked_while_ours_does_not_answer_well(
        self, asker: Asker, served: Callable[..., Server]
    ) -> None:
        asker.health = replace(asker.health, addresses=("/health/", "/own"))
        server = served((500, "no"))
        assert "/health/ answers 500" in str(problem(asker))
        assert set(server.paths()) == {"/health/"}

    def test_of_two_the_first_that_fails_is_told(
        self, asker: Asker, served: Callable[..., Server]
    ) -> None:
        asker.health = replace(asker.health, addresses=("/health/", "/one", "/two"))
        server = served(good(), one=[(301, b"")], two=[(200, b"")])
        assert "/one answers 301" in str(problem(asker))
        assert "/two" not in server.paths()

    def test_may_be_elsewhere_on_this_machine_which_does_not_get_the_token(
        self, asker: Asker, served: Callable[..., Server], serve: Callable[..., Server]
    ) -> None:
        other = serve(own=[(200, b"ok")])
        url = f"http://127.0.0.1:{other.address[1]}/own"
        asker.health = replace(asker.health, addresses=("/health/", url))
        served(good())
        asker.prove()
        assert other.paths() == ["/own"] * ANSWERS
        assert "X-Health-Token" not in other.asked[0][1]
        assert other.asked[0][1]["Host"] == "www.example.com"

    def test_may_be_encrypted_with_a_certificate_for_the_public_name(
        self,
        asker: Asker,
        served: Callable[..., Server],
        serve: Callable[..., Server],
        tmp_path: Path,
    ) -> None:
        made = tmp_path / "certificate.pem"
        subprocess.run(
            (
                *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"),
                *("-subj", "/CN=www.example.com", "-keyout", str(made), "-out", f"{made}.crt"),
            ),
            check=True,
            capture_output=True,
        )
        made.write_text(made.read_text() + Path(f"{made}.crt").read_text())
        other = serve(certificate=made, own=[(200, b"ok")])
        url = f"https://127.0.0.1:{other.address[1]}/own"
        asker.health = replace(asker.health, addresses=("/health/", url))
        served(good())
        asker.prove()
        assert other.paths() == ["/own"] * ANSWERS


class TestSoak:
    def test_watches_until_its_time_is_over(
        self, asker: Asker, served: Callable[..., Server]
    ) -> None:
        server = served(good())
        asker.soak()
        assert len(server.asked) >= 2

    def test_forgives_one_answer_but_not_two(
        self, asker: Asker, served: Callable[..., Server]
    ) -> None:
        served(good(), (500, "no"), good())
        asker.soak()
        served(good(), (500, "no"), (500, "no"), good())
        with pytest.raises(UnhealthyError, match="answers 500"):
            asker.soak()

    def test_notices_that_pm2_had_to_restart(
        self, asker: Asker, site: Site, served: Callable[..., Server]
    ) -> None:
        server = served(good())
        pid_file = Path(site.environ["PM2_HOME"]) / "pids" / "site-0.pid"

        def restart() -> None:
            pid_file.write_text(f"{os.getppid()}\n")

        server.then = restart
        with pytest.raises(UnhealthyError, match="PM2 had to restart") as raised:
            asker.soak()
        assert raised.value.hint == "Look at pm2 logs for the reason."

    def test_ends_when_the_runner_is_told_to_stop(
        self, asker: Asker, served: Callable[..., Server]
    ) -> None:
        stop = os.eventfd(1)
        asker.site.recorder.stop = stop
        served(good())
        with pytest.raises(StoppedError):
            asker.soak(60)
        os.close(stop)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
FACTS = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("revision", "boot_ticks", "problem"), JSON)
)


@given(
    st.integers(100, 599),
    st.binary() | (FACTS | JSON).map(json.dumps).map(str.encode),
)
def test_whatever_a_site_answers_is_good_only_with_a_status_that_says_so(
    status: int, body: bytes
) -> None:
    answer = proof_module._answer(status, body, "/healthz/")
    assert (answer.problem == "") == (200 <= status < 300)
    assert answer.status == status
    assert isinstance(answer.started, int)


@pytest.mark.parametrize(
    "body", [b'{"boot_ticks": "soon"}', b'{"boot_ticks": [1]}', b"[" * 100_000, b'{"revision": []}']
)
def test_an_answer_of_another_kind_is_one_of_an_unknown_process(body: bytes) -> None:
    answer = proof_module._answer(200, body, "/healthz/")
    assert (answer.problem, answer.started) == ("", 0)
