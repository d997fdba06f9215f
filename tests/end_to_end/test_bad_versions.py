"""Bad commits, for real: after each the old revision serves, and the run says what happened."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from demo.live_site import PROCESS, LiveSite
from tests.end_to_end.telling import log_of, told
from tests.end_to_end.waiting import finished

pytestmark = [pytest.mark.end_to_end, pytest.mark.xdist_group("live_site")]


class Mended:
    """Commits what a test wants, and takes it back afterwards."""

    def __init__(self, site: LiveSite) -> None:
        self.site = site
        self.before: dict[str, str | None] = {}

    def push(self, files: dict[str, str], message: str) -> str:
        for name in files:
            path = self.site.author / name
            self.before.setdefault(name, path.read_text() if path.exists() else None)
        return self.site.commit(files, message)

    def change(self, name: str, old: str, new: str, message: str) -> str:
        text = (self.site.author / name).read_text()
        assert old in text
        return self.push({name: text.replace(old, new)}, message)

    def take_back(self) -> None:
        if self.before:
            self.site.commit(self.before, "Take it back")


@pytest.fixture
def bad(site: LiveSite) -> Iterator[Mended]:
    """After the test the next update works, and brings a good version."""
    mended = Mended(site)
    yield mended
    mended.take_back()
    run = update(site, force=True)
    assert run["status"] == "succeeded", told(site, run)
    assert run["to_revision"] == site.revision_on_disk()


def update(site: LiveSite, **options: Any) -> dict[str, Any]:
    return finished(site, site.post_json("/admin/update/", options)["id"])


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("config/settings.py", "DEBUG = False", "DEBUG = nothing"),
        ("config/urls.py", "urlpatterns = [", "import nothing_of_that_name\n\nurlpatterns = ["),
        ("attendance/views.py", "    day = ", "    raise ValueError(request)\n    day = "),
    ],
    ids=["settings do not import", "addresses do not import", "answers 500"],
)
def test_code_that_cannot_serve_changes_nothing_live(
    site: LiveSite, bad: Mended, name: str, old: str, new: str
) -> None:
    before = site.page(), site.pm2_process(), site.revision_on_disk()
    bad.change(name, old, new, "Bad code")
    run = update(site)
    assert (run["status"], run["failed_step"]) == ("failed", "rehearsal")
    assert (site.page(), site.pm2_process(), site.revision_on_disk()) == before


def test_a_version_that_dies_during_the_soak_is_rolled_back(site: LiveSite, bad: Mended) -> None:
    before, page = site.revision_on_disk(), site.page()
    dies = (
        "import os, pathlib, signal, sys, threading, time\n\n"
        "def die():\n"
        "    git = pathlib.Path('.git')\n"
        "    head = (git / 'refs/heads/master').read_text().strip()\n"
        "    while head not in (git / 'admin-management/live.json').read_text():\n"
        "        time.sleep(0.05)\n"
        "    os.kill(os.getppid(), signal.SIGKILL)\n\n"
        "if 'gunicorn' in sys.argv[0]:\n"
        "    threading.Thread(target=die, daemon=True).start()\n"
    )
    bad.change(
        "config/wsgi.py",
        "application = get_",
        f"{dies}\napplication = get_",
        "Dies when it was proved",
    )
    run = update(site)
    assert (run["status"], run["failed_step"]) == ("rolled_back", "soak"), told(site, run)
    assert (site.revision_on_disk(), site.page()) == (before, page)
    assert "is back at" in run["message"]
    again = update(site)
    assert again["status"] == "failed"
    assert "was rolled back before" in again["message"]


NON_ATOMIC = """\
from django.db import migrations, models


def fail(apps, schema_editor):
    if "rehearsal" not in str(schema_editor.connection.settings_dict["NAME"]):
        raise RuntimeError("this migration fails half-way")


class Migration(migrations.Migration):
    atomic = {atomic}
    dependencies = [("attendance", "0001_initial")]
    operations = [
        migrations.CreateModel("Half", [("id", models.BigAutoField(primary_key=True))]),
        migrations.RunPython(fail, migrations.RunPython.noop),
        migrations.DeleteModel("Half"),
    ]
"""


def test_an_atomic_migration_that_fails_half_way_leaves_nothing(
    site: LiveSite, bad: Mended
) -> None:
    before = site.revision_on_disk()
    bad.push({"attendance/migrations/0002_half.py": NON_ATOMIC.format(atomic=True)}, "Half")
    run = update(site)
    assert (run["status"], run["failed_step"]) == ("rolled_back", "migrations"), told(site, run)
    assert site.revision_on_disk() == before
    assert "attendance_half" not in site.manage("inspectdb")


def test_a_migration_that_is_not_atomic_is_told_before_and_after(
    site: LiveSite, bad: Mended
) -> None:
    name = "attendance/migrations/0002_half.py"
    bad.push({name: NON_ATOMIC.format(atomic=False)}, "Half, and not atomic")
    run = update(site)
    assert (run["status"], run["failed_step"]) == ("rolled_back", "migrations"), told(site, run)
    assert "not atomic" in run["message"]
    assert "0002_half is not atomic: if it fails half-way, its half stays" in log_of(site, run)
    assert "Attendance on" in site.page()
    site.manage(
        "shell",
        "-c",
        "from django.db import connection as c; c.cursor().execute('DROP TABLE attendance_half')",
    )


IRREVERSIBLE = """\
from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("attendance", "0001_initial")]
    operations = [migrations.RunPython(migrations.RunPython.noop)]
"""


def test_an_irreversible_migration_keeps_its_schema_if_the_old_revision_works_on_it(
    site: LiveSite, bad: Mended
) -> None:
    before = site.revision_on_disk()
    bad.push({"attendance/migrations/0002_forward.py": IRREVERSIBLE}, "Only forward")
    fails = "import sys\n\nif 'gunicorn' in sys.argv[0]:\n    raise RuntimeError('not here')\n"
    bad.change("config/wsgi.py", "application = get_", f"{fails}\napplication = get_", "Fails")
    run = update(site)
    assert run["status"] == "rolled_back", told(site, run)
    assert "a migration cannot be reversed" in run["message"]
    assert site.revision_on_disk() == before
    assert "0002_forward cannot be reversed" in log_of(site, run)
    site.manage(
        "shell",
        "-c",
        "from django.db import connection as c; c.cursor().execute("
        "\"DELETE FROM django_migrations WHERE name = '0002_forward'\")",
    )


def test_a_stale_lock_and_a_dependency_that_does_not_resolve_change_nothing(
    site: LiveSite, bad: Mended
) -> None:
    before = site.page(), site.pm2_process(), site.revision_on_disk()
    bad.change("pyproject.toml", '    "whitenoise",', '    "whitenoise",\n    "six",', "No lock")
    run = update(site)
    assert (run["status"], run["failed_step"]) == ("failed", "rehearsal")
    assert "uv lock" in log_of(site, run)
    bad.take_back()
    lock = (site.author / "uv.lock").read_text()
    broken = re.sub(r"sha256:[0-9a-f]{8}", "sha256:00000000", lock)
    bad.push({"uv.lock": broken}, "Hashes of nothing")
    run = update(site)
    assert (run["status"], run["failed_step"]) == ("failed", "rehearsal"), told(site, run)
    assert (site.page(), site.pm2_process(), site.revision_on_disk()) == before


def test_a_process_that_pm2_does_not_know_stops_at_the_preconditions(
    site: LiveSite, bad: Mended
) -> None:
    site.pm2("delete", PROCESS)
    try:
        done = site.manage_fails("update_server", "--wait")
        assert "PM2 knows no process 'student-attendance-django'" in done
    finally:
        site.start()


def test_a_pm2_that_is_down_stops_at_the_preconditions(site: LiveSite, bad: Mended) -> None:
    site.pm2("kill")
    try:
        done = site.manage_fails("update_server", "--wait")
        assert "No PM2 daemon runs" in done
        assert not (site.pm2_home / "pm2.pid").exists()
    finally:
        site.start()


def test_a_commit_that_is_gone_from_origin_is_not_followed_by_itself(
    site: LiveSite, bad: Mended
) -> None:
    before = site.revision_on_disk()
    site.rewind_origin()
    run = update(site)
    assert (run["status"], run["failed_step"]) == ("failed", "fetch")
    assert "one commit" in run["message"]
    assert site.revision_on_disk() == before
    site.publish()


def test_a_branch_that_is_gone_from_origin_ends_the_run_with_a_sentence(
    site: LiveSite, bad: Mended
) -> None:
    before = site.page()
    site.delete_branch()
    run = update(site)
    assert (run["status"], run["failed_step"]) == ("failed", "fetch")
    assert "couldn't find remote ref" in log_of(site, run)
    assert site.page() == before
    site.publish()
