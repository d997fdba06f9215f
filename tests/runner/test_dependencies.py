"""The environment of the new revision: built once, beside the live one, and then switched to."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from admin_management.runner.dependencies import Dependencies
from admin_management.runner.environment import PROVED
from admin_management.runner.execution import StepFailedError
from admin_management.runner.plan import Rehearsal
from admin_management.runner.site import Site as RunnersSite
from tests.runner.conftest import LOCK, Site, program

UV = """\
mkdir -p "$UV_PROJECT_ENVIRONMENT/bin"
echo made > "$UV_PROJECT_ENVIRONMENT/pyvenv.cfg"
printf '#!/bin/sh\\necho proves in $PWD\\n[ ! -e bad ]\\n' > "$UV_PROJECT_ENVIRONMENT/bin/python"
chmod +x "$UV_PROJECT_ENVIRONMENT/bin/python"
echo "$PWD" "$UV_PROJECT_ENVIRONMENT" "${UV_PYTHON:-none}" "$@" >> "$HOME/uv-did"
"""


@pytest.fixture
def uv_did(site: Site, tmp_path: Path) -> Path:
    """What the stand-in of uv has done: where, for which environment, how."""
    program(Path(site.plan.uv), UV)
    return tmp_path / "uv-did"


@pytest.fixture
def rehearsed(site: Site, uv_did: Path) -> Iterator[RunnersSite]:
    with site.at_work(rehearsal=Rehearsal()) as runners_site:
        yield runners_site


@pytest.fixture
def unrehearsed(site: Site, uv_did: Path) -> Iterator[RunnersSite]:
    with site.at_work() as runners_site:
        yield runners_site


def dependencies(site: RunnersSite) -> Dependencies:
    step = site.step("dependencies")
    assert step is not None
    return Dependencies(site, step)


def prepare(site: RunnersSite, made: Dependencies, tree: Path) -> None:
    with site.recorder.step("rehearsal", timeout=60) as execution:
        made.prepare(execution, tree)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A work tree of another revision."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "uv.lock").write_text(LOCK.format("2"))
    return tmp_path / "tree"


def test_what_the_rehearsal_has_built_goes_live(
    rehearsed: RunnersSite, site: Site, tree: Path, uv_did: Path
) -> None:
    made = dependencies(rehearsed)
    assert made.environment == site.link
    prepare(rehearsed, made, tree)
    assert not site.link.exists()
    built = made.environment
    assert built.parent == site.state.environments
    made.switch()
    assert site.link.resolve() == built
    assert (built / PROVED).exists()
    # Once more from where it is live: a site that is a package is installed from its work tree.
    flags = f"{site.plan.base_python} sync --locked --no-dev --no-progress"
    assert uv_did.read_text().splitlines() == [
        f"{tree} {built} {flags}",
        f"{site.checkout.path} {built} {flags}",
    ]
    assert [(step.name, step.status.value) for step in site.progress().steps] == [
        ("rehearsal", "succeeded"),
        ("dependencies", "succeeded"),
    ]


def test_without_a_rehearsal_it_is_built_and_proved_in_the_step(
    unrehearsed: RunnersSite, site: Site, uv_did: Path
) -> None:
    made = dependencies(unrehearsed)
    made.switch()
    assert site.link.resolve() == made.environment
    assert len(uv_did.read_text().splitlines()) == 1
    assert site.progress().steps[0].output == f"proves in {site.checkout.path}\n"


def test_one_that_does_not_prove_good_never_goes_live(unrehearsed: RunnersSite, site: Site) -> None:
    (site.checkout.path / "bad").touch()
    with pytest.raises(StepFailedError):
        dependencies(unrehearsed).switch()
    assert not site.link.exists()


@pytest.mark.parametrize("is_rehearsed", [True, False])
def test_one_that_has_not_changed_is_not_built(
    site: Site, uv_did: Path, is_rehearsed: bool
) -> None:
    with site.at_work() as runners_site:
        dependencies(runners_site).switch()
    before = site.link.resolve()
    rehearsal = Rehearsal() if is_rehearsed else None
    with site.at_work(rehearsal=rehearsal, run="11111111-0000") as runners_site:
        made = dependencies(runners_site)
        if is_rehearsed:
            prepare(runners_site, made, site.checkout.path)
        made.switch()
        assert made.environment == site.link
    assert site.link.resolve() == before
    assert len(uv_did.read_text().splitlines()) == 1


def test_one_that_has_not_changed_is_built_where_that_is_forced(site: Site, uv_did: Path) -> None:
    with site.at_work() as runners_site:
        dependencies(runners_site).switch()
    before = site.link.resolve()
    with site.at_work(run="11111111-0000", force=True) as runners_site:
        dependencies(runners_site).switch()
    assert site.link.resolve() != before
    assert len(uv_did.read_text().splitlines()) == 2


def test_the_tree_may_choose_its_python_itself(
    rehearsed: RunnersSite, tree: Path, uv_did: Path
) -> None:
    (tree / ".python-version").write_text("3.13\n")
    prepare(rehearsed, dependencies(rehearsed), tree)
    assert " none sync " in uv_did.read_text()


def test_a_build_that_fails_leaves_the_live_one(rehearsed: RunnersSite, site: Site) -> None:
    program(Path(site.plan.uv), "exit 2")
    made = dependencies(rehearsed)
    with pytest.raises(StepFailedError, match="exit code 2"):
        prepare(rehearsed, made, site.checkout.path)
    assert made.environment == site.link
