"""Trying a revision beside the live site, as far as the runner does it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from admin_management.runner import rehearsal as rehearsal_module
from admin_management.runner.dependencies import Dependencies
from admin_management.runner.execution import StepFailedError
from admin_management.runner.plan import Rehearsal
from admin_management.runner.rehearsal import Report, rehearse
from admin_management.runner.site import Site as RunnersSite
from tests.runner.conftest import Site, program

UV = """\
mkdir -p "$UV_PROJECT_ENVIRONMENT/bin"
echo made > "$UV_PROJECT_ENVIRONMENT/pyvenv.cfg"
cp "$HOME/python" "$UV_PROJECT_ENVIRONMENT/bin/python"
"""

FOUND: dict[str, Any] = {
    "migrations": [["app", "0002_more"]],
    "static_files": "a digest",
    "notes": ["app.0002_more cannot be reversed", "and another thing"],
}

# The report is the last word.
PYTHON = """\
pwd > "$HOME/where"; cat version.txt > "$HOME/version"; echo "$0 $@" > "$HOME/argv"
ls -l .env conf > "$HOME/links" 2>&1
echo $SITE_VARIABLE
for report; do :; done
cp "$HOME/found" "$report"
[ ! -e fail ]
"""


@pytest.fixture
def home(site: Site, tmp_path: Path) -> Path:
    program(Path(site.plan.uv), UV)
    program(tmp_path / "python", PYTHON)
    (tmp_path / "found").write_text(json.dumps(FOUND))
    return tmp_path


@pytest.fixture
def ready(site: Site, home: Path) -> Iterator[RunnersSite]:
    """The commit to be tried has been fetched."""
    with at_work(site) as runners_site:
        yield runners_site


def at_work(site: Site, **changes: Any) -> Any:
    site.checkout.commit({"version.txt": "2\n"})
    site.checkout.git("fetch", "--quiet")
    return site.at_work(**{"rehearsal": Rehearsal()} | changes)


def perform(site: RunnersSite) -> Report:
    site.to_revision = site.repository.revision("refs/remotes/origin/master")
    step, dependencies = site.step("rehearsal"), site.step("dependencies")
    assert step is not None
    assert dependencies is not None
    assert site.plan.rehearsal is not None
    return rehearse(site, step, site.plan.rehearsal, Dependencies(site, dependencies))


def remembered_trees(site: Site) -> int:
    return site.checkout.git("worktree", "list", "--porcelain").count("worktree ")


def test_the_fetched_commit_is_tried_beside_the_live_site(
    ready: RunnersSite, site: Site, home: Path
) -> None:
    report = perform(ready)
    assert report == Report(
        migrations=(("app", "0002_more"),), static_files="a digest", notes=tuple(FOUND["notes"])
    )
    assert (home / "version").read_text() == "2\n"
    assert (site.checkout.path / "version.txt").read_text() == "1\n"
    assert Path((home / "where").read_text().strip()).parent == site.state.rehearsal
    (built,) = site.state.environments.iterdir()
    assert (home / "argv").read_text() == (
        f"{built}/bin/python manage.py rehearse_update --static-root  --static-files  "
        f"--folder {site.state.rehearsal} --report {ready.folder}/rehearsal.json\n"
    )
    (step,) = site.progress().steps
    assert (step.status, step.message) == ("succeeded", "; ".join(FOUND["notes"]))
    assert "of the site\n" in step.output


def test_the_work_tree_is_thrown_away(ready: RunnersSite, site: Site) -> None:
    perform(ready)
    assert not site.state.rehearsal.exists()
    assert site.checkout.git("status", "--porcelain") == ""


def test_the_work_tree_is_thrown_away_after_a_failure_too(
    ready: RunnersSite, site: Site, home: Path
) -> None:
    program(home / "python", "echo does not import; exit 1")
    with pytest.raises(StepFailedError, match="exit code 1") as raised:
        perform(ready)
    assert "Nothing live was changed." in raised.value.hint
    assert not site.state.rehearsal.exists()
    (step,) = site.progress().steps
    assert (step.status, step.output) == ("failed", "does not import\n")


def test_what_a_killed_rehearsal_has_left_is_no_obstacle(ready: RunnersSite, site: Site) -> None:
    for name in (ready.plan.run, "another"):
        tree = site.state.rehearsal / name
        site.checkout.git("worktree", "add", "--quiet", "--detach", str(tree), "HEAD")
    (ready.folder / "rehearsal.json").write_text("from before")
    assert perform(ready).static_files == "a digest"
    assert not site.state.rehearsal.exists()
    assert remembered_trees(site) == 2


def test_a_report_that_is_missing_is_not_taken_from_before(ready: RunnersSite, home: Path) -> None:
    (ready.folder / "rehearsal.json").write_text(json.dumps(FOUND))
    program(home / "python", "true")
    with pytest.raises(FileNotFoundError):
        perform(ready)


def test_files_that_a_site_needs_are_linked(site: Site, home: Path) -> None:
    (site.checkout.path / ".env").write_text("SECRET=1")
    (site.checkout.path / "conf").mkdir()
    (site.checkout.path / "conf" / "local.toml").write_text("local")
    linked = (".env", "conf/local.toml", "version.txt", "missing")
    with at_work(site, rehearsal=Rehearsal(linked_files=linked)) as runners_site:
        perform(runners_site)
    links = (home / "links").read_text()
    assert f".env -> {site.checkout.path}/.env\n" in links
    assert f"local.toml -> {site.checkout.path}/conf/local.toml\n" in links
    # What the commit itself has comes first.
    assert (home / "version").read_text() == "2\n"
    assert (site.checkout.path / ".env").read_text() == "SECRET=1"


def test_databases_are_named(site: Site, home: Path) -> None:
    databases = {"default": "/srv/db.sqlite3", "other": "/srv/o=1.sqlite3"}
    with at_work(site, rehearsal=Rehearsal(databases=databases)) as runners_site:
        perform(runners_site)
    assert (
        "rehearse_update --database default=/srv/db.sqlite3 --database other=/srv/o=1.sqlite3 --"
        in (home / "argv").read_text()
    )


def test_a_site_below_the_top_of_the_work_tree_is_tried_where_it_is(site: Site, home: Path) -> None:
    below = site.checkout.path / "web"
    below.mkdir()
    (below / ".env").touch()
    site.checkout.commit({"web/version.txt": "of the web\n"})
    rehearsal = Rehearsal(linked_files=(".env",))
    with at_work(site, checkout=str(below), rehearsal=rehearsal) as runners_site:
        program(home / "python", PYTHON)
        perform(runners_site)
    assert (home / "where").read_text().strip().endswith(f"rehearsal/{site.plan.run}/web")
    assert (home / "version").read_text() == "of the web\n"
    assert f".env -> {below}/.env\n" in (home / "links").read_text()


def test_a_disk_without_room_is_found_first(
    ready: RunnersSite, site: Site, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.setattr(rehearsal_module, "ROOM", 2**60)
    with pytest.raises(StepFailedError, match=r"^The disk has \d+ MB free; trying") as raised:
        perform(ready)
    assert "Nothing was changed." in raised.value.hint
    assert not (home / "where").exists()


def test_the_copies_of_databases_need_room_too(
    site: Site, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehearsal_module, "ROOM", 0)
    with open(tmp_path / "large.sqlite3", "wb") as file:
        file.truncate(2**43)
    databases = {"default": str(tmp_path / "large.sqlite3"), "other": "/nowhere"}
    with at_work(site, rehearsal=Rehearsal(databases=databases)) as runners_site:
        # One that is too large is not copied.
        perform(runners_site)
        monkeypatch.setattr(rehearsal_module, "LARGEST_COPY", 2**43)
        with pytest.raises(StepFailedError, match=f"needs {2 * 2**43 // 2**20} MB"):
            perform(runners_site)
