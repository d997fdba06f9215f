"""From a run and the settings to the plan that its runner gets."""

import os
from pathlib import Path
from typing import Any

import pytest

from admin_management.conf import AdminManagementSettings
from admin_management.machine import node
from admin_management.models import Run, Trigger
from admin_management.planning import plan_of
from admin_management.runner.plan import Plan
from admin_management.runner.state import StateDirectory
from tests.conftest import Checkout

pytestmark = pytest.mark.django_db


@pytest.fixture
def plan(checkout: Checkout, tmp_path: Path) -> Plan:
    run = Run.objects.create(node=node(), trigger=Trigger.COMMAND)
    state = StateDirectory.of(AdminManagementSettings.load().checkout)
    return plan_of(run, state, tmp_path)


def test_it_names_full_paths_and_the_steps_in_their_order(checkout: Checkout, plan: Plan) -> None:
    assert [step.name for step in plan.steps] == [
        *("fetch", "rehearsal", "pull", "dependencies"),
        *("static_files", "migrations", "restart", "proof", "soak"),
    ]
    assert Path(plan.git).is_absolute()
    assert plan.checkout == str(checkout.path)


def test_the_run_keeps_a_script_of_its_own_to_restart_with(plan: Plan, tmp_path: Path) -> None:
    (restart,) = (step for step in plan.steps if step.name == "restart")
    script = Path(restart.argv[0])
    assert script.parent == tmp_path
    assert os.access(script, os.X_OK)


def test_on_disk_it_holds_no_secret(plan: Plan, tmp_path: Path, settings: Any) -> None:
    assert settings.SECRET_KEY
    plan.write(tmp_path / "plan.json")
    assert settings.SECRET_KEY not in (tmp_path / "plan.json").read_text()
