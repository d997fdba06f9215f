"""The main job, with real git, uv, PM2 and gunicorn: a push changes what the site serves."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from admin_management.runner.journal import replay
from demo.live_site import LiveSite
from tests.end_to_end.waiting import finished, wait_for

pytestmark = [pytest.mark.end_to_end, pytest.mark.xdist_group("other_live_site")]

STEPS = [
    "preconditions",
    "fetch",
    "rehearsal",
    "pull",
    "dependencies",
    "static_files",
    "migrations",
    "restart",
    "proof",
    "soak",
]


def journal(site: LiveSite, run: str) -> Path:
    return site.checkout / ".git/admin-management/runs" / run / "journal.jsonl"


def runner_pid(site: LiveSite, run: str) -> int:
    """The pid that the runner wrote into its journal."""
    first_line = journal(site, run).read_text().splitlines()[0]
    return int(__import__("json").loads(first_line)["pid"])


def step_begun(site: LiveSite, run: str, name: str) -> Callable[[], bool]:
    def begun() -> bool:
        return any(step.name == name for step in replay(journal(site, run)).steps)

    return begun


def runs(site: LiveSite) -> list[dict[str, Any]]:
    listing: list[dict[str, Any]] = site.get_json("/admin/update/")["results"]
    return listing


def test_a_signed_push_changes_what_the_site_serves(site: LiveSite) -> None:
    revision = site.change_text("Served after a push")
    status, answer = site.push_event(revision)
    assert status == 202
    run = finished(site, answer["run"])
    assert (run["status"], run["message"]) == ("succeeded", run["message"])
    assert "Served after a push" in site.page()
    assert (run["trigger"], run["to_revision"]) == ("webhook", revision)
    assert [step["name"] for step in run["steps"]] == STEPS
    assert {step["status"] for step in run["steps"]} <= {"succeeded", "skipped"}


def test_the_same_delivery_again_leads_to_the_same_run(site: LiveSite) -> None:
    revision = site.change_text("Delivered twice")
    _, first = site.push_event(revision, delivery="00000000-0000-4000-8000-000000000001")
    status, second = site.push_event(revision, delivery="00000000-0000-4000-8000-000000000001")
    assert (status, second["run"]) == (200, first["run"])
    finished(site, first["run"])


def test_the_two_curl_lines_of_the_readme_work_as_they_stand(site: LiveSite) -> None:
    cookie = f"Cookie: sessionid={site.session}"

    def curl(*argv: str) -> str:
        done = subprocess.run(
            ("curl", "--silent", "--fail", *argv), check=True, capture_output=True, text=True
        )
        return done.stdout

    site.change_text("Asked for with curl")
    answer = curl(
        *("-X", "POST", f"{site.url}/admin/update/"),
        *("-H", cookie, "-H", "Content-Type: application/json"),
    )
    run = finished(site, __import__("json").loads(answer)["id"])
    assert (run["status"], run["trigger"]) == ("succeeded", "api")
    assert "Asked for with curl" in site.page()
    assert '"branch":"master"' in curl("-X", "GET", f"{site.url}/admin/status/", "-H", cookie)


def test_nothing_new_ends_after_the_fetch_and_restarts_nothing(site: LiveSite) -> None:
    before = site.pm2_process()
    run = finished(site, site.post_json("/admin/update/")["id"])
    assert run["message"].startswith("Already up to date")
    assert [step["name"] for step in run["steps"]] == ["preconditions", "fetch"]
    assert site.pm2_process() == before


def test_a_push_during_a_run_is_deployed_by_exactly_one_following_run(site: LiveSite) -> None:
    first = site.post_json("/admin/update/", {"force": True})["id"]
    wait_for(step_begun(site, first, "dependencies"))
    revision = site.change_text("Pushed during a run")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: site.push_event(revision), range(16)))
    assert {status for status, _ in answers} == {202}
    (second,) = {answer["run"] for _, answer in answers}
    assert second != first
    assert finished(site, first)["status"] == "succeeded"
    assert finished(site, second)["status"] == "succeeded"
    assert [run["id"] for run in runs(site)[:2]] == [second, first]
    assert "Pushed during a run" in site.page()


def test_the_runner_survives_the_restart_that_it_causes(site: LiveSite) -> None:
    """PM2 itself restarts the whole process tree of the site while a run is under way."""
    run = site.post_json("/admin/update/", {"force": True})["id"]
    wait_for(step_begun(site, run, "fetch"))
    site.pm2("restart", "student-attendance-django")
    ended = finished(site, run)
    assert (ended["status"], ended["failed_step"]) == ("succeeded", "")


def test_a_killed_runner_leaves_an_interrupted_run_and_a_next_update_that_works(
    site: LiveSite,
) -> None:
    before = site.page()
    site.change_text("After a killed runner")
    first = site.post_json("/admin/update/", {"force": True})["id"]
    wait_for(step_begun(site, first, "static_files"))
    os.kill(runner_pid(site, first), signal.SIGKILL)
    interrupted = finished(site, first)
    assert interrupted["status"] == "interrupted"
    last_begun = [step["name"] for step in interrupted["steps"] if step["status"] == "interrupted"]
    assert last_begun == [interrupted["failed_step"]]
    assert site.page() == before
    second = finished(site, site.post_json("/admin/update/")["id"])
    assert second["status"] == "succeeded"
    assert "After a killed runner" in site.page()


def test_a_failing_migration_names_the_step_and_leaves_the_old_revision_serving(
    site: LiveSite,
) -> None:
    before = site.page()
    site.commit(site.failing_migration(), "A migration that cannot work")
    run = finished(site, site.post_json("/admin/update/")["id"])
    assert (run["status"], run["failed_step"]) == ("failed", "rehearsal")
    assert "Nothing live was changed" in run["hint"]
    assert site.page() == before
    log = site.get_json(f"/admin/update/{run['id']}/log/")
    assert "this migration cannot work" in log["output"]
    assert log["next"] is None
    # and on from there
    site.commit(dict.fromkeys(site.failing_migration()), "Without it")
    site.change_text("After a failed migration")
    assert finished(site, site.post_json("/admin/update/")["id"])["status"] == "succeeded"
    assert "After a failed migration" in site.page()


def test_a_command_waits_and_exits_as_the_run_did(site: LiveSite) -> None:
    site.change_text("Asked for by a command")
    done = site.manage("update_server", "--wait", "--reason", "by hand")
    assert "✓ restart succeeded" in done
    assert "Asked for by a command" in site.page()
    assert runs(site)[0]["reason"] == "by hand"


def test_a_plain_environment_was_taken_over_by_the_first_run(site: LiveSite) -> None:
    environment = site.checkout / ".venv"
    assert environment.is_symlink()
    assert environment.resolve().parent.name == "environments"


def test_the_checkout_stays_clean(site: LiveSite) -> None:
    done = subprocess.run(
        ("git", "status", "--porcelain"),
        cwd=site.checkout,
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout == ""


def test_the_script_restarts_by_hand(site: LiveSite) -> None:
    script = Path(__file__).parents[2] / "restart_server.sh"
    done = subprocess.run(
        (str(script),), env=site.environ, check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("restarted student-attendance-django (SIGHUP)")
    assert sys.platform == "linux"
