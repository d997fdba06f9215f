"""The live site that the tests of this folder share."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from demo.live_site import LiveSite
from demo.tools import ROOT, Toolbox, free_port


@contextmanager
def running_site(folder: Path, toolbox: Toolbox) -> Iterator[LiveSite]:
    """The demo's site with gunicorn under a PM2 of its own, on a free port."""
    site = LiveSite(folder / "site", free_port(), toolbox)
    try:
        site.create()
        site.start()
        yield site
    finally:
        site.stop()


@pytest.fixture(scope="session")
def toolbox() -> Toolbox:
    """uv and PM2, installed for the tests."""
    toolbox = Toolbox(Path(ROOT / ".demo"))
    if not toolbox.pm2.exists() or shutil.which("node") is None:
        pytest.skip("PM2 is not installed: python3 dev.py test installs it where npm is there")
    toolbox.install_uv()
    return toolbox


@pytest.fixture(scope="session")
def site(toolbox: Toolbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSite]:
    """The live site that most tests share."""
    with running_site(tmp_path_factory.mktemp("live"), toolbox) as site:
        yield site
