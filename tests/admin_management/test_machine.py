"""The name of a machine, and where its programs are found."""

import os
import stat
from pathlib import Path

import pytest

from admin_management.machine import find_tool, node


def test_a_tool_is_found_by_name_by_path_and_where_installers_put_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / ".local" / "bin" / "some-tool-of-ours"
    tool.parent.mkdir(parents=True)
    tool.touch(mode=stat.S_IRWXU)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert find_tool("some-tool-of-ours") == str(tool)
    assert find_tool(str(tool)) == str(tool)
    assert find_tool("no-such-tool-of-ours") is None
    monkeypatch.delenv("PATH")
    assert find_tool("some-tool-of-ours") == str(tool)


def test_a_tool_on_the_path_comes_first_and_its_path_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in (tmp_path / "bin", tmp_path / ".local" / "bin"):
        folder.mkdir(parents=True)
        (folder / "some-tool-of-ours").touch(mode=stat.S_IRWXU)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "bin")
    monkeypatch.chdir(tmp_path)
    assert find_tool("some-tool-of-ours") == str(tmp_path / "bin" / "some-tool-of-ours")


def test_a_node_is_a_machine() -> None:
    assert node() == os.uname().nodename[:100] != ""
