"""A served site, and pipes through which it and the test tell each other when to go on."""

import sys
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runner.awaiting import Pipe
from tests.serve.site import ServedSite, site_files


@pytest.fixture
def site(tmp_path: Path) -> Iterator[ServedSite]:
    """Version 1 of the site, committed and not yet served."""
    site = ServedSite(tmp_path / "site")
    site.path.mkdir()
    site.git("init", "--quiet", "-b", "master")
    site.commit(site_files("1"))
    yield site
    site.close()


@pytest.fixture
def begun(site: ServedSite) -> Iterator[Pipe]:
    """Gets the pid of the worker in which a request for /hold/ has begun."""
    pipe = Pipe(site.path / ".git" / "begun")
    yield pipe
    pipe.close()


@pytest.fixture
def go(site: ServedSite) -> Iterator[Pipe]:
    """What is written here is the answer of /hold/."""
    pipe = Pipe(site.path / ".git" / "go")
    yield pipe
    pipe.close()


def make_environment(path: Path, name: str) -> None:
    """A virtual environment that has all of ours, and a module that says which one it is."""
    venv.create(path, symlinks=True)
    (packages,) = path.glob("lib/python*/site-packages")
    ours = next(each for each in sys.path if each.endswith("site-packages"))
    (packages / "ours.pth").write_text(f"import site; site.addsitedir({ours!r})\n")
    (packages / "this_environment.py").write_text(f'NAME = "{name}"\n')
