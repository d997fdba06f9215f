"""What to do about a failed step."""

import re
from pathlib import Path

import pytest

from admin_management.conf import AdminManagementSettings
from admin_management.runner.hints import hint_for
from admin_management.runner.process import Ending
from admin_management.steps import Tools, ordered_steps

ROOT = Path(__file__).parents[2]

FAILED = Ending(exit_code=1, signal=None, timed_out=False)

TOOLS = Tools(git="git", uv="uv", pm2="pm2", restart_script="restart_server.sh")
EXECUTED = [
    step.name for step in ordered_steps(AdminManagementSettings(checkout=ROOT), TOOLS) if step.argv
]


@pytest.mark.parametrize("step", EXECUTED)
def test_every_built_in_step_that_executes_something_has_one(step: str) -> None:
    assert hint_for(step, FAILED).endswith((".", "?"))


def test_a_step_of_the_sites_own_has_none() -> None:
    assert hint_for("warm_cache", FAILED) == ""


@pytest.mark.parametrize("step", ["fetch", "restart", "warm_cache"])
def test_a_time_out_says_where_it_is_set(step: str) -> None:
    hint = hint_for(step, Ending(exit_code=None, signal=15, timed_out=True))
    assert 'ADMIN_MANAGEMENT["TIMEOUTS"]' in hint
    assert '["EXTRA_STEPS"]' in hint


def test_every_exit_code_of_the_restart_script_has_its_own() -> None:
    script = (ROOT / "restart_server.sh").read_text()
    used = {int(code) for code in re.findall(r"\bfail (\d)", script)} - {2}
    assert used == {3, 4, 5, 6}
    hints = {hint_for("restart", Ending(code, None, timed_out=False)) for code in used}
    assert len(hints) == len(used)
    assert hint_for("restart", FAILED) not in hints


def test_a_restart_that_a_signal_ended_has_one() -> None:
    assert hint_for("restart", Ending(None, 9, timed_out=False)) == "Look at pm2 logs."
