"""A stand-in for a served site: holds a port, and answers with what it has read when it started.

    python standin.py HOLDER CHECKOUT STATE PIDFILE      holds the port, starts workers
    python standin.py WORKER CHECKOUT STATE DESCRIPTOR   one worker

SIGHUP to the holder starts a new worker, and ends the old one once the new one is ready. What the
worker has read is the work tree's version, its environment, its schema and its revision, so that an
answer tells whether they belong together.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path


def hold(checkout: str, state: str, pid_file: str) -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    os.set_inheritable(listener.fileno(), True)
    worker = start(checkout, state, listener)
    Path(pid_file).write_text(f"{os.getpid()}\n")
    signals = (signal.SIGHUP, signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    sys.stdout.write(f"{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    while signal.sigwait(signals) == signal.SIGHUP:
        newer = start(checkout, state, listener)
        worker.kill()
        worker.wait()
        worker = newer
    worker.kill()


def start(checkout: str, state: str, listener: socket.socket) -> subprocess.Popen[bytes]:
    argv = (sys.executable, "-S", __file__, "WORKER", checkout, state, str(listener.fileno()))
    worker = subprocess.Popen(
        argv, stdout=subprocess.PIPE, pass_fds=(listener.fileno(),), process_group=None
    )
    assert worker.stdout is not None
    worker.stdout.readline()
    return worker


def read_site(checkout: Path, state: Path) -> dict[str, object]:
    head = (checkout / ".git" / "refs" / "heads" / "master").read_text().strip()
    schema = checkout / ".git" / "schema"
    return {
        "ok": True,
        "revision": head,
        "boot_ticks": int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]),
        "version": (checkout / "version.txt").read_text().strip(),
        "environment": (checkout / ".venv").resolve().name,
        "schema": schema.read_text().split() if schema.exists() else [],
    }


def work(checkout: Path, state: Path, descriptor: int) -> None:
    # As the first thing: what is answered is what was there when the process started.
    facts = read_site(checkout, state)
    is_broken = (checkout / "broken").exists()
    is_mute = (checkout / "mute").exists()
    # Enough for a proof, and then it dies.
    left = 3 if (checkout / "frail").exists() else -1
    listener = socket.socket(fileno=descriptor)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            if is_mute:
                time.sleep(1000)
            if left == 0:
                sys.exit()
            left -= 1
            body = json.dumps(facts).encode()
            status = b"500 Broken" if is_broken else b"200 OK"
            connection.sendall(
                b"HTTP/1.0 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                % (status, len(body), body)
            )


if __name__ == "__main__":
    if sys.argv[1] == "HOLDER":
        hold(sys.argv[2], sys.argv[3], sys.argv[4])
    else:
        work(Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
