"""The journal: written while a run happens, read by anyone at any time."""

import errno
import json
import os
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin_management.runner.journal import Journal, replay, storable
from admin_management.runner.status import Status, StepStatus

SHA = "a" * 64


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    journal = Journal(path)
    yield journal
    journal.close()


def tell_a_story(journal: Journal) -> None:
    journal.event("started", run="r", pid=1, force=False)
    journal.event("step_started", step=0, name="fetch", argv=["git", "fetch"])
    journal.event("child", step=0, process=123, process_start=456)
    journal.output(0, "From here\n")
    journal.output(0, "to ☃\n")
    journal.event("step_finished", step=0, status="succeeded", exit_code=0, output_bytes=17)
    journal.event("revisions", from_revision="1" * 40, to_revision="2" * 40)
    journal.event("step_started", step=1, name="pull", argv=["git", "pull"])
    journal.event(
        "step_finished",
        step=1,
        status="failed",
        exit_code=None,
        signal=15,
        timed_out=True,
        message="it was ended",
        hint="Look.",
        output_bytes=3,
        output_sha256=SHA,
    )
    journal.event(
        "finished", status="failed", failed_step="pull", message="pull failed", hint="Look."
    )


def test_a_run_is_read_as_it_was_written(path: Path, journal: Journal) -> None:
    tell_a_story(journal)
    progress = replay(path)
    assert progress.status is Status.FAILED
    assert (progress.failed_step, progress.message, progress.hint) == (
        "pull",
        "pull failed",
        "Look.",
    )
    assert (progress.from_revision, progress.to_revision) == ("1" * 40, "2" * 40)
    fetch, pull = progress.steps
    assert (fetch.name, fetch.argv, fetch.status) == ("fetch", ["git", "fetch"], "succeeded")
    assert (fetch.process, fetch.process_start, fetch.exit_code) == (123, 456, 0)
    assert fetch.output == "From here\nto ☃\n"
    assert (pull.status, pull.exit_code, pull.signal, pull.timed_out) == ("failed", None, 15, True)
    assert (pull.message, pull.hint) == ("it was ended", "Look.")
    assert (pull.output_bytes, pull.output_sha256) == (3, SHA)


def test_times_are_those_of_writing_in_utc(path: Path, journal: Journal) -> None:
    before = datetime.now(UTC)
    tell_a_story(journal)
    progress = replay(path)
    times = [progress.started_at]
    for step in progress.steps:
        times += [step.started_at, step.finished_at]
    times.append(progress.finished_at)
    known = [time for time in times if time is not None]
    assert len(known) == 6
    assert known == sorted(known)
    assert before <= known[0] <= known[-1] <= datetime.now(UTC)
    assert known[0].utcoffset() == timedelta()


def test_every_line_is_an_object_with_its_time_and_event(path: Path, journal: Journal) -> None:
    tell_a_story(journal)
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    assert [entry["event"] for entry in entries][:4] == [
        "started",
        "step_started",
        "child",
        "output",
    ]
    for entry in entries:
        datetime.fromisoformat(entry["at"])


def test_a_step_without_an_end_runs(path: Path, journal: Journal) -> None:
    journal.event("started")
    journal.event("step_started", step=0, name="fetch", argv=[])
    progress = replay(path)
    assert progress.status is Status.RUNNING
    assert progress.steps[0].status is StepStatus.RUNNING


def test_no_journal_reads_as_a_run_that_did_nothing_yet(path: Path) -> None:
    progress = replay(path)
    assert (progress.status, progress.started_at, progress.steps) == (Status.RUNNING, None, [])


def test_an_event_of_a_newer_version_is_passed_over(path: Path, journal: Journal) -> None:
    journal.event("started")
    journal.event("rehearsed", revision="1" * 40)
    journal.event("finished", status="succeeded")
    assert replay(path).status is Status.SUCCEEDED


def test_zeros_that_a_power_cut_left_are_passed_over(path: Path, journal: Journal) -> None:
    tell_a_story(journal)
    with path.open("ab") as file:
        file.write(bytes(100))
    assert replay(path).status is Status.FAILED


def test_a_dead_run_is_interrupted_in_the_step_that_it_had_begun(
    path: Path, journal: Journal
) -> None:
    journal.event("started")
    journal.event("step_started", step=0, name="fetch", argv=[])
    journal.event("step_finished", step=0, status="succeeded")
    journal.event("step_started", step=1, name="pull", argv=[])
    progress = replay(path)
    progress.interrupt("The runner died.")
    assert (progress.status, progress.failed_step) == (Status.INTERRUPTED, "pull")
    assert progress.message == "The runner died."
    assert [step.status for step in progress.steps] == ["succeeded", "interrupted"]


def test_a_dead_run_between_two_steps_names_none(path: Path, journal: Journal) -> None:
    journal.event("step_started", step=0, name="fetch", argv=[])
    journal.event("step_finished", step=0, status="succeeded")
    progress = replay(path)
    progress.interrupt("The runner died.")
    assert progress.failed_step == ""


def test_no_step_goes_on_when_its_run_has_ended(path: Path, journal: Journal) -> None:
    journal.event("step_started", step=0, name="fetch", argv=[])
    journal.event("finished", status="failed", failed_step="fetch", message="disk is full")
    progress = replay(path)
    assert progress.status is Status.FAILED
    assert progress.steps[0].status is StepStatus.INTERRUPTED


def test_a_line_that_a_full_disk_cut_off_does_not_spoil_the_next(
    path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.event("step_started", step=0, name="fetch", argv=[])
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", disk_with_room_for(10))
        assert not journal.output(0, "some output\n")
    journal.event("finished", status="failed", failed_step="fetch", message="disk is full")
    progress = replay(path)
    assert (progress.status, progress.message) == (Status.FAILED, "disk is full")


def disk_with_room_for(free: int) -> Callable[[int, bytes], int]:
    write = os.write

    def write_what_fits(descriptor: int, data: bytes) -> int:
        nonlocal free
        if not free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = write(descriptor, bytes(data)[:free])
        free -= written
        return written

    return write_what_fits


def test_what_was_done_is_on_the_disk_and_output_does_not_wait_for_it(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    journal.output(0, "a line\n")
    assert synced == []
    journal.event("finished")
    assert len(synced) == 1


def test_only_its_owner_may_read_it_and_no_child_inherits_it(path: Path) -> None:
    journal = Journal(path)
    links = [each for each in Path("/proc/self/fd").iterdir() if each.exists()]
    opened = [int(each.name) for each in links if each.resolve() == path]
    assert [os.get_inheritable(each) for each in opened] == [False]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    journal.close()


def test_what_is_there_is_kept(path: Path) -> None:
    for name in ("started", "finished"):
        journal = Journal(path)
        journal.event(name, status="succeeded")
        journal.close()
    assert [json.loads(line)["event"] for line in path.read_text().splitlines()] == [
        "started",
        "finished",
    ]


@given(st.data())
def test_whatever_a_crash_cut_off_the_rest_is_read(data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "journal.jsonl"
        journal = Journal(path)
        tell_a_story(journal)
        journal.close()
        whole = path.read_bytes()
        cut = data.draw(st.integers(0, len(whole)))
        path.write_bytes(whole[:cut])
        progress = replay(path)
        complete = whole[: cut + 1].count(b'"step_started"')
        assert len(progress.steps) <= complete <= 2
        assert progress.status is (Status.FAILED if cut >= len(whole) - 1 else Status.RUNNING)


@given(st.text(), st.text())
def test_any_text_is_read_as_it_can_be_stored(output: str, message: str) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "journal.jsonl"
        journal = Journal(path)
        journal.event("step_started", step=0, name="fetch", argv=[output])
        journal.output(0, output)
        journal.event("finished", status="failed", message=message)
        journal.close()
        progress = replay(path)
    assert progress.steps[0].output == storable(output)
    assert progress.message == storable(message)


@given(st.text())
def test_what_can_be_stored_is_as_long_and_whole_characters_stay(text: str) -> None:
    stored = storable(text)
    assert len(stored) == len(text)
    assert "\0" not in stored
    assert stored.encode().decode() == storable(stored) == stored
    for before, after in zip(text, stored, strict=True):
        assert before in (after, "\0") or "\ud800" <= before <= "\udfff"


LINES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
EVENTS = st.fixed_dictionaries(
    {
        "at": st.datetimes().map(datetime.isoformat) | LINES,
        "event": st.sampled_from(
            ["started", "revisions", "step_started", "child", "output", "step_finished", "finished"]
        )
        | LINES,
    },
    optional={
        **dict.fromkeys(("name", "argv", "text", "message", "hint", "lost_lines"), LINES),
        "step": st.integers(-2, 2) | LINES,
        "status": st.sampled_from(["succeeded", "failed"]) | LINES,
    },
)


@given(st.lists(EVENTS.map(json.dumps).map(str.encode) | st.binary(), max_size=6))
def test_whatever_stands_in_a_file_the_good_line_after_it_is_read(lines: list[bytes]) -> None:
    good = b'{"at": "2026-01-01T00:00:00Z", "event": "finished", "status": "rolled_back"}\n'
    with TemporaryDirectory() as folder:
        path = Path(folder) / "journal.jsonl"
        path.write_bytes(b"\n".join([*lines, good]))
        progress = replay(path)
    assert progress.status is Status.ROLLED_BACK
    assert all(step.status is not StepStatus.RUNNING for step in progress.steps)


@pytest.mark.parametrize(
    "line",
    [
        "123",
        "{}",
        "[]",
        '{"event": "finished", "status": "newer", "at": "2026-01-01T00:00:00Z"}',
        '{"event": "step_finished", "step": 7, "status": "failed", "at": "2026-01-01T00:00:00Z"}',
        '{"event": "started", "at": "yesterday"}',
        '{"event": ["started"], "at": "2026-01-01T00:00:00Z"}',
    ],
)
def test_what_cannot_be_understood_is_passed_over(tmp_path: Path, line: str) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text(f'{line}\n{{"event": "started", "at": "2026-01-01T00:00:00+00:00"}}\n')
    progress = replay(path)
    assert progress.status == Status.RUNNING
    assert progress.started_at is not None


def test_a_run_that_was_interrupted_ended_when_it_was_last_heard_of(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.event("started")
    journal.event("step_started", step=0, name="fetch", argv=[])
    journal.close()
    progress = replay(path)
    progress.interrupt("The runner died.")
    (step,) = progress.steps
    assert step.finished_at == progress.finished_at == progress.last_at == step.started_at
