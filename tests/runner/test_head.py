"""Which commit is checked out, by git's files alone. The oracle is git itself."""

from pathlib import Path

import pytest

from admin_management.runner.head import checked_out_revision
from admin_management.runner.state import NotAGitCheckoutError
from tests.conftest import Checkout


def test_a_branch(checkout: Checkout) -> None:
    assert checked_out_revision(checkout.path) == checkout.revision()


def test_a_folder_below(checkout: Checkout) -> None:
    (checkout.path / "mysite").mkdir()
    assert checked_out_revision(checkout.path / "mysite") == checkout.revision()


def test_a_detached_head(checkout: Checkout) -> None:
    checkout.git("checkout", "--quiet", "--detach")
    assert checked_out_revision(checkout.path) == checkout.revision()


def test_a_branch_that_was_packed(checkout: Checkout) -> None:
    checkout.git("tag", "--annotate", "v1", "--message", "v1")
    checkout.git("pack-refs", "--all")
    assert not (checkout.path / ".git/refs/heads/master").exists()
    assert checked_out_revision(checkout.path) == checkout.revision()


def test_a_loose_branch_is_newer_than_the_packed_one(checkout: Checkout) -> None:
    checkout.git("pack-refs", "--all")
    before = checkout.revision()
    checkout.git("commit", "--quiet", "--allow-empty", "--message", "Newer")
    assert checked_out_revision(checkout.path) == checkout.revision() != before


def test_of_two_packed_branches_it_is_the_checked_out_one(checkout: Checkout) -> None:
    checkout.git("checkout", "--quiet", "-b", "not-master")
    checkout.git("commit", "--quiet", "--allow-empty", "--message", "Elsewhere")
    checkout.git("checkout", "--quiet", "master")
    checkout.git("pack-refs", "--all")
    assert checked_out_revision(checkout.path) == checkout.revision()


def test_a_branch_that_is_another_name_of_one(checkout: Checkout) -> None:
    checkout.git("symbolic-ref", "refs/heads/live", "refs/heads/master")
    checkout.git("symbolic-ref", "HEAD", "refs/heads/live")
    assert checked_out_revision(checkout.path) == checkout.revision()


@pytest.mark.parametrize("packed", [False, True])
def test_a_linked_work_tree(checkout: Checkout, tmp_path: Path, packed: bool) -> None:
    linked = tmp_path / "linked"
    checkout.git("worktree", "add", "--quiet", str(linked), "-b", "other")
    checkout.git("commit", "--quiet", "--allow-empty", "--message", "Linked", cwd=linked)
    if packed:
        checkout.git("pack-refs", "--all")
    assert checked_out_revision(linked) == checkout.revision(linked) != checkout.revision()


def test_a_repository_of_longer_names(checkout: Checkout, tmp_path: Path) -> None:
    other = tmp_path / "sha256"
    checkout.git("init", "--quiet", "--object-format=sha256", str(other))
    checkout.git("commit", "--quiet", "--allow-empty", "--message", "First", cwd=other)
    assert checked_out_revision(other) == checkout.revision(other)
    assert len(checkout.revision(other)) == 64


def test_nothing_is_known_before_the_first_commit(checkout: Checkout, tmp_path: Path) -> None:
    checkout.git("init", "--quiet", str(tmp_path / "new"))
    assert checked_out_revision(tmp_path / "new") is None


def test_nothing_is_known_of_a_branch_whose_name_is_a_folder_or_below_a_file(
    checkout: Checkout,
) -> None:
    git = checkout.path / ".git"
    (git / "refs/heads/feature").mkdir()
    (git / "HEAD").write_text("ref: refs/heads/feature\n")
    assert checked_out_revision(checkout.path) is None
    (git / "HEAD").write_text("ref: refs/heads/master/feature\n")
    assert checked_out_revision(checkout.path) is None


@pytest.mark.parametrize("head", ["ref: ../../secret", "ref: HEAD", "", "rubbish"])
def test_nothing_is_known_from_what_git_does_not_write(checkout: Checkout, head: str) -> None:
    (checkout.path / ".git/HEAD").write_text(head)
    assert checked_out_revision(checkout.path) is None


def test_a_circle_ends(checkout: Checkout) -> None:
    (checkout.path / ".git/refs/heads/circle").write_text("ref: refs/heads/circle\n")
    (checkout.path / ".git/HEAD").write_text("ref: refs/heads/circle\n")
    assert checked_out_revision(checkout.path) is None


def test_a_folder_outside_of_git_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotAGitCheckoutError):
        checked_out_revision(tmp_path)
