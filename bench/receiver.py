"""How many deliveries the receiver takes in a second, beside others. By hand, on a quiet machine:

    .demo/environment-3.11/bin/python -m bench.receiver [--rounds 9] [--write]

Pushes of 8 KB, each with a body and a signature of its own, from wrk at concurrency 1 and 16. This
package's receiver and a bare Django view run on one site under one gunicorn worker, with the same
SQLite settings: each commit is on the disk before it is answered. They take turns of a second,
since a shared machine may from one to the next be twice as fast. The worker is a plain one, which
the goals for rates are about, and then one of 16 threads, with MALLOC_ARENA_MAX=1 as
docs/operations.md has it; the goal for memory is about both. A push
comes while an update goes on, so it joins the one that waits. @octokit/webhooks, gidgethub on
aiohttp and Debian's webhook store nothing.
Needs wrk, webhook, Node and npm (apt-get install wrk webhook nodejs npm).

Exit code 1 if a goal is missed.
"""

import argparse
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import median
from typing import NamedTuple

from admin_management.runner.lock import Lock
from admin_management.runner.state import StateDirectory
from bench.memory import memory
from bench.report import Report
from demo.tools import ROOT, Toolbox, free_port, progress, require
from tests.webhooks.payloads import signature

HERE = ROOT / "bench" / "receivers"
SECRET = "a secret of the bench, of no value"
SIZE = 8 * 1024
NUMBER = "NUMBER"
"""Stands in the body where the number is to be, which takes the 40 digits of a revision."""

SIGNATURES = 40_000
"""Bodies, of which none comes twice at a server that stores them."""

CONCURRENCY = (1, 16)

PATIENCE = 20.0
LARGE = 25 * 1024 * 1024

TURNS = 4
"""Seconds of each case in a round; an even number."""

GOALS = {"accepted": 0.8, "refused": 1.0}
"""Ratio to the bare view: with one row inserted, and verifying only. Of each turn; the median
counts."""

SLOWEST = 50.0
"""Milliseconds: the 99th percentile that is aimed at, at concurrency 16."""

GROWTH = 30.0
"""Megabytes more than before that are aimed at, with 16 large bodies at once."""


@dataclass(frozen=True, slots=True)
class Rate:
    """What wrk has measured. Times are in milliseconds."""

    requests: int
    per_second: float
    p50: float
    p99: float


class Bench:
    """A folder with a site, prepared requests and the other receivers' programs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.checkout = folder / "checkout"
        self.environ = os.environ | {
            "BENCH_CHECKOUT": str(self.checkout),
            "BENCH_SECRET": SECRET,
            "DJANGO_SETTINGS_MODULE": "bench.receivers.settings",
            "MALLOC_ARENA_MAX": "1",
            "PYTHONPATH": str(ROOT),
        }

    def prepare(self) -> None:
        self._make_requests()
        self.checkout.mkdir()
        self.run("git", "init", "--quiet", str(self.checkout))
        state = StateDirectory.of(self.checkout)
        state.create()
        self.run(sys.executable, "-m", "django", "migrate", "--run-syncdb", "--verbosity", "0")
        shutil.move(self.database, self.folder / "empty.sqlite3")

    @property
    def database(self) -> Path:
        return self.folder / "db.sqlite3"

    def empty_the_database(self) -> None:
        for path in self.folder.glob("db.sqlite3*"):
            path.unlink()
        shutil.copy(self.folder / "empty.sqlite3", self.database)

    def _make_requests(self) -> None:
        push = {
            "ref": "refs/heads/master",
            "before": "0" * 39 + "1",
            "after": NUMBER,
            "deleted": False,
            "repository": {"full_name": "octocat/site"},
            "sender": {"login": "octocat"},
            "filling": "",
        }
        push["filling"] = "x" * (SIZE - len(json.dumps(push)) - 40 + len(NUMBER))
        head, _, tail = json.dumps(push).partition(NUMBER)
        (self.folder / "head").write_text(head)
        (self.folder / "tail").write_text(tail)
        bodies = (f"{head}{number:040}{tail}" for number in range(1, SIGNATURES + 1))
        lines = "\n".join(signature(body.encode(), SECRET) for body in bodies)
        (self.folder / "signatures").write_text(lines + "\n")

    def run(self, *argv: str) -> None:
        subprocess.run(argv, cwd=ROOT, env=self.environ, check=True)

    @contextmanager
    def server(self, *argv: str, port: int, cwd: Path = ROOT) -> Iterator[int]:
        """Its pid, once it answers; it is ended in the end."""
        process = subprocess.Popen(
            argv,
            cwd=cwd,
            env=self.environ,
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / "log").open("a"),
        )
        try:
            await_answer(port, process)
            yield process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()

    @contextmanager
    def site(self, port: int, *options: str) -> Iterator[int]:
        """Gunicorn with one worker and an empty database, while an update goes on."""
        self.empty_the_database()
        lock = Lock.try_acquire(StateDirectory.of(self.checkout).lock)
        assert lock is not None
        gunicorn = (sys.executable, "-m", "gunicorn", "bench.receivers.wsgi", "--workers", "1")
        with lock, self.server(*gunicorn, f"--bind=127.0.0.1:{port}", *options, port=port) as pid:
            yield pid

    def send(self, address: str, connections: int, event: str, signed: str, first: int = 1) -> Rate:
        """What wrk says of a server in one second, with the bodies from number ``first`` on."""
        argv = (
            *("wrk", "--threads", "1", "--connections", str(connections)),
            *("--duration", "1s", "--script", str(HERE / "deliver.lua")),
            # On SQLite some of the bare view's 16 threads wait for longer than wrk's 2 s.
            *("--timeout", f"{PATIENCE:g}s"),
            *(address, "--", str(self.folder), event, signed, str(first - 1)),
        )
        done = subprocess.run(argv, check=True, capture_output=True, text=True)
        facts = json.loads(done.stdout.splitlines()[-1])
        expected = facts["requests"] if signed == "bad" else 0
        if facts["not_2xx"] != expected or facts["broken"]:
            raise SystemExit(f"{address} ({event}, {signed}): {facts}")
        return Rate(
            requests=facts["requests"],
            per_second=facts["requests"] / (facts["microseconds"] / 1e6),
            p50=facts["p50"] / 1000,
            p99=facts["p99"] / 1000,
        )


def await_answer(port: int, process: subprocess.Popen[bytes]) -> None:
    """Not only until it listens: gunicorn does so before its worker has loaded the site."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError):
            ask(port)
            return
        time.sleep(0.05)
    raise SystemExit(f"{process.args!r} does not answer.")


def ask(port: int) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
        connection.request("GET", "/")
        connection.getresponse()


# This package, and the bare view


class Case(NamedTuple):
    """What is sent where: a push or another event, with a "good" or a "bad" signature."""

    name: str
    path: str
    event: str
    signed: str
    is_stored: bool = False


OURS: tuple[Case, ...] = (
    Case("accepted, a push", "/webhooks/github/", "push", "good", is_stored=True),
    Case("bare insert", "/bare/insert/", "push", "good", is_stored=True),
    Case("accepted, another event", "/webhooks/github/", "issues", "good", is_stored=True),
    Case("bare verify, accepted", "/bare/verify/", "push", "good"),
    Case("refused", "/webhooks/github/", "push", "bad"),
    Case("bare verify, refused", "/bare/verify/", "push", "bad"),
)
"""What is compared is measured right before or after it, as far as possible."""


Rounds = dict[str, dict[int, list[Rate]]]
"""What was measured in each turn, by case and concurrency."""


@dataclass(frozen=True, slots=True)
class Worker:
    """How gunicorn's one worker takes requests, and how many come at once."""

    name: str
    options: tuple[str, ...]
    concurrency: tuple[int, ...]


PLAIN = Worker("", (), CONCURRENCY)
THREADED = Worker(", threads", ("--threads", "16"), CONCURRENCY[-1:])


def measure_site(bench: Bench, worker: Worker, rounds: int, say: Callable[[str], object]) -> Rounds:
    """The median turn of each case is said."""
    found: Rounds = {case.name: {each: [] for each in worker.concurrency} for case in OURS}
    for _, connections in product(range(rounds), worker.concurrency):
        for name, rate in take_turns(bench, worker, connections):
            found[name][connections].append(rate)
    for name, by_concurrency in found.items():
        for connections, rates in by_concurrency.items():
            _tell(f"{name}{worker.name}", connections, rates, say)
    return found


def take_turns(bench: Bench, worker: Worker, connections: int) -> Iterator[tuple[str, Rate]]:
    """A round: one case after the other, TURNS times, at one server, to and fro."""
    port, first = free_port(), 1
    with bench.site(port, *worker.options):
        site = f"http://127.0.0.1:{port}"
        # Soon after it has begun, a new process collects garbage for 30 ms.
        bench.send(f"{site}/webhooks/github/", connections, "push", "bad")
        for case in [*OURS, *reversed(OURS)] * (TURNS // 2):
            rate = bench.send(f"{site}{case.path}", connections, case.event, case.signed, first)
            # Behind what was sent last and not answered in time: the next one must not pay for it.
            ask(port)
            yield case.name, rate
            first += (rate.requests + 2 * connections) * case.is_stored
            if first > SIGNATURES:
                raise SystemExit("This machine is too fast for so few SIGNATURES.")


def _tell(name: str, connections: int, rates: list[Rate], say: Callable[[str], object]) -> None:
    """Say the median turn in a line."""
    middle = sorted(rates, key=lambda rate: rate.per_second)[len(rates) // 2]
    say(
        f"{name:<32} {connections:>4} {middle.per_second:>9.0f}/s"
        f" {middle.p50:>8.2f} ms {middle.p99:>8.2f} ms"
    )


# The others


@contextmanager
def octokit(bench: Bench, port: int) -> Iterator[str]:
    folder = bench.folder / "octokit"
    folder.mkdir(exist_ok=True)
    shutil.copy(HERE / "octokit.mjs", folder)
    with progress("Installing @octokit/webhooks"):
        bench.run("npm", "install", "--silent", "--prefix", str(folder), "@octokit/webhooks")
    with bench.server("node", str(folder / "octokit.mjs"), str(port), port=port):
        yield "/"


@contextmanager
def gidgethub(bench: Bench, port: int) -> Iterator[str]:
    uv = str(Toolbox(ROOT / ".demo").uv)
    python = bench.folder / "gidgethub" / "bin" / "python"
    with progress("Installing gidgethub and aiohttp"):
        bench.run(uv, "venv", "--quiet", "--python", sys.executable, str(python.parents[1]))
        packages = ("gidgethub", "aiohttp")
        bench.run(uv, "pip", "install", "--quiet", "--python", str(python), *packages)
    program = str(HERE / "gidgethub_on_aiohttp.py")
    with bench.server(str(python), program, str(port), port=port, cwd=bench.folder):
        yield "/"


@contextmanager
def debian(bench: Bench, port: int) -> Iterator[str]:
    rule = {
        "type": "payload-hmac-sha256",
        "secret": SECRET,
        "parameter": {"source": "header", "name": "X-Hub-Signature-256"},
    }
    hook = {
        "id": "push",
        "execute-command": "/bin/true",
        "trigger-rule": {"match": rule},
        "trigger-rule-mismatch-http-response-code": 403,
    }
    hooks = bench.folder / "hooks.json"
    hooks.write_text(json.dumps([hook]))
    words = ("-hooks", str(hooks), "-ip", "127.0.0.1", "-port", str(port))
    with bench.server("webhook", *words, port=port):
        yield "/hooks/push"


def measure_others(bench: Bench, say: Callable[[str], object]) -> None:
    servers = {
        "@octokit/webhooks": octokit,
        "gidgethub on aiohttp": gidgethub,
        "Debian's webhook": debian,
    }
    for name, server in servers.items():
        port = free_port()
        with server(bench, port) as path:
            for signed, what in (("good", "accepted"), ("bad", "refused")):
                for connections in CONCURRENCY:
                    address = f"http://127.0.0.1:{port}{path}"
                    bench.send(address, connections, "push", "bad")
                    rate = bench.send(address, connections, "push", signed)
                    _tell(f"{name}, {what}", connections, [rate], say)


# Memory


def measure_memory(bench: Bench) -> dict[str, float]:
    """Megabytes that a worker has grown by, with 16 bodies of 25 MB sent to it at once."""
    bodies = {"wrong signature": LARGE, "declared too large": LARGE + 1}
    grown = {}
    for (name, size), worker in product(bodies.items(), (PLAIN, THREADED)):
        growth, statuses = _growth(bench, size, worker.options)
        grown[f"{name}{worker.name}, {statuses}"] = growth
    return grown


def _growth(bench: Bench, size: int, options: Sequence[str]) -> tuple[float, set[int]]:
    port = free_port()
    with bench.site(port, *options) as pid:
        # Each thread opens its connection to the database before, and not meanwhile.
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(send_large, [port] * 800, [SIZE] * 800))
        worker = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
        before = memory(worker, "VmRSS")
        Path(f"/proc/{worker}/clear_refs").write_text("5")
        with ThreadPoolExecutor(16) as pool:
            statuses = set(pool.map(send_large, [port] * 16, [size] * 16))
        return memory(worker, "VmHWM") - before, statuses


def send_large(port: int, size: int) -> int:
    """The status of the answer; 0 if the connection was closed before the body was sent."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {
        "Content-Type": "application/json",
        "X-GitHub-Event": "push",
        "X-GitHub-Delivery": "1",
        "X-Hub-Signature-256": "sha256=" + "0" * 64,
    }
    try:
        connection.request("POST", "/webhooks/github/", bytes(size), headers)
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


def judge(found: Rounds, grown: dict[str, float], say: Callable[[str], object]) -> bool:
    """Say which goals are met. Whether all are."""
    missed = False
    for name, bare, goal in (
        ("accepted, a push", "bare insert", GOALS["accepted"]),
        ("accepted, another event", "bare insert", GOALS["accepted"]),
        ("refused", "bare verify, accepted", GOALS["refused"]),
        ("refused", "bare verify, refused", GOALS["refused"]),
    ):
        for connections in CONCURRENCY:
            pairs = zip(found[name][connections], found[bare][connections], strict=True)
            ratios = sorted(ours.per_second / theirs.per_second for ours, theirs in pairs)
            missed |= median(ratios) < goal
            say(
                f"{name} : {bare}, {connections} at once: {median(ratios):.2f}"
                f" ({ratios[0]:.2f} to {ratios[-1]:.2f}; goal {goal})"
            )
    for name, bare in (
        ("accepted, a push", "bare insert"),
        ("accepted, another event", "bare insert"),
        ("refused", "bare verify, refused"),
    ):
        p99, bare_p99 = (
            median(rate.p99 for rate in found[each][CONCURRENCY[-1]]) for each in (name, bare)
        )
        missed |= p99 > SLOWEST
        say(f"{name}, 16 at once, p99: {p99:.1f} ms (goal {SLOWEST:g}; the {bare}: {bare_p99:.1f})")
    for name, growth in grown.items():
        missed |= growth > GROWTH
        say(f"16 bodies of 25 MB, {name}: {growth:.0f} MB (goal {GROWTH:g})")
    return not missed


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--alone", action="store_true", help="leave the three others out")
    parser.add_argument("--write", action="store_true", help="into bench/results/receiver.txt")
    options = parser.parse_args()
    require("wrk", "apt-get install wrk")
    report = Report()
    with tempfile.TemporaryDirectory(prefix="receiver-") as folder:
        bench = Bench(Path(folder))
        bench.prepare()
        report.say(
            f"Medians of {options.rounds} rounds of {TURNS} turns of 1 s, pushes of 8 KB; of the"
            " last three programs one turn."
        )
        report.say(f"{'':<32} {'conc':>4} {'rate':>11} {'p50':>11} {'p99':>11}")
        found = measure_site(bench, PLAIN, options.rounds, report.say)
        measure_site(bench, THREADED, options.rounds, report.say)
        if not options.alone:
            measure_others(bench, report.say)
        is_good = judge(found, measure_memory(bench), report.say)
    if options.write:
        report.write("receiver")
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
