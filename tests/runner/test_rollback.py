"""After a failure past the pull the site is whole again, as the old version."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from admin_management.runner.checkpoint import Checkpoint
from admin_management.runner.execution import Recorder
from admin_management.runner.journal import Journal, Progress, replay
from admin_management.runner.plan import Plan
from admin_management.runner.recovery import recover
from admin_management.runner.redact import Redactor
from admin_management.runner.site import Site
from tests.conftest import Checkout

from .served import ServedSite, whole

RUNS = [f"{number}0000000-0000-4000-8000-000000000000" for number in range(1, 9)]


@pytest.fixture
def site(checkout: Checkout, tmp_path: Path) -> Iterator[ServedSite]:
    """Version 1 was put live by an update and is served."""
    site = ServedSite(checkout, tmp_path)
    site.prepare()
    with site.served():
        first = site.update(RUNS[0], force=True)
        assert (first.status, first.message) == ("succeeded", first.message), first
        assert site.on_disk() == whole(1)
        yield site


def names(progress: Progress) -> list[str]:
    return [step.name for step in progress.steps]


def test_an_update_moves_everything(site: ServedSite) -> None:
    revision = site.checkout.commit(site.version(2), "Version 2")
    progress = site.update(RUNS[1])
    assert progress.status == "succeeded", progress
    assert site.on_disk() == whole(2)
    assert site.answer()["revision"] == revision
    assert names(progress) == [
        *("preconditions", "fetch", "rehearsal", "pull", "dependencies"),
        *("static_files", "migrations", "restart", "proof", "soak"),
    ]


@pytest.mark.parametrize("command", ["collectstatic", "migrate"])
def test_a_step_that_fails_is_undone(site: ServedSite, command: str) -> None:
    before = site.answer()
    revision = site.checkout.commit(
        site.version(2, **{f"fail_{command}": "", "fail_undo_migrations": ""}), "Version 2"
    )
    progress = site.update(RUNS[1])
    assert progress.status == "rolled_back", progress
    assert "The site is back at " in progress.message
    assert site.on_disk() == whole(1)
    assert site.answer() == before
    assert site.state.live_revision() == before["revision"] != revision


def test_new_processes_that_are_not_healthy_are_undone(site: ServedSite) -> None:
    before = site.answer()
    site.checkout.commit(site.version(2, broken=""), "Version 2")
    progress = site.update(RUNS[1])
    assert (progress.status, progress.failed_step) == ("rolled_back", "proof")
    assert "answers 500" in progress.message
    assert site.on_disk() == whole(1)
    after = site.answer()
    assert {**after, "boot_ticks": 0} == {**before, "boot_ticks": 0}


def test_a_migration_that_cannot_be_reversed_keeps_its_schema(site: ServedSite) -> None:
    site.checkout.commit(site.version(2, broken="", irreversible=""), "Version 2")
    progress = site.update(RUNS[1])
    assert progress.status == "rolled_back"
    assert "the schema of the new revision was kept" in progress.message
    assert site.on_disk() == {**whole(1), "schema": 2}


def test_a_rolled_back_revision_is_not_tried_again(site: ServedSite) -> None:
    site.checkout.commit(site.version(2, broken=""), "Version 2")
    site.update(RUNS[1])
    again = site.update(RUNS[2])
    assert again.status == "failed"
    assert "was rolled back before" in again.message
    assert "rehearsal" not in names(again)
    forced = site.update(RUNS[3], force=True)
    assert forced.status == "rolled_back"
    site.checkout.commit({"version.txt": "3\n"} | site.version(3), "Version 3")
    site.checkout.git("rm", "--quiet", "broken", cwd=site.checkout.author)
    site.checkout.commit({}, "Mended")
    assert site.update(RUNS[4]).status == "succeeded"
    assert site.on_disk() == whole(3)


def test_a_rehearsal_that_fails_changes_nothing(site: ServedSite) -> None:
    before = site.answer()
    site.checkout.commit(site.version(2, fail_rehearse_update=""), "Version 2")
    progress = site.update(RUNS[1])
    assert (progress.status, progress.failed_step) == ("failed", "rehearsal")
    assert "Nothing live was changed." in progress.hint
    assert site.on_disk() == whole(1)
    assert site.answer() == before
    assert not site.state.rehearsal.exists()


def test_what_is_proved_unneeded_is_skipped(site: ServedSite) -> None:
    site.checkout.commit({"version.txt": "2\n"}, "Only code")
    progress = site.update(RUNS[1])
    assert progress.status == "succeeded"
    skipped = [step.name for step in progress.steps if step.status == "skipped"]
    assert skipped == ["dependencies", "static_files", "migrations"]


def go_back(site: ServedSite, **files: str) -> Progress:
    """From version 2, which has a migration more and these files, to version 1."""
    first = site.answer()["revision"]
    site.checkout.commit(site.version(2, **files), "Version 2")
    assert site.update(RUNS[1]).status == "succeeded"
    return site.update(RUNS[2], target=first, reverse_migrations=("app.0002",))


def test_going_back_reverses_migrations_before_the_code_that_can_is_gone(site: ServedSite) -> None:
    progress = go_back(site)
    assert progress.status == "succeeded", progress
    assert progress.message.startswith("Back at: ")
    assert site.on_disk() == whole(1)
    assert site.answer()["schema"] == ["0001"]
    at = names(progress).index("reverse_migrations")
    assert names(progress)[at - 1 : at + 2] == ["rehearsal", "reverse_migrations", "pull"]


def test_going_back_past_an_irreversible_migration_changes_nothing(site: ServedSite) -> None:
    progress = go_back(site, irreversible="")
    assert (progress.status, progress.failed_step) == ("failed", "reverse_migrations")
    assert "one of them cannot be reversed" in progress.message
    assert names(progress)[-1] == "reverse_migrations"
    assert site.on_disk() == whole(2)
    assert site.state.rolled_back() == {}


def test_reversing_that_fails_is_undone_and_blames_no_revision(site: ServedSite) -> None:
    progress = go_back(site, fail_undo_migrations="")
    assert (progress.status, progress.failed_step) == ("rolled_back", "reverse_migrations")
    assert site.on_disk() == whole(2)
    assert site.state.rolled_back() == {}


def test_going_back_that_fails_applies_again_what_it_has_reversed(site: ServedSite) -> None:
    site.checkout.commit(site.version(1, fail_collectstatic=""), "Version 1, and cannot collect")
    bad = site.checkout.revision(site.checkout.author)
    (site.checkout.author / "fail_collectstatic").unlink()
    site.checkout.commit(site.version(2), "Version 2")
    assert site.update(RUNS[1]).status == "succeeded"
    progress = site.update(RUNS[2], target=bad, reverse_migrations=("app.0002",))
    assert (progress.status, progress.failed_step) == ("rolled_back", "static_files")
    assert "redo_migrations" in names(progress)
    assert site.on_disk() == whole(2)
    assert site.answer()["version"] == "2"


def die_after_the_checkpoint(site: ServedSite, plan: Plan, before: str, after: str) -> None:
    """What a run leaves that goes from the one revision to the other, and has changed nothing."""
    site.state.run(plan.run).mkdir()
    plan.write(site.state.run(plan.run) / "plan.json")
    journal = Journal(site.state.journal(plan.run))
    journal.event("started")
    journal.event("revisions", from_revision=before, to_revision=after)
    live = Site(plan, Recorder(journal, Redactor([]), site.checkout.path), site.environ)
    live.to_revision = after
    journal.event("checkpoint", **Checkpoint.of(live, before, ()).facts())
    journal.close()


def test_a_runner_that_dies_before_it_reverses_has_nothing_to_apply_again(site: ServedSite) -> None:
    first = site.answer()["revision"]
    second = site.checkout.commit(site.version(2), "Version 2")
    site.update(RUNS[1])
    plan = site.plan(run=RUNS[2], target=first, reverse_migrations=("app.0002",))
    die_after_the_checkpoint(site, plan, second, first)
    recover(site.state, RUNS[2], site.environ, Redactor([]))
    progress = replay(site.state.journal(RUNS[2]))
    assert progress.status == "interrupted"
    assert {step.name: step.status for step in progress.steps}["redo_migrations"] == "skipped"
    assert site.on_disk() == whole(2)


def test_a_run_that_dies_before_it_pulls_moves_nothing_away(site: ServedSite) -> None:
    first = site.checkout.revision()
    second = site.checkout.commit(site.version(2, **{"notes.txt": "of the new revision\n"}), "2")
    site.checkout.git("fetch", "--quiet")
    die_after_the_checkpoint(site, site.plan(run=RUNS[1]), first, second)
    mine = site.checkout.path / "notes.txt"
    mine.write_text("mine\n")
    recover(site.state, RUNS[1], site.environ, Redactor([]))
    assert replay(site.state.journal(RUNS[1])).status == "interrupted"
    assert mine.read_text() == "mine\n"


def test_going_back_overwrites_nothing_that_git_does_not_track(site: ServedSite) -> None:
    site.checkout.commit(site.version(2, **{"data.txt": "first\n"}), "Version 2")
    site.update(RUNS[1])
    second = site.answer()["revision"]
    site.checkout.git("rm", "--quiet", "data.txt", cwd=site.checkout.author)
    site.checkout.commit(site.version(3), "Version 3")
    site.update(RUNS[2])
    data = site.checkout.path / "data.txt"
    data.write_text("of the site\n")
    progress = site.update(RUNS[3], target=second)
    assert (progress.status, progress.failed_step) == ("rolled_back", "pull")
    assert f"would overwrite files that git does not track: {data}" in progress.message
    assert data.read_text() == "of the site\n"
    data.unlink()
    assert site.on_disk() == whole(3)


def test_going_back_to_a_recorded_revision_moves_everything(site: ServedSite) -> None:
    first = site.answer()["revision"]
    site.checkout.commit(site.version(2), "Version 2")
    site.update(RUNS[1])
    progress = site.update(RUNS[2], target=first)
    assert progress.status == "succeeded", progress
    assert site.answer()["revision"] == first
