"""Where a run keeps its files."""

import os
import stat
from pathlib import Path

import pytest

from admin_management.runner.state import (
    NotAGitCheckoutError,
    StateDirectory,
    git_directory,
    private,
)
from tests.conftest import Checkout


@pytest.fixture
def state(checkout: Checkout) -> StateDirectory:
    state = StateDirectory.of(checkout.path)
    state.create()
    return state


def test_it_is_inside_the_git_directory(checkout: Checkout, state: StateDirectory) -> None:
    assert state.path == checkout.path / ".git" / "admin-management"
    assert state.path.is_dir()


def test_it_does_not_make_the_tree_dirty(checkout: Checkout, state: StateDirectory) -> None:
    (state.path / "anything").touch()
    assert checkout.git("status", "--porcelain", "--ignored") == ""


def test_a_folder_below_the_work_tree_finds_it_too(checkout: Checkout) -> None:
    below = checkout.path / "mysite" / "settings"
    below.mkdir(parents=True)
    assert git_directory(below) == checkout.path / ".git"


def test_a_linked_work_tree_has_its_own(checkout: Checkout, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    checkout.git("worktree", "add", "--quiet", str(linked), "-b", "other")
    found = git_directory(linked)
    assert found == checkout.path / ".git" / "worktrees" / "linked"
    assert str(found) == checkout.git("rev-parse", "--absolute-git-dir", cwd=linked)


def test_a_relative_pointer_is_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / ".git").write_text("gitdir: ../elsewhere\n")
    assert git_directory(tmp_path / "site") == tmp_path / "elsewhere"


def test_a_folder_outside_of_git_is_told_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NotAGitCheckoutError) as raised:
        git_directory(tmp_path)
    assert f"{tmp_path} is not inside a git work tree" in str(raised.value)
    assert 'ADMIN_MANAGEMENT["CHECKOUT"]' in str(raised.value)


def test_its_folders_are_private_whatever_the_umask(checkout: Checkout) -> None:
    state = StateDirectory.of(checkout.path)
    before = os.umask(0)
    try:
        state.create()
        state.set_live_revision("1" * 40)
    finally:
        os.umask(before)
    folders = (state.path, state.path / "runs", state.environments)
    assert [stat.S_IMODE(each.stat().st_mode) for each in folders] == [0o700] * 3
    assert stat.S_IMODE((state.path / "live.json").stat().st_mode) == 0o600


def test_making_it_again_keeps_what_is_there(state: StateDirectory) -> None:
    state.set_live_revision("1" * 40)
    state.create()
    assert state.live_revision() == "1" * 40


def test_each_run_has_a_folder(state: StateDirectory) -> None:
    assert state.run("r1") == state.path / "runs" / "r1"
    assert state.journal("r1") == state.path / "runs" / "r1" / "journal.jsonl"
    assert state.lock == state.path / "lock"
    assert state.log == state.path / "runner.log"


def test_no_revision_is_known_to_be_live_before_the_first_run(state: StateDirectory) -> None:
    assert state.live_revision() is None


def test_a_file_that_a_crash_left_empty_says_nothing(state: StateDirectory) -> None:
    (state.path / "live.json").touch()
    assert state.live_revision() is None


def test_the_live_revision_is_replaced_whole(
    state: StateDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    state.set_live_revision("1" * 40)
    seen: list[str | None] = []
    fsync = os.fsync

    def look_while_it_is_written(descriptor: int) -> None:
        seen.append(state.live_revision())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", look_while_it_is_written)
    state.set_live_revision("2" * 40)
    assert seen == ["1" * 40]
    assert state.live_revision() == "2" * 40


def test_nothing_is_reported_before_a_server_was_switched(state: StateDirectory) -> None:
    assert state.serve_report() is None


def test_what_became_of_a_switch_is_kept(state: StateDirectory) -> None:
    state.set_serve_report({"result": "switched", "generation": 2})
    assert state.serve_report() == {"result": "switched", "generation": 2}


class TestTheHealthToken:
    def test_is_made_when_it_is_first_asked_for_and_stays(self, state: StateDirectory) -> None:
        assert state.known_health_token() is None
        token = state.health_token()
        assert len(token) == 64
        assert state.health_token() == state.known_health_token() == token
        assert StateDirectory(state.path).health_token() == token

    def test_is_for_its_owner_only(self, state: StateDirectory) -> None:
        state.health_token()
        assert stat.S_IMODE((state.path / "health_token").stat().st_mode) == 0o600

    def test_of_two_who_make_one_is_the_first_ones(
        self, state: StateDirectory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fsync = os.fsync
        first: list[str] = []

        def another_is_faster(descriptor: int) -> None:
            monkeypatch.setattr(os, "fsync", fsync)
            first.append(state.health_token())
            fsync(descriptor)

        monkeypatch.setattr(os, "fsync", another_is_faster)
        assert [state.health_token()] == first
        assert [path.name for path in state.path.glob("health_token*")] == ["health_token"]

    def test_that_cannot_be_read_is_not_known(self, state: StateDirectory) -> None:
        (state.path / "health_token").mkdir()
        assert state.known_health_token() is None
        (state.path / "health_token").rmdir()
        (state.path / "health_token").write_bytes(b"\xff")
        assert state.known_health_token() is None
        (state.path / "health_token").write_bytes(b"")
        assert state.known_health_token() is None


def test_private_files_are_private_from_their_first_moment(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with open(tmp_path / "log", "ab", opener=private):
            assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(before)
