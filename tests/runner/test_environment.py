"""Environments: built aside, switched to by one rename, never edited in place."""

import ctypes
import errno
import os
import py_compile
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from admin_management.runner.environment import PROVED, SPARE, Environments

PYTHON = "/usr/bin/python3"

RUN = "0f7c2a54-0000"

_watchers: list[Path] = []
_missing: list[str] = []


def _look(event: str, arguments: object) -> None:
    """Before each system call that changes a file: is what is watched still there?"""
    if event.startswith(("os.", "shutil.", "ctypes.")):
        missing = (path for path in _watchers if not path.exists())
        _missing.extend(f"{path} is missing before {event}" for path in missing)


sys.addaudithook(_look)


@contextmanager
def always_there(path: Path) -> Iterator[None]:
    """Fails if there is a moment, between two system calls, in which the path is missing."""
    _watchers.append(path)
    try:
        yield
    finally:
        _watchers.remove(path)
    assert path.exists()
    assert _missing == []


@pytest.fixture
def environments(tmp_path: Path) -> Environments:
    (tmp_path / "site").mkdir()
    (tmp_path / "state").mkdir()
    return Environments(tmp_path / "state", tmp_path / "site" / ".venv")


def build(environments: Environments, key: str, run: str = "run1") -> Path:
    """A new environment, as far as this module looks at one."""
    path = environments.start_new(key, run)
    path.mkdir()
    (path / "pyvenv.cfg").write_text(f"{key} {run}\n")
    return path


def live(environments: Environments) -> str:
    return (environments.link / "pyvenv.cfg").read_text().strip()


def snapshot(folder: Path) -> list[tuple[str, int, int]]:
    found = [(each, each.lstat()) for each in sorted(folder.rglob("*"))]
    return [(str(each), stat.st_ino, stat.st_mtime_ns) for each, stat in found]


def names(environments: Environments) -> list[str]:
    return sorted(path.name for path in environments.folder.iterdir())


class TestKey:
    def test_the_same_tree_has_the_same_key(
        self, environments: Environments, tmp_path: Path
    ) -> None:
        (tmp_path / "uv.lock").write_text("locked")
        key = environments.key(tmp_path, PYTHON)
        assert environments.key(tmp_path, PYTHON) == key
        assert len(key) == 16

    @pytest.mark.parametrize("name", ["pyproject.toml", "uv.lock", ".python-version"])
    def test_what_decides_about_an_environment_changes_its_key(
        self, environments: Environments, tmp_path: Path, name: str
    ) -> None:
        absent = environments.key(tmp_path, PYTHON)
        (tmp_path / name).write_text("1")
        present = environments.key(tmp_path, PYTHON)
        (tmp_path / name).write_text("2")
        assert len({absent, present, environments.key(tmp_path, PYTHON)}) == 3

    def test_another_interpreter_is_another_key(
        self, environments: Environments, tmp_path: Path
    ) -> None:
        one = environments.key(tmp_path, PYTHON)
        assert environments.key(tmp_path, "/usr/bin/python3.12") != one

    def test_text_that_moves_from_one_file_to_the_next_changes_it(
        self, environments: Environments, tmp_path: Path
    ) -> None:
        (tmp_path / "pyproject.toml").write_text("ab")
        (tmp_path / "uv.lock").write_text("c")
        one = environments.key(tmp_path, PYTHON)
        (tmp_path / "pyproject.toml").write_text("a")
        (tmp_path / "uv.lock").write_text("bc")
        assert environments.key(tmp_path, PYTHON) != one

    def test_other_files_do_not_matter(self, environments: Environments, tmp_path: Path) -> None:
        one = environments.key(tmp_path, PYTHON)
        (tmp_path / "manage.py").write_text("print()")
        assert environments.key(tmp_path, PYTHON) == one


def compiled(environment: Path, source: str = "print(1)", name: str = "module") -> Path:
    """A module of an environment, and the bytecode that Python writes for it."""
    path = environment / "lib/python3/site-packages/package" / f"{name}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source)
    os.utime(path, (1_000_000_000, 1_000_000_000))
    return Path(str(py_compile.compile(str(path), doraise=True)))


class TestShareBytecode:
    @pytest.fixture
    def live(self, environments: Environments) -> Path:
        path = build(environments, "k1")
        environments.switch_to(path, RUN)
        return path

    def test_what_was_compiled_of_the_same_source_is_compiled_already(
        self, environments: Environments, live: Path
    ) -> None:
        bytecode = compiled(live)
        built = build(environments, "k2")
        compiled(built).unlink()
        environments.share_bytecode(built)
        assert (built / bytecode.relative_to(live)).samefile(bytecode)

    def test_of_another_source_it_is_not(self, environments: Environments, live: Path) -> None:
        bytecode = compiled(live)
        built = build(environments, "k2")
        compiled(built, "print(1) ").unlink()
        environments.share_bytecode(built)
        assert not (built / bytecode.relative_to(live)).exists()

    def test_what_the_new_one_has_compiled_itself_stays(
        self, environments: Environments, live: Path
    ) -> None:
        compiled(live)
        built = build(environments, "k2")
        own = compiled(built)
        environments.share_bytecode(built)
        assert own.stat().st_nlink == 1

    def test_of_what_the_new_one_does_not_have_and_of_rubbish_nothing_is_shared(
        self, environments: Environments, live: Path
    ) -> None:
        compiled(live)
        compiled(live, name="short").write_bytes(b"x")
        built = build(environments, "k2")
        compiled(built, name="short").unlink()
        environments.share_bytecode(built)
        assert list(built.rglob("*.pyc")) == []

    def test_before_the_first_environment_there_is_none(self, environments: Environments) -> None:
        environments.share_bytecode(build(environments, "k2"))


class TestIsLive:
    def test_what_was_switched_to_is(self, environments: Environments) -> None:
        environments.switch_to(build(environments, "k1"), RUN)
        assert environments.is_live("k1")
        assert not environments.is_live("k2")

    def test_nothing_is_before_the_first_run(self, environments: Environments) -> None:
        assert not environments.is_live("k1")

    def test_a_plain_folder_is_not_ours(self, environments: Environments) -> None:
        environments.link.mkdir()
        (environments.link / PROVED).touch()
        assert not environments.is_live(".venv")

    def test_one_that_was_not_proved_is_not(self, environments: Environments) -> None:
        environments.link.symlink_to(build(environments, "k1"))
        assert not environments.is_live("k1")

    def test_one_that_somebody_deleted_is_not(self, environments: Environments) -> None:
        built = build(environments, "k1")
        environments.switch_to(built, RUN)
        for path in built.iterdir():
            path.unlink()
        built.rmdir()
        assert not environments.is_live("k1")


class TestStartNew:
    def test_the_remains_of_a_try_that_failed_are_removed(self, environments: Environments) -> None:
        path = build(environments, "k1")
        (path / "half").touch()
        assert environments.start_new("k1", "run1") == path
        assert not path.exists()

    def test_another_run_does_not_touch_the_live_one(self, environments: Environments) -> None:
        first = build(environments, "k1", "run1")
        environments.switch_to(first, RUN)
        second = environments.start_new("k1", "run2")
        assert second != first
        assert live(environments) == "k1 run1"


class TestSwitchTo:
    def test_the_first_one_is_linked(self, environments: Environments) -> None:
        environments.switch_to(build(environments, "k1"), RUN)
        assert environments.link.is_symlink()
        assert live(environments) == "k1 run1"

    def test_the_next_one_takes_its_place_and_the_old_one_is_not_changed(
        self, environments: Environments
    ) -> None:
        first = build(environments, "k1")
        environments.switch_to(first, RUN)
        before = snapshot(first)
        second = build(environments, "k2")
        with always_there(environments.link / "pyvenv.cfg"):
            environments.switch_to(second, RUN)
        assert live(environments) == "k2 run1"
        assert snapshot(first) == before

    def test_a_plain_environment_is_taken_over_without_a_moment_in_which_it_is_missing(
        self, environments: Environments
    ) -> None:
        subprocess.run(
            (sys.executable, "-m", "venv", "--without-pip", environments.link), check=True
        )
        inode = environments.link.stat().st_ino
        built = build(environments, "k1")
        with always_there(environments.link / "pyvenv.cfg"):
            environments.switch_to(built, RUN)
        assert environments.link.is_symlink()
        assert live(environments) == "k1 run1"
        (kept,) = (each for each in environments.folder.iterdir() if each != built)
        assert kept.name == "taken-over-0f7c2a54"
        assert kept.stat().st_ino == inode
        assert (kept / "bin" / "python").exists()
        assert os.listdir(environments.link.parent) == [".venv"]  # noqa: PTH208

    def test_the_link_leads_there_also_when_the_checkout_is_reached_through_a_link(
        self, tmp_path: Path
    ) -> None:
        (tmp_path / "data" / "deep" / "site").mkdir(parents=True)
        (tmp_path / "site").symlink_to("data/deep/site")
        (tmp_path / "state").mkdir()
        environments = Environments(tmp_path / "state", tmp_path / "site" / ".venv")
        environments.switch_to(build(environments, "k1"), RUN)
        assert live(environments) == "k1 run1"

    def test_a_checkout_that_is_moved_takes_its_environment_along(self, tmp_path: Path) -> None:
        (tmp_path / "site" / "state").mkdir(parents=True)
        environments = Environments(tmp_path / "site" / "state", tmp_path / "site" / ".venv")
        environments.switch_to(build(environments, "k1"), RUN)
        (tmp_path / "site").rename(tmp_path / "moved")
        assert (tmp_path / "moved" / ".venv" / "pyvenv.cfg").exists()

    def test_a_link_of_the_sites_own_is_replaced_and_what_it_led_to_is_kept(
        self, environments: Environments, tmp_path: Path
    ) -> None:
        (tmp_path / "own").mkdir()
        (tmp_path / "own" / "pyvenv.cfg").write_text("of the site")
        environments.link.symlink_to(tmp_path / "own")
        with always_there(environments.link / "pyvenv.cfg"):
            environments.switch_to(build(environments, "k1"), RUN)
        assert live(environments) == "k1 run1"
        assert (tmp_path / "own" / "pyvenv.cfg").read_text() == "of the site"

    def test_a_link_that_leads_nowhere_is_replaced(self, environments: Environments) -> None:
        environments.link.symlink_to("nowhere")
        environments.switch_to(build(environments, "k1"), RUN)
        assert live(environments) == "k1 run1"

    def test_what_a_killed_run_left_does_not_stop_the_next(
        self, environments: Environments
    ) -> None:
        leftover = environments.link.with_name(".venv.new")
        leftover.symlink_to("nowhere")
        environments.switch_to(build(environments, "k1"), RUN)
        # Killed between the swap and the putting away:
        leftover.mkdir()
        (leftover / "pyvenv.cfg").write_text("the plain one")
        environments.switch_to(build(environments, "k2"), RUN)
        assert live(environments) == "k2 run1"
        assert not leftover.exists()
        kept = [name for name in names(environments) if name.startswith("taken-over-")]
        assert len(kept) == 1
        assert (environments.folder / kept[0] / "pyvenv.cfg").read_text() == "the plain one"

    @pytest.mark.parametrize("is_folder", [True, False])
    def test_what_is_no_environment_is_never_replaced(
        self, environments: Environments, is_folder: bool
    ) -> None:
        if is_folder:
            environments.link.mkdir()
            (environments.link / "precious").touch()
        else:
            environments.link.write_text("precious")
        with pytest.raises(OSError, match="not a virtual environment"):
            environments.switch_to(build(environments, "k1"), RUN)
        assert not environments.link.is_symlink()
        assert environments.link.exists()

    def test_a_system_that_cannot_swap_leaves_the_live_one_as_it_is(
        self, environments: Environments, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        environments.link.mkdir()
        (environments.link / "pyvenv.cfg").write_text("the plain one")
        monkeypatch.setattr(ctypes, "CDLL", lambda *args, **kwargs: object())
        with pytest.raises(OSError, match="cannot swap a folder and a link") as raised:
            environments.switch_to(build(environments, "k1"), RUN)
        assert raised.value.errno == errno.ENOSYS
        assert live(environments) == "the plain one"

    def test_a_file_system_that_cannot_swap_leaves_the_live_one_as_it_is(
        self, environments: Environments, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Libc:
            @staticmethod
            def renameat2(*args: object) -> int:
                ctypes.set_errno(errno.EINVAL)
                return -1

        environments.link.mkdir()
        (environments.link / "pyvenv.cfg").write_text("the plain one")
        monkeypatch.setattr(ctypes, "CDLL", lambda *args, **kwargs: Libc)
        with pytest.raises(OSError, match="Invalid argument"):
            environments.switch_to(build(environments, "k1"), RUN)
        assert live(environments) == "the plain one"


class TestGoingBack:
    def test_leads_to_the_one_that_was_live_before(self, environments: Environments) -> None:
        environments.switch_to(build(environments, "k1"), "run0")
        before = environments.before(RUN)
        environments.switch_to(build(environments, "k2"), RUN)
        with always_there(environments.link / "pyvenv.cfg"):
            assert environments.switch_back(before, RUN)
        assert live(environments) == "k1 run1"
        assert not environments.switch_back(before, RUN)
        assert live(environments) == "k1 run1"

    def test_leads_to_the_plain_one_that_the_run_had_taken_over(
        self, environments: Environments
    ) -> None:
        environments.link.mkdir()
        (environments.link / "pyvenv.cfg").write_text("the plain one")
        before = environments.before(RUN)
        environments.switch_to(build(environments, "k1"), RUN)
        assert environments.switch_back(before, RUN)
        assert live(environments) == "the plain one"

    def test_leads_there_also_when_it_was_killed_before_the_plain_one_was_put_away(
        self, environments: Environments
    ) -> None:
        leftover = environments.link.with_name(".venv.new")
        leftover.mkdir()
        (leftover / "pyvenv.cfg").write_text("the plain one")
        environments.link.symlink_to(build(environments, "k1"))
        assert environments.switch_back("taken-over-0f7c2a54", RUN)
        assert live(environments) == "the plain one"
        assert not leftover.exists()

    def test_leads_to_what_a_link_of_the_sites_own_had_led_to(
        self, environments: Environments, tmp_path: Path
    ) -> None:
        (tmp_path / "own").mkdir()
        (tmp_path / "own" / "pyvenv.cfg").write_text("of the site")
        environments.link.symlink_to(tmp_path / "own")
        before = environments.before(RUN)
        environments.switch_to(build(environments, "k1"), RUN)
        assert environments.switch_back(before, RUN)
        assert live(environments) == "of the site"

    def test_does_nothing_while_the_plain_one_is_still_live(
        self, environments: Environments
    ) -> None:
        environments.link.mkdir()
        (environments.link / "pyvenv.cfg").write_text("the plain one")
        before = environments.before(RUN)
        assert not environments.switch_back(before, RUN)
        assert not environments.link.is_symlink()
        assert live(environments) == "the plain one"

    def test_says_so_when_somebody_has_deleted_it(self, environments: Environments) -> None:
        environments.switch_to(build(environments, "k1"), "run0")
        before = environments.before(RUN)
        environments.switch_to(build(environments, "k2"), RUN)
        (environments.folder / before / "pyvenv.cfg").unlink()
        with pytest.raises(OSError, match="the environment from before is gone"):
            environments.switch_back(before, RUN)
        assert live(environments) == "k2 run1"


class TestPrune:
    def test_the_live_one_and_the_newest_others_are_kept(self, environments: Environments) -> None:
        for age, key in enumerate(("k5", "k4", "k3", "k2", "k1")):
            os.utime(build(environments, key), (0, 1_000_000 - age))
        environments.switch_to(environments.folder / "k1-run1", RUN)
        os.utime(environments.folder / "k1-run1", (0, 0))
        environments.prune()
        assert names(environments) == ["k1-run1", "k4-run1", "k5-run1"]
        assert SPARE == 2
        assert live(environments) == "k1 run1"

    def test_a_live_one_elsewhere_is_no_reason_to_fail(
        self, environments: Environments, tmp_path: Path
    ) -> None:
        environments.link.symlink_to(tmp_path)
        build(environments, "k1")
        environments.prune()
        assert names(environments) == ["k1-run1"]


def test_settings_of_other_tools_ask_for_no_other_environment(
    environments: Environments, tmp_path: Path
) -> None:
    project = tmp_path / "pyproject.toml"
    project.write_text('[project]\nname = "site"\n[tool.ruff]\nline-length = 80\n')
    before = environments.key(tmp_path, PYTHON)
    project.write_text('[project]\nname = "site"\n[tool.ruff]\nline-length = 100\n')
    assert environments.key(tmp_path, PYTHON) == before
    project.write_text('[project]\nname = "site"\n[tool.uv]\npackage = false\n')
    assert environments.key(tmp_path, PYTHON) != before
    project.write_text("this is no TOML")
    assert environments.key(tmp_path, PYTHON) != before


def test_what_was_never_finished_is_deleted_before_what_one_could_go_back_to(
    environments: Environments,
) -> None:
    for number in range(SPARE + 1):
        environments.switch_to(build(environments, f"key{number}"), "run1")
    for number in range(SPARE):
        build(environments, f"torn{number}")
    environments.prune()
    left = {each.name.partition("-")[0] for each in environments.folder.iterdir()}
    assert left == {f"key{number}" for number in range(SPARE + 1)}


def test_a_dangling_link_is_no_reason_to_fail(environments: Environments) -> None:
    environments.switch_to(build(environments, "key"), "run1")
    (environments.folder / "dangling").symlink_to("nowhere")
    environments.prune()
    assert environments.link.exists()
