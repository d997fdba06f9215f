"""A site that is served, as far as an update can tell: real git, and fast stand-ins for the rest.

``uv`` makes an environment of a folder and a link, ``manage.py`` keeps its schema in a file, and
``standin.py`` serves. What they do takes milliseconds, so that a run can be tried at every point.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from admin_management.conf import AdminManagementSettings
from admin_management.runner.journal import Journal, Progress, replay
from admin_management.runner.pipeline import perform
from admin_management.runner.plan import PYTHON, Health, Plan, Rehearsal
from admin_management.runner.redact import Redactor
from admin_management.runner.state import StateDirectory
from admin_management.steps import Tools, ordered_steps
from tests.conftest import Checkout

from .conftest import GIT, RUN, program

MANAGE = """\
import json, pathlib, sys
command, words = sys.argv[1], sys.argv[2:]
here = pathlib.Path(__file__).resolve().parent
top = pathlib.Path(@CHECKOUT@)
schema = top / ".git" / "schema"
static = top / "collected.txt"
wanted = (here / "migrations.txt").read_text().split()
applied = schema.read_text().split() if schema.exists() else []
if (here / f"fail_{command}").exists():
    sys.exit(f"{command} does not work")
if command == "rehearse_update":
    missing = [["app", name] for name in wanted if name not in applied]
    digest = (here / "static.txt").read_text()
    facts = {"migrations": missing, "static_files": digest, "notes": []}
    pathlib.Path(words[-1]).write_text(json.dumps(facts))
elif command == "collectstatic":
    static.write_text((here / "static.txt").read_text())
elif command == "migrate":
    schema.write_text(" ".join(dict.fromkeys(applied + wanted)))
    if (here / "fail_after_migrate").exists():
        sys.exit("the migration half failed")
elif command == "undo_migrations":
    undone = [word.split(".", 1)[1] for word in words]
    if (here / "irreversible").exists():
        sys.exit(3)
    schema.write_text(" ".join(name for name in applied if name not in undone))
"""

UV = """\
mkdir -p "$UV_PROJECT_ENVIRONMENT/bin"
ln -sfn @PYTHON@ "$UV_PROJECT_ENVIRONMENT/bin/python"
cp uv.lock "$UV_PROJECT_ENVIRONMENT/uv.lock"
echo "home = here" > "$UV_PROJECT_ENVIRONMENT/pyvenv.cfg"
"""


@dataclass
class ServedSite:
    """The site, and what one does to it and sees of it."""

    checkout: Checkout
    folder: Path
    port: int = 0

    @property
    def state(self) -> StateDirectory:
        return StateDirectory.of(self.checkout.path)

    @property
    def pm2_home(self) -> Path:
        return self.folder / "pm2-home"

    @property
    def environ(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "PM2_HOME": str(self.pm2_home),
        }

    def version(self, number: int, **others: str) -> dict[str, str]:
        """The files of a version: everything that an update moves belongs to its number."""
        names = " ".join(f"{each:04}" for each in range(1, number + 1))
        return {
            "version.txt": f"{number}\n",
            "uv.lock": f"{number}\n",
            "migrations.txt": f"{names}\n",
            "static.txt": f"static of {number}\n",
            **others,
        }

    def prepare(self) -> None:
        """The first version, whole and live, not served yet."""
        manage = MANAGE.replace("@CHECKOUT@", repr(str(self.checkout.path)))
        ignored = ".venv\n.venv.new\n__pycache__/\ncollected.txt\n"
        first = {"manage.py": manage, "pyproject.toml": "", ".gitignore": ignored}
        self.checkout.commit(self.version(1) | first, "Version 1")
        self.checkout.git("pull", "--quiet")
        (self.pm2_home / "pids").mkdir(parents=True)
        (self.pm2_home / "pm2.pid").write_text(f"{os.getpid()}\n")
        self.state.create()
        program(self.folder / "uv", UV.replace("@PYTHON@", sys.executable))
        program(self.folder / "pm2", "exit 1")
        program(
            self.folder / "restart.sh",
            f'kill -HUP "$(cat {self.pm2_home}/pids/site-0.pid)"',
        )

    @contextmanager
    def served(self) -> Iterator[None]:
        """While the stand-in serves it; it is ended after that."""
        pid_file = self.pm2_home / "pids" / "site-0.pid"
        script = Path(__file__).with_name("standin.py")
        argv = (sys.executable, "-S", str(script), "HOLDER")
        paths = (str(self.checkout.path), str(self.state.path), str(pid_file))
        with subprocess.Popen((*argv, *paths), stdout=subprocess.PIPE) as holder:
            assert holder.stdout is not None
            self.port = int(holder.stdout.readline())
            try:
                yield
            finally:
                holder.terminate()
                holder.wait()

    def plan(self, **changes: Any) -> Plan:
        tools = Tools(
            git=GIT,
            uv=str(self.folder / "uv"),
            pm2=str(self.folder / "pm2"),
            restart_script=str(self.folder / "restart.sh"),
        )
        conf = AdminManagementSettings(
            checkout=self.checkout.path,
            pm2_process="site",
            timeouts={
                **dict.fromkeys(("fetch", "pull", "dependencies", "migrations", "restart"), 20),
                **dict.fromkeys(("rehearsal", "static_files"), 20),
                "proof": 3,
                "soak": 0.05,
            },
        )
        facts: dict[str, Any] = {
            "run": RUN,
            "force": False,
            "checkout": str(self.checkout.path),
            "state_directory": str(self.state.path),
            "remote": "origin",
            "branch": "master",
            "environment": str(self.checkout.path / ".venv"),
            "base_python": sys.executable,
            "git": tools.git,
            "uv": tools.uv,
            "pm2": tools.pm2,
            "pm2_process": "site",
            "steps": ordered_steps(conf, tools),
            "prove_environment": (PYTHON, "manage.py", "check"),
            "undo_migrations": (PYTHON, "manage.py", "undo_migrations"),
            "settle": ("true",),
            "rehearsal": Rehearsal(),
            "health": Health(addresses=("/admin/health/",), headers={"Host": "localhost"}),
        }
        return Plan(**facts | changes)

    def update(self, run: str = RUN, **changes: Any) -> Progress:
        """Perform an update in this process."""
        plan = self.plan(run=run, **changes)
        self.state.run(run).mkdir()
        plan.write(self.state.run(run) / "plan.json")
        journal = Journal(self.state.journal(run), self.state.ballast)
        perform(plan, journal, self.environ, Redactor([]))
        journal.close()
        return replay(self.state.journal(run))

    def answer(self) -> dict[str, Any]:
        """What the served site says of itself."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("GET", "/")
        facts: dict[str, Any] = json.loads(connection.getresponse().read())
        connection.close()
        return facts

    def on_disk(self) -> dict[str, Any]:
        """Everything that must belong to one version, as its number."""
        path = self.checkout.path
        schema = (path / ".git" / "schema").read_text().split()
        return {
            "tree": int((path / "version.txt").read_text()),
            "environment": int((path / ".venv" / "uv.lock").read_text()),
            "schema": len(schema),
            "static files": int((path / "collected.txt").read_text().split()[-1]),
            "clean": self.checkout.git("status", "--porcelain"),
        }


def whole(number: int) -> dict[str, Any]:
    """What is on disk when all of it belongs to one version."""
    return {
        "tree": number,
        "environment": number,
        "schema": number,
        "static files": number,
        "clean": "",
    }
