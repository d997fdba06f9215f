"""The lock: held while somebody lives, by nobody else, and free after any death."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from admin_management.runner.lock import Lock

HOLDER = """\
import sys
from pathlib import Path
from admin_management.runner.lock import Lock
lock = Lock.try_acquire(Path(sys.argv[1]))
print(lock is not None, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lock"


def acquired(path: Path) -> Lock:
    lock = Lock.try_acquire(path)
    assert lock is not None
    return lock


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def is_free(path: Path) -> bool:
    lock = Lock.try_acquire(path)
    if lock is None:
        return False
    lock.release()
    return True


def test_only_one_has_it(path: Path) -> None:
    with acquired(path):
        assert not is_free(path)
    assert is_free(path)


def test_somebody_who_does_not_get_it_leaves_no_descriptor_open(path: Path) -> None:
    with acquired(path):
        before = descriptors()
        assert Lock.try_acquire(path) is None
        assert descriptors() == before


def test_releasing_twice_does_not_close_what_others_opened_since(path: Path) -> None:
    lock = acquired(path)
    lock.release()
    reader, writer = os.pipe()
    lock.release()
    os.write(writer, b"still open")
    assert os.read(reader, 10) == b"still open"
    os.close(reader)
    os.close(writer)


def test_it_is_free_when_its_holder_is_killed(path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"True\n"
        assert not is_free(path)
        holder.kill()
    assert is_free(path)


def test_a_child_does_not_keep_it(path: Path) -> None:
    with acquired(path) as lock, subprocess.Popen(["sleep", "1000"], close_fds=False) as child:
        lock.release()
        assert is_free(path)
        child.kill()


def test_it_can_be_handed_over_without_a_moment_in_which_it_is_free(path: Path) -> None:
    lock = acquired(path)
    copy = os.dup(lock.descriptor)
    os.set_inheritable(copy, True)
    inherited = Lock.inherited(copy)
    assert not os.get_inheritable(copy)
    lock.release()
    assert not is_free(path)
    inherited.release()
    assert is_free(path)


def test_a_descriptor_that_holds_nothing_is_refused_while_somebody_has_the_lock(path: Path) -> None:
    with acquired(path):
        stranger = os.open(path, os.O_RDWR)
        with pytest.raises(BlockingIOError):
            Lock.inherited(stranger)
        os.close(stranger)


def test_its_file_is_private(path: Path) -> None:
    with acquired(path):
        assert path.stat().st_mode & 0o777 == 0o600


def test_a_look_at_the_lock_does_not_take_it(path: Path) -> None:
    path.unlink(missing_ok=True)
    assert Lock.is_free(path)
    with acquired(path):
        assert not Lock.is_free(path)
    assert Lock.is_free(path)
