"""A live site of our own: a bare origin, a clone of it under PM2, and all that one does to them.

Everything lies in one folder and on one loopback port. ``stop()`` ends what was started here and
nothing else: the site has a PM2 daemon of its own.
"""

import hashlib
import hmac
import json
import os
import re
import secrets
import shutil
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, OpenerDirector, Request, build_opener

from admin_management.runner.state import StateDirectory

from .tools import FAILURE, CannotBeginError, Toolbox, pinned_requirements, progress, run

TEMPLATE = Path(__file__).parent / "site"
PROCESS = "student-attendance-django"
STAFF = "teacher"
REPOSITORY = "example/student-attendance"
NOTICE = "attendance/templates/attendance/notice.html"

GUNICORN = "gunicorn config.wsgi --workers 2"

SLOWEST_START = 60
"""Seconds until a new gunicorn must be good: a demo's machine does other things too."""

PATIENCE = 30.0
"""Seconds until a request without an answer, or a runner that does not end, is given up."""

IDENTITY = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in {"NAME": "A developer", "EMAIL": "developer@example.com"}.items()
}


def _private_folder() -> Path:
    # PM2's sockets must fit in 107 characters, so its home is not below the site's folder.
    return Path(tempfile.mkdtemp(prefix="pm2-"))


@dataclass(slots=True)
class LiveSite:
    """The site. ``create()`` and ``start()`` it, then use it; ``stop()`` it in the end."""

    folder: Path
    port: int
    toolbox: Toolbox
    pm2_home: Path = field(default_factory=_private_folder)
    password: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    webhook_secret: str = field(default_factory=lambda: secrets.token_hex(32))
    _browser: OpenerDirector = field(init=False)
    _cookies: CookieJar = field(default_factory=CookieJar)

    def __post_init__(self) -> None:
        self._browser = build_opener(HTTPCookieProcessor(self._cookies))

    # Where things are

    @property
    def origin(self) -> Path:
        return self.folder / "origin.git"

    @property
    def author(self) -> Path:
        """The clone in which a developer works."""
        return self.folder / "developer"

    @property
    def checkout(self) -> Path:
        """The clone that is live."""
        return self.folder / "live"

    @property
    def state(self) -> StateDirectory:
        return StateDirectory.of(self.checkout)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environ(self) -> dict[str, str]:
        """The variables of whoever administers the site: its tools and its PM2."""
        kept = {
            name: value
            for name, value in self.toolbox.environ().items()
            if not name.startswith(("DJANGO_", "PYTEST_", "COV_", "PM2_", "VIRTUAL_ENV"))
        }
        return kept | IDENTITY | {"PM2_HOME": str(self.pm2_home)}

    # Making it

    def create(self) -> None:
        """Write the repositories, the environment and the database."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self._git("init", "--quiet", "--bare", "-b", "master", str(self.origin))
        self._git("clone", "--quiet", str(self.origin), str(self.author))
        with progress("Building this package"):
            self.toolbox.build_wheel(self.author / "wheels")
        with progress("Locking the site's dependencies"):
            self._write_first_version()
        self._git("clone", "--quiet", str(self.origin), str(self.checkout))
        self._write_secrets()
        with progress("Building its environment"):
            self._run(self.toolbox.uv, "sync", "--locked", "--no-dev", "--python", sys.executable)
        with progress("Preparing its database and static files"):
            self.manage("migrate", "--verbosity", "0")
            self.manage("collectstatic", "--noinput", "--verbosity", "0")
            self.manage("createsuperuser", "--noinput")

    def _write_first_version(self) -> None:
        shutil.copytree(TEMPLATE, self.author, dirs_exist_ok=True)
        # uv build leaves one, so that nobody commits what it built; here that is the point.
        (self.author / "wheels" / ".gitignore").unlink(missing_ok=True)
        (wheel,) = (self.author / "wheels").glob("*.whl")
        project = self.author / "pyproject.toml"
        pins = json.dumps(_pins(), indent=4)
        source = f'django-admin-management = {{ path = "wheels/{wheel.name}" }}'
        additions = f"constraint-dependencies = {pins}\n\n[tool.uv.sources]\n{source}\n"
        # The pins are those of this Python; a lock for older ones might have no answer.
        this = f'requires-python = ">={sys.version_info.major}.{sys.version_info.minor}"'
        text = project.read_text(encoding="utf-8").replace('requires-python = ">=3.11"', this)
        project.write_text(text + additions, encoding="utf-8")
        self.lock_dependencies()
        self._publish("The first version")

    def _write_secrets(self) -> None:
        path = self.checkout / ".env"
        path.touch(mode=0o600)
        path.write_text(
            f"SECRET_KEY={secrets.token_urlsafe(50)}\n"
            f"GITHUB_WEBHOOK_SECRET={self.webhook_secret}\n",
            encoding="utf-8",
        )

    def start(self) -> None:
        """Let PM2 run the site, and wait until it answers. Signs the staff member in."""
        declaration = self.folder / "pm2.json"
        options = f"--bind 127.0.0.1:{self.port} --timeout {SLOWEST_START}"
        app = {
            "name": PROCESS,
            "cwd": str(self.checkout),
            "script": str(self.checkout / ".venv" / "bin" / "python"),
            "interpreter": "none",
            "args": f"-m admin_management.serve {options} -- {GUNICORN}",
            "treekill": False,
            "kill_timeout": 35_000,
        }
        declaration.write_text(json.dumps({"apps": [app]}), encoding="utf-8")
        self.pm2("start", str(declaration))
        self._wait_until_it_answers()
        self._sign_in()

    def stop(self) -> None:
        """End the update that may be going on, the site, and its PM2. Harmless the second time."""
        self._end_runner()
        if (self.pm2_home / "pm2.pid").exists():
            # Not in the checkout, which somebody may have removed.
            self._run(self.toolbox.pm2, "kill", "--silent", cwd=Path("/"))
        shutil.rmtree(self.pm2_home, ignore_errors=True)

    def _end_runner(self) -> None:
        """Tell a runner to stop, and wait until it and its last act are gone."""
        deadline = time.monotonic() + PATIENCE
        while (runners := self._runners()) and time.monotonic() < deadline:
            for pid in runners:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
            time.sleep(0.1)

    def _runners(self) -> list[int]:
        """The processes that work in the live checkout, but for the server."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                words = path.read_bytes()
                is_runner = b"admin_management.runner" in words or b"settle_runs" in words
                if is_runner and str(self.checkout).encode() in words:
                    found.append(int(path.parent.name))
        return found

    # What a developer does

    def commit(self, files: Mapping[str, str | None], message: str) -> str:
        """Commit files, deleting those whose text is None, and push. Returns the full SHA."""
        for name, text in files.items():
            path = self.author / name
            if text is None:
                path.unlink(missing_ok=True)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
        return self._publish(message)

    def lock_dependencies(self) -> None:
        """Write ``uv.lock`` anew, for the next commit."""
        self._run(self.toolbox.uv, "lock", "--python", sys.executable, cwd=self.author)

    def change_text(self, text: str) -> str:
        """Change what the first page says."""
        return self.commit({NOTICE: f"{text}\n"}, f"Say: {text}")

    @staticmethod
    def failing_migration() -> dict[str, str]:
        """A migration that cannot work, as files to commit."""
        text = (
            "from django.db import migrations\n\n\n"
            "def fail(apps, schema_editor):\n"
            '    raise RuntimeError("this migration cannot work")\n\n\n'
            "class Migration(migrations.Migration):\n"
            '    dependencies = [("attendance", "0001_initial")]\n'
            "    operations = [migrations.RunPython(fail)]\n"
        )
        return {"attendance/migrations/0002_fail.py": text}

    def publish(self) -> None:
        """Push the developer's commits."""
        self._git("push", "--quiet", "--force", "origin", "HEAD:master", cwd=self.author)

    def rewind_origin(self) -> None:
        """Take the newest commit back from origin, as a forced push does."""
        self._git("push", "--quiet", "--force", "origin", "HEAD~1:master", cwd=self.author)

    def delete_branch(self) -> None:
        self._git("branch", "-D", "master", cwd=self.origin)

    def revision_on_disk(self) -> str:
        return self._git("rev-parse", "HEAD", cwd=self.checkout).strip()

    def _publish(self, message: str) -> str:
        self._git("add", "--all", cwd=self.author)
        self._git("commit", "--quiet", "--message", message, cwd=self.author)
        self.publish()
        return self._git("rev-parse", "HEAD", cwd=self.author).strip()

    # What GitHub does

    def push_event(self, revision: str, *, delivery: str = "") -> tuple[int, dict[str, Any]]:
        """Send the ``push`` event as GitHub signs it. Returns the status and the answer."""
        before = self._git("rev-parse", f"{revision}^", cwd=self.author).strip()
        delivery = delivery or str(uuid.uuid4())
        payload = {
            "ref": "refs/heads/master",
            "before": before,
            "after": revision,
            "deleted": False,
            # GitHub writes a time here, so no two pushes have the same body.
            "repository": {"full_name": REPOSITORY, "pushed_at": delivery},
            "sender": {"login": "octocat"},
        }
        body = json.dumps(payload).encode()
        digest = hmac.new(self.webhook_secret.encode(), body, hashlib.sha256).hexdigest()
        headers = {
            "Content-Type": "application/json",
            "X-GitHub-Event": "push",
            "X-GitHub-Delivery": delivery,
            "X-Hub-Signature-256": f"sha256={digest}",
        }
        return self._send(Request(f"{self.url}/webhooks/github/", body, headers))

    # What a visitor, a staff member and an administrator do

    def page(self) -> str:
        """The first page as anybody sees it."""
        with build_opener().open(f"{self.url}/", timeout=PATIENCE) as answer:
            return str(answer.read().decode())

    @property
    def session(self) -> str:
        """The session cookie's value of the signed-in staff member."""
        (value,) = (cookie.value for cookie in self._cookies if cookie.name == "sessionid")
        return str(value)

    def get_json(self, path: str) -> dict[str, Any]:
        """Ask the API, signed in. A server that restarts right now is asked again."""
        request = Request(f"{self.url}{path}", headers={"Accept": "application/json"})
        deadline = time.monotonic() + 4 * PATIENCE
        while True:
            try:
                return self._send(request)[1]
            except (OSError, HTTPException):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def post_json(self, path: str, data: Mapping[str, object] | None = None) -> dict[str, Any]:
        body = json.dumps(data or {}).encode()
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        return self._send(Request(f"{self.url}{path}", body, headers))[1]

    def manage(self, *arguments: str) -> str:
        """Run ``manage.py`` of what is live now. Returns what it printed."""
        python = self.checkout / ".venv" / "bin" / "python"
        account = {
            "DJANGO_SUPERUSER_USERNAME": STAFF,
            "DJANGO_SUPERUSER_EMAIL": "teacher@example.com",
            "DJANGO_SUPERUSER_PASSWORD": self.password,
        }
        environ = self.environ | (account if arguments[0] == "createsuperuser" else {})
        return self._run(python, "manage.py", *arguments, environ=environ)

    def manage_fails(self, *arguments: str) -> str:
        """What a command that fails has said."""
        try:
            self.manage(*arguments)
        except CannotBeginError:
            return FAILURE.read_text(encoding="utf-8")
        raise AssertionError(f"{arguments[0]} did not fail")

    def pm2(self, *arguments: str) -> str:
        return self._run(self.toolbox.pm2, *arguments, "--silent", "--no-color")

    def shell(self, line: str) -> str:
        """Run a line of shell in the live checkout, as an administrator would."""
        return self._run("sh", "-c", line)

    def pm2_process(self) -> tuple[int, int]:
        """The pid of the site's process, and how often PM2 has restarted it."""
        (process,) = json.loads(self.pm2("jlist"))
        return process["pid"], process["pm2_env"]["restart_time"]

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + SLOWEST_START + PATIENCE
        while time.monotonic() < deadline:
            with suppress(OSError):
                self.page()
                return
            time.sleep(0.1)
        raise CannotBeginError(
            f"The site does not answer at {self.url}. What it said is in {self.pm2_home}/logs"
        )

    def _sign_in(self) -> None:
        address = f"{self.url}/admin/login/"
        with self._browser.open(address, timeout=PATIENCE) as answer:
            token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', answer.read().decode())
        assert token is not None, "the login page has no form"
        form = {
            "csrfmiddlewaretoken": token[1],
            "username": STAFF,
            "password": self.password,
            "next": "/admin/status/",
        }
        self._browser.open(address, urlencode(form).encode(), timeout=PATIENCE).close()

    def _send(self, request: Request) -> tuple[int, dict[str, Any]]:
        try:
            with self._browser.open(request, timeout=PATIENCE) as answer:
                return answer.status, json.load(answer)
        except HTTPError as answer:
            with answer:
                return answer.code, json.load(answer)

    def _git(self, *arguments: str, cwd: Path | None = None) -> str:
        return self._run("git", *arguments, cwd=cwd or self.folder)

    def _run(
        self, *argv: str | Path, cwd: Path | None = None, environ: dict[str, str] | None = None
    ) -> str:
        return run(
            argv,
            cwd=cwd or self.checkout,
            environ=environ or self.environ,
            advice="The demo's site needs it.",
        )


def _pins() -> list[str]:
    """The tested versions, so that the site gets the same ones."""
    text = pinned_requirements().read_text(encoding="utf-8")
    return re.findall(r"^([\w.\[\]-]+==[^\s;\\]+)", text, re.MULTILINE)
