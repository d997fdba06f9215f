"""Which revisions a run may go to."""

from typing import Any

import pytest

from admin_management.runner.execution import StepFailedError
from admin_management.runner.history import check_history
from tests.runner.conftest import Site


@pytest.fixture
def two_commits(site: Site) -> tuple[str, str]:
    """What is on disk, and the remote's tip, which follows from it."""
    before = site.checkout.revision()
    tip = site.checkout.commit({"version.txt": "2\n"})
    site.checkout.git("fetch", "--quiet")
    return before, tip


def check(site: Site, to_revision: str, live: str, **changes: Any) -> None:
    with site.at_work(**changes) as runners_site:
        runners_site.to_revision = to_revision
        check_history(runners_site, live)


def refusal(site: Site, to_revision: str, live: str, **changes: Any) -> StepFailedError:
    with pytest.raises(StepFailedError) as raised:
        check(site, to_revision, live, **changes)
    assert raised.value.hint
    return raised.value


def make_commits(site: Site, count: int) -> None:
    for number in range(count):
        (site.checkout.path / "version.txt").write_text(f"made here {number}\n")
        site.checkout.git("commit", "--quiet", "--all", "--message", "Made on the server")


def test_forward_is_allowed(site: Site, two_commits: tuple[str, str]) -> None:
    check(site, two_commits[1], two_commits[0])


def test_what_is_on_disk_already_is_allowed(site: Site, two_commits: tuple[str, str]) -> None:
    check(site, two_commits[0], two_commits[0])


def test_what_was_rolled_back_is_refused(site: Site, two_commits: tuple[str, str]) -> None:
    before, tip = two_commits
    site.state.quarantine(tip, "11111111-0000")
    refused = refusal(site, tip, before)
    assert str(refused) == f"{tip[:7]} was rolled back before, by the update 11111111."
    assert refused.hint == "Push a correction; or force an update to try it once more."


def test_what_was_rolled_back_may_be_forced(site: Site, two_commits: tuple[str, str]) -> None:
    site.state.quarantine(two_commits[1], "11111111-0000")
    check(site, two_commits[1], two_commits[0], force=True)


def test_what_was_rolled_back_and_is_live_is_no_news(
    site: Site, two_commits: tuple[str, str]
) -> None:
    site.state.quarantine(two_commits[1], "11111111-0000")
    check(site, two_commits[1], two_commits[1])


def test_another_revision_is_not_held_to_be_bad(site: Site, two_commits: tuple[str, str]) -> None:
    site.state.quarantine(two_commits[0], "11111111-0000")
    check(site, two_commits[1], two_commits[0])


@pytest.mark.parametrize(("count", "said"), [(1, "one commit"), (2, "2 commits")])
def test_commits_made_on_the_server_are_told(site: Site, count: int, said: str) -> None:
    tip = site.checkout.revision()
    make_commits(site, count)
    refused = refusal(site, tip, tip)
    assert str(refused) == f"The checkout has {said} that origin/master has not."
    assert f"In {site.checkout.path}: push them" in refused.hint


@pytest.mark.parametrize(("count", "said"), [(1, "one commit"), (2, "2 commits")])
def test_a_rewritten_branch_is_told(
    site: Site, two_commits: tuple[str, str], count: int, said: str
) -> None:
    before, tip = two_commits
    make_commits(site, count)
    refused = refusal(site, tip, before)
    assert str(refused).startswith(f"origin/master was rewritten: {said} of the checkout ")
    assert "accepts rewritten history" in refused.hint


@pytest.mark.parametrize("allowed", [{"accept_rewritten": True}, {"target": "1" * 40}])
def test_a_person_may_accept_either(
    site: Site, two_commits: tuple[str, str], allowed: dict[str, Any]
) -> None:
    before, tip = two_commits
    make_commits(site, 1)
    check(site, tip, before, **allowed)
    check(site, before, before, **allowed)
