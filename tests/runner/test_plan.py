"""A plan is data: what was written is what is read."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin_management.runner.plan import PLAN_VERSION, Health, Plan, Rehearsal, Step

WORDS = st.lists(st.text(), max_size=4).map(tuple)
STEPS = st.builds(
    Step,
    name=st.text(),
    argv=WORDS,
    timeout=st.floats(0.1, 86_400),
    site_environment=st.booleans(),
)
NAMES = st.dictionaries(st.text(), st.text(), max_size=3)
PLANS = st.builds(
    Plan,
    **dict.fromkeys(
        (
            *("run", "checkout", "state_directory", "remote", "branch", "environment"),
            *("base_python", "git", "uv", "pm2", "pm2_process"),
        ),
        st.text(),
    ),
    force=st.booleans(),
    steps=st.lists(STEPS, max_size=4).map(tuple),
    prove_environment=WORDS,
    undo_migrations=WORDS,
    settle=WORDS,
    target=st.text(),
    accept_rewritten=st.booleans(),
    rehearsal=st.none() | st.builds(Rehearsal, linked_files=WORDS, databases=NAMES),
    health=st.none() | st.builds(Health, addresses=WORDS, headers=NAMES),
    version=st.just(PLAN_VERSION),
)


@given(PLANS)
def test_what_is_written_is_read(plan: Plan) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "plan.json"
        plan.write(path)
        assert Plan.read(path) == plan


@given(PLANS)
def test_a_plan_can_be_compared_and_hashed(plan: Plan) -> None:
    assert hash(plan) == hash(plan)


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    PLANS_EXAMPLE.write(path)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_plan_of_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    PLANS_EXAMPLE.write(path)
    fields = json.loads(path.read_text())
    path.write_text(json.dumps(fields | {"version": 99}))
    with pytest.raises(ValueError, match="is a plan of version 99"):
        Plan.read(path)
    path.write_text("{}")
    with pytest.raises(ValueError, match="is a plan of version None"):
        Plan.read(path)


PLANS_EXAMPLE = Plan(
    run="r",
    force=False,
    checkout="/site",
    state_directory="/site/.git/admin-management",
    remote="origin",
    branch="master",
    environment="/site/.venv",
    base_python="/usr/bin/python3",
    git="/usr/bin/git",
    uv="/usr/bin/uv",
    pm2="/usr/bin/pm2",
    pm2_process="site",
    steps=(Step(name="fetch", argv=("git", "fetch"), timeout=60),),
    prove_environment=("true",),
    undo_migrations=("true",),
    settle=("true",),
)
