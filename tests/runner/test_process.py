"""A child process, everything it starts, and its sure end."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

from admin_management.runner import process
from admin_management.runner.process import (
    OF_THE_SITE,
    Child,
    Ending,
    StoppedError,
    end_orphan,
    start_time,
)
from tests.runner.awaiting import PATIENCE, Pipe, Watched

Watch = Callable[[int], Watched]

STUBBORN = "trap '' TERM; echo \\$\\$; while :; do sleep 1000; done"
"""For a shell inside the quotes of another one: says its pid, and does not heed SIGTERM."""

DAEMON = """\
import subprocess
print(subprocess.Popen({}, start_new_session=True).pid, flush=True)
"""


class Reader:
    """Collects output and calls back when ``mark`` has come."""

    def __init__(self, mark: bytes = b"", then: Callable[[], None] = lambda: None) -> None:
        self.pieces: list[bytes] = []
        self._mark, self._then = mark, then

    @property
    def output(self) -> bytes:
        return b"".join(self.pieces)

    def receive(self, data: bytes) -> None:
        self.pieces.append(data)
        if self._mark and self._mark in self.output:
            self._mark = b""
            self._then()


def start(
    *argv: str,
    reader: Reader | None = None,
    environ: Mapping[str, str] = os.environ,
    stop: int | None = None,
) -> Child:
    receive = (reader or Reader()).receive
    return Child(argv, cwd=Path("/"), environ=environ, receive=receive, stop=stop)


def shell(script: str, reader: Reader | None = None, stop: int | None = None) -> Child:
    return start("sh", "-c", script, reader=reader, stop=stop)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Time that passes only when a test says so."""
    clock = SimpleNamespace(now=0.0)

    def sleep(seconds: float) -> None:
        clock.now += seconds

    times = SimpleNamespace(monotonic=lambda: clock.now, sleep=sleep)
    monkeypatch.setattr(process, "time", times)
    return clock


@pytest.fixture
def stop() -> Iterator[int]:
    descriptor = os.eventfd(0)
    yield descriptor
    os.close(descriptor)


def test_what_it_prints_and_its_exit_code_are_known() -> None:
    reader = Reader()
    with shell("echo out; echo err >&2; exit 3", reader) as child:
        ending = child.wait(PATIENCE)
    assert reader.output == b"out\nerr\n"
    assert ending == Ending(exit_code=3, signal=None, timed_out=False)
    assert not ending.succeeded
    assert ending.describe(60) == "exit code 3"


def test_exit_code_0_in_time_is_a_success() -> None:
    with shell("true") as child:
        assert child.wait(PATIENCE).succeeded


def test_a_signal_is_named() -> None:
    with shell("kill -SEGV $$") as child:
        ending = child.wait(PATIENCE)
    assert (ending.exit_code, ending.succeeded) == (None, False)
    assert ending.describe(60) == "it was ended by SIGSEGV"


def test_output_that_is_no_text_comes_as_it_is() -> None:
    reader = Reader()
    with shell(r"printf '\377\000\376'", reader) as child:
        child.wait(PATIENCE)
    assert reader.output == b"\xff\x00\xfe"


def test_more_output_than_a_pipe_holds_comes_whole() -> None:
    reader = Reader()
    with shell("head -c 3000000 /dev/zero", reader) as child:
        assert child.wait(PATIENCE).succeeded
    assert len(reader.output) == 3_000_000


def test_a_child_that_asks_a_question_gets_no_answer_and_goes_on() -> None:
    reader = Reader()
    with shell("read answer || echo nobody answers", reader) as child:
        child.wait(PATIENCE)
    assert reader.output == b"nobody answers\n"


def test_no_shell_reads_the_arguments() -> None:
    reader = Reader()
    with start("echo", "$(id)", ";", "`id`", reader=reader) as child:
        child.wait(PATIENCE)
    assert reader.output == b"$(id) ; `id`\n"


def test_it_sees_the_variables_that_it_is_given_and_no_others() -> None:
    reader = Reader()
    with start("/usr/bin/env", reader=reader, environ={"ONLY": "this"}) as child:
        child.wait(PATIENCE)
    assert reader.output == b"ONLY=this\n"


def test_what_it_writes_is_for_its_user_alone_unless_it_writes_for_the_site(
    own_umask: int,
) -> None:
    for options, expected in (({}, "0077"), ({"umask": OF_THE_SITE}, f"{own_umask:04o}")):
        reader = Reader()
        argv = ("sh", "-c", "umask")
        with Child(argv, cwd=Path("/"), environ={}, receive=reader.receive, **options) as child:
            child.wait(PATIENCE)
        assert reader.output.decode().strip() == expected


@pytest.fixture
def own_umask() -> Iterator[int]:
    """That of this process, while a test lasts."""
    before = os.umask(0o027)
    yield 0o027
    os.umask(before)


def test_a_program_that_is_not_there_raises() -> None:
    with pytest.raises(FileNotFoundError):
        start("/nowhere/to/be/found")


def test_the_time_out_ends_the_whole_group(clock: SimpleNamespace, watch: Watch) -> None:
    seen: list[Watched] = []

    def time_is_over() -> None:
        seen.append(watch(int(reader.output)))
        clock.now += 3600

    reader = Reader(b"\n", time_is_over)
    with shell(f'sh -c "{STUBBORN}" & exec sleep 1000', reader) as child:
        leader = watch(child.pid)
        ending = child.wait(600)
    assert ending == Ending(exit_code=None, signal=signal.SIGTERM, timed_out=True)
    assert ending.describe(600) == "it was ended after its time-out of 600 s"
    assert leader.ends()
    assert seen[0].ends()


def test_a_time_out_lets_the_whole_group_clean_up(tmp_path: Path) -> None:
    cleaned = tmp_path / "cleaned"
    member = f"trap 'sleep 0.3; touch {cleaned}; exit' TERM; echo ready; while :; do :; done"
    with shell(f'sh -c "{member}" & exec sleep 1000', Reader(b"", lambda: None)) as child:
        assert child.wait(2).timed_out
    assert cleaned.exists()


def test_exit_code_0_after_the_time_out_is_no_success(clock: SimpleNamespace) -> None:
    def time_is_over() -> None:
        clock.now += 3600

    reader = Reader(b"ready\n", time_is_over)
    with shell("trap 'echo bye; exit 0' TERM; echo ready; while :; do :; done", reader) as child:
        ending = child.wait(600)
    assert reader.output == b"ready\nbye\n"
    assert ending == Ending(exit_code=0, signal=None, timed_out=True)
    assert not ending.succeeded


def test_what_does_not_heed_sigterm_is_killed(
    clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def time_is_over() -> None:
        clock.now += 3600

    monkeypatch.setattr(process, "GRACE", 0.0)
    with shell(f'exec sh -c "{STUBBORN}"', Reader(b"\n", time_is_over)) as child:
        ending = child.wait(600)
    assert ending == Ending(exit_code=None, signal=signal.SIGKILL, timed_out=True)


def test_a_time_out_that_is_over_ends_it_at_once() -> None:
    with shell("exec sleep 1000") as child:
        assert child.wait(-1).timed_out


def test_what_it_leaves_behind_is_ended_with_it(watch: Watch, pipe: Pipe) -> None:
    seen: list[Watched] = []

    def seen_alive() -> None:
        seen.append(watch(int(reader.output)))
        pipe.write("go on")

    # The leader ends when the test has seen the other one alive.
    reader = Reader(b"\n", seen_alive)
    with shell(f'sh -c "{STUBBORN}" & read line < "{pipe.path}"', reader) as child:
        assert child.wait(PATIENCE).succeeded
    assert seen[0].ends()


def test_it_does_not_wait_for_one_that_left_the_group_and_holds_the_pipe(watch: Watch) -> None:
    reader = Reader()
    with start(sys.executable, "-c", DAEMON.format(["sleep", "1000"]), reader=reader) as child:
        ending = child.wait(PATIENCE)
    assert ending.succeeded
    assert watch(int(reader.output)).is_alive


def test_one_that_left_the_group_and_never_stops_writing_does_not_hold_it_up() -> None:
    with start(sys.executable, "-c", DAEMON.format(["yes"])) as child:
        assert child.wait(PATIENCE).succeeded


def test_no_more_than_so_much_is_read_after_the_exit(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "CHUNK", 10)
    reader = Reader()
    with shell("head -c 60000 /dev/zero", reader) as child:
        assert watch(child.pid).ends()
        assert child.wait(PATIENCE).succeeded
    assert len(reader.output) < 60_000


def test_an_output_that_is_closed_early_is_read_no_more() -> None:
    reader = Reader()
    with shell("echo last; exec >&- 2>&-; sleep 0.2; exit 7", reader) as child:
        assert child.wait(PATIENCE).exit_code == 7
    assert reader.pieces.count(b"") < 5


def test_leaving_the_block_by_an_error_ends_the_group(watch: Watch) -> None:
    seen: list[Watched] = []

    def disk_is_full() -> None:
        seen.extend((watch(child.pid), watch(int(reader.output))))
        raise OSError("disk is full")

    reader = Reader(b"\n", disk_is_full)
    with (
        pytest.raises(OSError, match="disk is full"),
        shell(f'sh -c "{STUBBORN}" & exec sleep 1000', reader) as child,
    ):
        child.wait(PATIENCE)
    assert [each.ends() for each in seen] == [True, True]


def test_no_descriptor_is_left_open() -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = descriptors()
    with shell("true") as child:
        child.wait(PATIENCE)
    assert descriptors() == before


def test_a_request_to_stop_ends_the_group(watch: Watch, stop: int) -> None:
    seen: list[Watched] = []

    def ask_to_stop() -> None:
        seen.extend((watch(child.pid), watch(int(reader.output))))
        os.eventfd_write(stop, 1)

    reader = Reader(b"\n", ask_to_stop)
    with (
        pytest.raises(StoppedError),
        shell(f'sh -c "{STUBBORN}" & exec sleep 1000', reader, stop) as child,
    ):
        child.wait(PATIENCE)
    assert [each.ends() for each in seen] == [True, True]


def test_a_stopped_child_may_say_its_last_words(stop: int) -> None:
    reader = Reader(b"ready\n", lambda: os.eventfd_write(stop, 1))
    script = "trap 'echo bye; exit' TERM; echo ready; while :; do :; done"
    with pytest.raises(StoppedError), shell(script, reader, stop) as child:
        child.wait(PATIENCE)
    assert reader.output == b"ready\nbye\n"


def test_a_request_to_stop_during_the_last_words_does_not_spare_the_child(
    clock: SimpleNamespace, stop: int, watch: Watch
) -> None:
    def time_is_over() -> None:
        clock.now += 3600

    words = Reader(b"bye\n", lambda: os.eventfd_write(stop, 1))
    reader = Reader(b"ready\n", time_is_over)

    def receive(data: bytes) -> None:
        reader.receive(data)
        words.receive(data)

    script = "trap 'echo bye; exit 4' TERM; echo ready; while :; do :; done"
    with Child(
        ["sh", "-c", script], cwd=Path("/"), environ=os.environ, receive=receive, stop=stop
    ) as child:
        ending = child.wait(600)
    assert ending == Ending(exit_code=4, signal=None, timed_out=True)


def test_nothing_is_started_after_a_request_to_stop(stop: int, tmp_path: Path) -> None:
    os.eventfd_write(stop, 1)
    with pytest.raises(StoppedError):
        shell(f"touch '{tmp_path}/started'", stop=stop)
    assert not (tmp_path / "started").exists()


def test_a_start_time_stays_the_same_and_ends_with_the_process() -> None:
    with subprocess.Popen(["sleep", "1000"]) as sleeper:
        first = start_time(sleeper.pid)
        assert first is not None
        assert start_time(sleeper.pid) == first
        sleeper.kill()
        sleeper.wait()
        assert start_time(sleeper.pid) is None


def test_a_start_time_is_found_whatever_the_process_is_called(
    tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    odd = tmp_path / "a) S 1 (b"
    odd.symlink_to("/bin/sleep")
    with subprocess.Popen([odd, "1000"]) as oddly_named:
        started, plain = start_time(oddly_named.pid), start_time(sleeper.pid)
        oddly_named.kill()
    assert started is not None
    assert plain is not None
    assert plain <= started


def test_an_orphan_is_ended_with_its_group(watch: Watch) -> None:
    with subprocess.Popen(
        ["sh", "-c", f'sh -c "{STUBBORN}" & exec sleep 1000'],
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as leader:
        assert leader.stdout is not None
        grandchild = watch(int(leader.stdout.readline()))
        assert end_orphan(leader.pid, start_time(leader.pid))
        assert leader.wait(PATIENCE) == -signal.SIGTERM
    assert grandchild.ends()


def test_an_orphan_may_take_its_locks_away_first(tmp_path: Path) -> None:
    lock = tmp_path / "index.lock"
    script = f"trap 'rm {lock}; exit' TERM; touch {lock}; echo; while :; do :; done"
    with subprocess.Popen(
        ["sh", "-c", script], stdout=subprocess.PIPE, start_new_session=True
    ) as orphan:
        assert orphan.stdout is not None
        orphan.stdout.readline()
        assert end_orphan(orphan.pid, start_time(orphan.pid))
    assert not lock.exists()


def test_a_process_that_got_the_pid_of_an_orphan_is_let_alone(
    sleeper: subprocess.Popen[bytes],
) -> None:
    started = start_time(sleeper.pid)
    assert started is not None
    assert not end_orphan(sleeper.pid, started - 1)
    assert not end_orphan(sleeper.pid, None)
    assert sleeper.poll() is None


def test_an_orphan_that_is_gone_is_no_error(sleeper: subprocess.Popen[bytes]) -> None:
    started = start_time(sleeper.pid)
    sleeper.kill()
    sleeper.wait()
    assert not end_orphan(sleeper.pid, started)
