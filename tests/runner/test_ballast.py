"""Room on a full disk."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from admin_management.runner import ballast as ballast_module
from admin_management.runner.ballast import PLENTY, SIZE, Ballast


@pytest.fixture
def ballast(tmp_path: Path) -> Ballast:
    ballast = Ballast(tmp_path / "ballast")
    ballast.put()
    return ballast


def disk_with(free: int) -> Callable[[Path], SimpleNamespace]:
    return lambda path: SimpleNamespace(f_bavail=free, f_frsize=1)


def fails_with(*numbers: int) -> Callable[[], str]:
    """Fails with these errors, one after the other, and then works."""
    left = list(numbers)

    def act() -> str:
        if left:
            raise OSError(left.pop(0), "of the disk")
        return "done"

    return act


def test_it_takes_room_that_no_compression_gives_back(ballast: Ballast) -> None:
    content = ballast.path.read_bytes()
    assert len(content) == SIZE
    assert len(set(content)) == 256
    assert stat.S_IMODE(ballast.path.stat().st_mode) == 0o600
    assert os.listdir(ballast.path.parent) == ["ballast"]  # noqa: PTH208


def test_it_is_put_there_once(ballast: Ballast) -> None:
    before = ballast.path.stat()
    ballast.put()
    assert ballast.path.stat().st_ino == before.st_ino


def test_it_does_not_take_what_a_run_has_just_freed(
    ballast: Ballast, monkeypatch: pytest.MonkeyPatch
) -> None:
    ballast.path.unlink()
    monkeypatch.setattr(os, "statvfs", disk_with(PLENTY - 1))
    ballast.put()
    assert not ballast.path.exists()
    monkeypatch.setattr(os, "statvfs", disk_with(PLENTY))
    ballast.put()
    assert ballast.path.stat().st_size == SIZE


def test_a_disk_without_room_for_it_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, content: bytes) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(Path, "write_bytes", full)
    Ballast(tmp_path / "ballast").put()
    assert list(tmp_path.iterdir()) == []
    Ballast(tmp_path / "nowhere" / "ballast").put()


def test_what_works_does_not_cost_it(ballast: Ballast) -> None:
    assert ballast.saves(fails_with()) == "done"
    assert ballast.path.exists()
    assert not ballast.is_given_up


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_it_is_given_up_for_what_a_full_disk_has_refused(ballast: Ballast, number: int) -> None:
    assert ballast.saves(fails_with(number)) == "done"
    assert not ballast.path.exists()
    assert ballast.is_given_up
    # It may be missing already.
    assert ballast.saves(fails_with(number)) == "done"


def test_a_disk_that_stays_full_is_an_error(ballast: Ballast) -> None:
    with pytest.raises(OSError, match="of the disk"):
        ballast.saves(fails_with(errno.ENOSPC, errno.ENOSPC))


def test_another_error_does_not_cost_it(ballast: Ballast) -> None:
    with pytest.raises(OSError, match="of the disk"):
        ballast.saves(fails_with(errno.EIO))
    assert ballast.path.exists()


def test_it_makes_room_for_others_when_that_is_short(
    ballast: Ballast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "statvfs", disk_with(SIZE))
    ballast.give_up_if_short()
    assert ballast.path.exists()
    monkeypatch.setattr(os, "statvfs", disk_with(SIZE - 1))
    ballast.give_up_if_short()
    assert not ballast.path.exists()
    assert ballast_module.PLENTY > 2 * SIZE


def test_a_folder_that_is_gone_is_no_error(tmp_path: Path) -> None:
    Ballast(tmp_path / "nowhere" / "ballast").give_up_if_short()
