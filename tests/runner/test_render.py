"""A run's log as text for people."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from admin_management.runner.journal import StepProgress
from admin_management.runner.render import closing_line, label, render_log
from admin_management.runner.status import StepStatus

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def step(name: str, status: StepStatus = StepStatus.SUCCEEDED, **facts: str) -> StepProgress:
    return StepProgress(
        name=name,
        status=status,
        started_at=NOON,
        finished_at=NOON + timedelta(seconds=1.234),
        lines=[f"{name} says hello\n"],
        **facts,  # type: ignore[arg-type]
    )


def test_steps_are_named_as_people_say() -> None:
    assert [label(name) for name in ("fetch", "pull", "static_files", "warm_cache")] == [
        "git fetch",
        "git pull",
        "static files",
        "warm cache",
    ]


def test_each_step_has_its_output_and_how_it_ended() -> None:
    skipped = step("dependencies", StepStatus.SKIPPED, message="nothing has changed")
    failed = step("migrations", StepStatus.FAILED, message="exit code 1", hint="Mend it.")
    assert render_log([step("fetch"), skipped, failed]) == (
        "── git fetch\nfetch says hello\n✓ git fetch succeeded in 1.23 s\n\n"
        "── dependencies\ndependencies says hello\n"
        "· dependencies skipped: nothing has changed\n\n"
        "── migrations\nmigrations says hello\n"
        "✗ migrations failed in 1.23 s: exit code 1\n  Mend it.\n\n"
    )


def test_an_interrupted_step_that_nobody_explained_is_a_whole_sentence() -> None:
    dead = step("pull", StepStatus.INTERRUPTED)
    dead.finished_at = None
    assert closing_line(dead) == "✗ git pull interrupted"


def test_steps_after_one_that_runs_are_not_shown_yet() -> None:
    running = step("pull", StepStatus.RUNNING)
    log = render_log([step("fetch"), running, step("migrations")])
    assert log.endswith("── git pull\npull says hello\n")


@given(st.lists(st.lists(st.text(max_size=10), max_size=3), max_size=4))
def test_it_only_ever_grows(outputs: list[list[str]]) -> None:
    steps: list[StepProgress] = []
    shown = ""
    for output in outputs:
        running = StepProgress(name="fetch", started_at=NOON)
        steps.append(running)
        for text in output:
            running.lines.append(text)
            assert render_log(steps).startswith(shown)
            shown = render_log(steps)
        running.status = StepStatus.SUCCEEDED
        assert render_log(steps).startswith(shown)
        shown = render_log(steps)
