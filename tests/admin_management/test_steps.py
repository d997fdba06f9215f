"""The steps of an update are data."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin_management.conf import DEFAULT_TIMEOUTS, AdminManagementSettings, ExtraStep
from admin_management.runner.plan import Step
from admin_management.steps import Tools, ordered_steps

TOOLS = Tools(git="/bin/git", uv="/bin/uv", pm2="/bin/pm2", restart_script="/run/restart.sh")


def steps(**settings: Any) -> tuple[Step, ...]:
    return ordered_steps(AdminManagementSettings(checkout=Path("/srv/site"), **settings), TOOLS)


def step(name: str, **settings: Any) -> Step:
    (found,) = (each for each in steps(**settings) if each.name == name)
    return found


def without_options(argv: tuple[str, ...]) -> tuple[str, ...]:
    """A git command without its ``-c name=value``."""
    words = list(argv)
    while "-c" in words:
        at = words.index("-c")
        del words[at : at + 2]
    return tuple(words)


def test_the_steps_are_in_the_order_that_the_readme_gives() -> None:
    assert [each.name for each in steps()] == list(DEFAULT_TIMEOUTS)
    assert list(DEFAULT_TIMEOUTS) == [
        *("fetch", "rehearsal", "pull", "dependencies", "static_files", "migrations"),
        *("restart", "proof", "soak"),
    ]


def test_each_has_its_own_time_out() -> None:
    assert [each.timeout for each in steps()] == [60, 900, 30, 600, 300, 600, 60, 30, 5]
    timeouts = {**DEFAULT_TIMEOUTS, "migrations": 1800}
    assert step("migrations", timeouts=timeouts).timeout == 1800


def test_what_is_executed() -> None:
    argv = {each.name: without_options(each.argv) for each in steps()}
    assert argv == {
        "fetch": (
            *("/bin/git", "fetch", "--no-tags", "--", "origin"),
            "+refs/heads/master:refs/remotes/origin/master",
        ),
        "rehearsal": ("{python}", "manage.py", "rehearse_update"),
        "pull": ("/bin/git", "pull", "--ff-only", "--no-rebase", "--", ".", "{revision}"),
        "dependencies": ("/bin/uv", "sync", "--locked", "--no-dev", "--no-progress"),
        "static_files": ("{python}", "manage.py", "collectstatic", "--noinput"),
        "migrations": ("{python}", "manage.py", "migrate", "--noinput", "--skip-checks"),
        "restart": ("/run/restart.sh", "student-attendance-django"),
        "proof": (),
        "soak": (),
    }


def test_a_site_may_do_without_a_rehearsal_and_keeps_its_own_steps_around_it() -> None:
    before = ExtraStep(name="x", argv=("x",), timeout=5, before="rehearsal")
    after = ExtraStep(name="y", argv=("y",), timeout=5, after="rehearsal")
    names = [each.name for each in steps(rehearse=False, extra_steps=(after, before))]
    assert names == [
        *("fetch", "x", "y", "pull", "dependencies", "static_files", "migrations"),
        *("restart", "proof", "soak"),
    ]


def test_migrations_are_checked_where_no_rehearsal_has_checked_them() -> None:
    assert step("migrations", rehearse=False).argv == (
        *("{python}", "manage.py", "migrate", "--noinput"),
    )


def test_remote_branch_and_process_are_the_sites() -> None:
    conf = {"remote": "upstream", "branch": "release/1", "pm2_process": "my site"}
    assert step("fetch", **conf).argv[-2:] == (
        "upstream",
        "+refs/heads/release/1:refs/remotes/upstream/release/1",
    )
    assert step("restart", **conf).argv[-1] == "my site"


@pytest.mark.parametrize("name", ["fetch", "pull"])
def test_git_runs_nothing_of_the_repositorys(name: str) -> None:
    argv = step(name).argv
    for option in ("core.hooksPath=/dev/null", "core.fsmonitor=false", "submodule.recurse=false"):
        assert argv[argv.index(option) - 1] == "-c"


def test_a_name_like_an_option_stands_where_no_option_can() -> None:
    argv = step("fetch", remote="--upload-pack=evil").argv
    assert argv.index("--") < argv.index("--upload-pack=evil")


def test_only_the_sites_own_code_gets_the_sites_variables() -> None:
    extra = ExtraStep(name="warm", argv=("warm",), timeout=5, after="restart")
    assert [each.name for each in steps(extra_steps=(extra,)) if each.site_environment] == [
        "rehearsal",
        "static_files",
        "migrations",
        "warm",
    ]


def test_steps_of_the_sites_own_stand_where_it_put_them_in_the_order_it_gave() -> None:
    def extra(name: str, **place: str) -> ExtraStep:
        return ExtraStep(name=name, argv=(name,), timeout=5, **place)

    names = [
        each.name
        for each in steps(
            extra_steps=(
                extra("d", after="restart"),
                extra("b", before="migrations"),
                extra("c", before="migrations"),
                extra("a", before="fetch"),
                extra("e", after="restart"),
                extra("x", after="static_files"),
            )
        )
    ]
    assert names == [
        *("a", "fetch", "rehearsal", "pull", "dependencies", "static_files", "x"),
        *("b", "c", "migrations", "restart", "d", "e", "proof", "soak"),
    ]


def test_a_step_of_the_sites_own_is_as_it_wrote_it() -> None:
    extra = ExtraStep(name="warm", argv=("{python}", "warm"), timeout=5, before="restart")
    assert step("warm", extra_steps=(extra,)) == Step(
        name="warm", argv=("{python}", "warm"), timeout=5, site_environment=True
    )


PLACES = st.sampled_from(list(DEFAULT_TIMEOUTS))
OWN = st.lists(st.tuples(st.sampled_from(["before", "after"]), PLACES), max_size=8)


@given(OWN, st.booleans())
def test_wherever_a_site_puts_its_steps_none_is_lost_and_the_order_stays(
    places: list[tuple[str, str]], rehearse: bool
) -> None:
    extras = tuple(
        ExtraStep(name=f"own {number}", argv=("x",), timeout=5, **{side: place})
        for number, (side, place) in enumerate(places)
    )
    names = [each.name for each in steps(rehearse=rehearse, extra_steps=extras)]
    built_in = [name for name in DEFAULT_TIMEOUTS if rehearse or name != "rehearsal"]
    assert [name for name in names if name in DEFAULT_TIMEOUTS] == built_in
    assert len(names) == len(set(names)) == len(built_in) + len(extras)
    for extra in extras:
        at, place = names.index(extra.name), extra.before or extra.after
        if place in names:
            assert (at < names.index(place)) == bool(extra.before)
        # No other built-in step stands between one of the site's own and its place.
        passed = (
            names[min(at, names.index(place)) : max(at, names.index(place)) + 1]
            if (place in names)
            else []
        )
        assert {*passed} & {*DEFAULT_TIMEOUTS} <= {place}
