"""What must hold of a live site after any fault: everything belongs to one revision."""

import json
import sqlite3
import subprocess
from contextlib import closing
from typing import Any

from admin_management.runner.lock import Lock
from demo.live_site import NOTICE, LiveSite

CSS = "attendance/static/attendance/site.css"


def check(site: LiveSite) -> None:
    """I1-I4 of the design, for the moment. Raises AssertionError that says what is not whole."""
    revision = site.revision_on_disk()
    assert site.state.live_revision() == revision, "what is recorded as live is not on disk"
    assert _git(site, "status", "--porcelain") == "", "the work tree is dirty"
    assert _git(site, "show", f"{revision}:{NOTICE}").strip() in site.page(), "another page"
    assert _applied_migrations(site) == _migrations_on_disk(site), "another schema"
    assert _collected_css(site) == (site.checkout / CSS).read_text(), "other static files"
    _check_environment(site)
    lock = Lock.try_acquire(site.state.lock)
    assert lock is not None, "somebody holds the lock"
    lock.release()


def check_status(site: LiveSite, run: dict[str, Any]) -> None:
    """The run says the truth: it succeeded exactly if its revision is what serves."""
    is_live = run["to_revision"] == site.revision_on_disk() != ""
    assert run["finished_at"], "the run has not ended"
    if run["status"] == "succeeded":
        assert is_live, "it claims to have succeeded"
    elif run["to_revision"] != run["from_revision"]:
        # Another run may have gone for the same tip since.
        is_live = is_live and not _succeeded_in_another_run(site, run["to_revision"])
        assert not is_live, f"it is live, and says {run['status']}"
    assert run["status"] != "rollback_failed", run["message"]


def _succeeded_in_another_run(site: LiveSite, revision: str) -> bool:
    runs = site.get_json("/admin/update/?status=succeeded")["results"]
    return any(run["to_revision"] == revision for run in runs)


def _git(site: LiveSite, *arguments: str) -> str:
    argv = ("git", *arguments)
    done = subprocess.run(argv, cwd=site.checkout, check=True, capture_output=True, text=True)
    return done.stdout


def _applied_migrations(site: LiveSite) -> list[str]:
    with closing(sqlite3.connect(site.checkout / "db.sqlite3", timeout=20)) as database:
        query = "SELECT name FROM django_migrations WHERE app = 'attendance' ORDER BY name"
        return [name for (name,) in database.execute(query)]


def _migrations_on_disk(site: LiveSite) -> list[str]:
    folder = site.checkout / "attendance" / "migrations"
    return sorted(path.stem for path in folder.glob("[0-9]*.py"))


def _collected_css(site: LiveSite) -> str:
    collected = site.checkout / "collected"
    manifest = json.loads((collected / "staticfiles.json").read_text())
    return (collected / str(manifest["paths"]["attendance/site.css"])).read_text()


def _check_environment(site: LiveSite) -> None:
    """It imports what the lock file names, in the locked version."""
    lock = (site.checkout / "uv.lock").read_text()
    code = (
        "import sys, importlib.metadata as m; import django; "
        "print(m.version('six') if 'name = \"six\"' in open('uv.lock').read() else '')"
    )
    python = site.checkout / ".venv" / "bin" / "python"
    done = subprocess.run(
        (str(python), "-c", code), cwd=site.checkout, check=True, capture_output=True, text=True
    )
    assert f'version = "{done.stdout.strip()}"' in lock or not done.stdout.strip(), "another six"
