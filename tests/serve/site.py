"""A small Django site in a git work tree, and ``admin_management.serve`` that serves it."""

import copy
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import coverage

from admin_management.runner.state import StateDirectory
from tests.conftest import IDENTITY
from tests.runner.awaiting import Watched
from tests.serve.steady import PATIENCE

SETTINGS = """\
from pathlib import Path

VERSION = "{version}"
BASE_DIR = Path(__file__).parent.parent
SECRET_KEY = "of-the-tests"
ALLOWED_HOSTS = ["localhost"]
ROOT_URLCONF = "config.urls"
MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "admin_management",
]
DATABASES = {{
    "default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "db.sqlite3"}}
}}
{more}
"""

URLS = """\
import os

from django.conf import settings
from django.http import HttpResponse
from django.urls import include, path

from admin_management.health import health
from config import views

VERSION = "{version}"


def page(request):
    return HttpResponse(f"{{settings.VERSION}} {{VERSION}} {{views.VERSION}}")


urlpatterns = [
    path("", page),
    path("pid/", lambda request: HttpResponse(os.getpid())),
    path("hold/", views.hold),
    path("own/", views.own),
    path("variable/<name>/", lambda request, name: HttpResponse(os.environ.get(name, ""))),
    # Only this of ours: all the rest takes longer to import.
    path("admin/", include(([path("health/", health, name="health")], "admin_management"))),
]
{more}
"""

VIEWS = """\
import os

from django.conf import settings
from django.http import HttpResponse

VERSION = "{version}"


def hold(request):
    \"\"\"Says that it has begun, and answers when it is told to.\"\"\"
    with open(settings.BASE_DIR / ".git" / "begun", "w") as pipe:
        print(os.getpid(), file=pipe)
    with open(settings.BASE_DIR / ".git" / "go") as pipe:
        return HttpResponse(pipe.readline().strip())


def own(request):
    {own}
"""

WSGI = """\
import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
{more}
application = get_wsgi_application()
"""


def site_files(version: str, **more: str) -> dict[str, str]:
    """A version of the site. ``more`` is put at the end of a file, or for ``own`` into the view."""
    given = {"settings": "", "urls": "", "wsgi": "", "own": 'return HttpResponse("well")'} | more
    return {
        "config/__init__.py": "",
        "config/settings.py": SETTINGS.format(version=version, more=given["settings"]),
        "config/urls.py": URLS.format(version=version, more=given["urls"]),
        "config/views.py": VIEWS.format(version=version, own=given["own"]),
        "config/wsgi.py": WSGI.format(more=given["wsgi"]),
        ".gitignore": "__pycache__/\ndb.sqlite3\n.venv\n.env\n",
    }


def measured() -> dict[str, str]:
    """Variables that have a child's coverage measured, if this process's is."""
    current = coverage.Coverage.current()
    if current is None:
        return {}
    config = copy.copy(current.config)
    config.parallel, config.patch = True, ["fork"]
    return {"COVERAGE_PROCESS_CONFIG": config.serialize()}


@dataclass
class ServedSite:
    """The site in ``path``. ``start()`` the server, talk to it, ``close()`` all in the end."""

    path: Path
    python: str = sys.executable
    lines: list[str] = field(default_factory=list)
    _said: threading.Condition = field(default_factory=threading.Condition)
    _server: subprocess.Popen[str] | None = None
    _watched: list[Watched] = field(default_factory=list)

    def write(self, files: Mapping[str, str]) -> None:
        for name, text in files.items():
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def commit(self, files: Mapping[str, str]) -> str:
        """What a pull brings. Returns the full SHA."""
        self.write(files)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "Another version")
        return self.git("rev-parse", "HEAD")

    def git(self, *arguments: str) -> str:
        argv = ("git", *IDENTITY, *arguments)
        return subprocess.run(
            argv, cwd=self.path, check=True, capture_output=True, text=True
        ).stdout.strip()

    # The server

    def start(self, *gunicorn: str, options: tuple[str, ...] = (), **variables: str) -> None:
        """Let it serve with two workers, and wait until it does."""
        self.launch(*gunicorn, options=options, **variables)
        self.wait_for_line(r"serve: started \(attempt 1\)")

    def launch(self, *gunicorn: str, options: tuple[str, ...] = (), **variables: str) -> None:
        bind = () if "--bind" in options else ("--bind", "127.0.0.1:0")
        argv = (self.python, "-m", "admin_management.serve", *bind, *options, "--")
        arguments = gunicorn or ("--workers", "2")
        self._server = subprocess.Popen(
            (*argv, "gunicorn", "config.wsgi", *arguments),
            cwd=self.path,
            env=_environ() | measured() | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._listen, daemon=True)
        self._reader.start()

    @property
    def server(self) -> subprocess.Popen[str]:
        assert self._server is not None
        return self._server

    def send(self, number: signal.Signals) -> None:
        self.server.send_signal(number)

    def switch(self) -> None:
        """Have the server take up what is on disk now."""
        self.send(signal.SIGHUP)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Tell it to stop. Returns its exit code, when all of what it said was read."""
        self.send(number)
        return self.wait()

    def wait(self) -> int:
        code = self.server.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code

    def close(self) -> None:
        """End what still runs of it, each process by its own number."""
        if self._server is None:
            return
        running: list[Watched] = []
        if self._server.poll() is None:
            running = [*map(Watched, self.processes())]
            self._server.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._server.wait(3)
            self._server.kill()
            self._server.wait(PATIENCE)
        for each in (*running, *self._watched):
            each.close()
        self._reader.join(PATIENCE)
        assert self._server.stderr is not None
        self._server.stderr.close()

    def watch(self, pid: int) -> Watched:
        watched = Watched(pid)
        self._watched.append(watched)
        return watched

    def masters(self) -> list[int]:
        """The gunicorns of the server."""
        return _children(self.server.pid)

    def generation(self, number: int) -> list[int]:
        """The ``number``-th gunicorn that was started, and its workers."""
        line = self.wait_for_line("Starting gunicorn", number)
        master = int(re.findall(r"\[(\d+)\]", line)[0])
        return [master, *_children(master)]

    def workers(self) -> list[int]:
        return [worker for master in self.masters() for worker in _children(master)]

    def processes(self) -> list[int]:
        return [*self.masters(), *self.workers()]

    # What it says

    def report(self) -> dict[str, Any]:
        report = StateDirectory.of(self.path).serve_report()
        assert report is not None
        return report

    @property
    def port(self) -> int:
        return int(str(self.report()["bind"]).rpartition(":")[2])

    def wait_for_line(self, pattern: str, count: int = 1) -> str:
        """The ``count``-th line that the pattern is found in."""
        with self._said:
            assert self._said.wait_for(
                lambda: len(self._matching(pattern)) >= count or not self._reader.is_alive(),
                PATIENCE,
            )
            found = self._matching(pattern)
        assert len(found) >= count, f"nobody said {pattern!r}:\n" + "".join(self.lines)
        return found[count - 1]

    def conclusions(self) -> list[str]:
        """The result of each attempt."""
        return [line.split()[1] for line in self.lines if re.search(r"^serve: \w+ \(att", line)]

    def _matching(self, pattern: str) -> list[str]:
        return [line for line in self.lines if re.search(pattern, line)]

    def _listen(self) -> None:
        assert self.server.stderr is not None
        for line in self.server.stderr:
            with self._said:
                self.lines.append(line)
                self._said.notify_all()
        with self._said:
            self._said.notify_all()

    # What a visitor gets

    def get(self, path: str = "/", headers: Mapping[str, str] | None = None) -> tuple[int, str]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("GET", path, headers={"Host": "localhost", **(headers or {})})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def page(self) -> str:
        return self.get()[1]

    def identity(self) -> dict[str, Any]:
        """What the health address tells the runner."""
        token = StateDirectory.of(self.path).health_token()
        found: dict[str, Any] = json.loads(self.get("/admin/health/", {"X-Health-Token": token})[1])
        return found


def _children(pid: int) -> list[int]:
    try:
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _environ() -> dict[str, str]:
    """Without the settings of these very tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DJANGO_")}
    return kept | {"PYTHONUNBUFFERED": "1"}
