"""This machine: its name, and where its programs and the checkout's repository are."""

import os
import shutil
import socket
from pathlib import Path

from .conf import AdminManagementSettings
from .runner.git import Repository
from .runner.variables import for_tools


def node() -> str:
    """The name of this machine: updates queue up per node."""
    return socket.gethostname()[:100]


def find_tool(name: str) -> str | None:
    """Full path of a tool given by name or path; None if it is not there.

    Beside PATH this looks where uv's and npm's own installers put programs, because a server
    started by an init system often has a shorter PATH than its administrator's shell.
    """
    usual = ("~/.local/bin", "~/.cargo/bin", "~/.npm-global/bin", "/usr/local/bin", "/usr/bin")
    places = [os.environ.get("PATH", ""), *(str(Path(each).expanduser()) for each in usual)]
    found = shutil.which(name, path=os.pathsep.join(places))
    return str(Path(found).absolute()) if found else None


def program(name: str) -> str:
    """Full path of a tool; as it was given if it is not there, so that starting it says so."""
    return find_tool(name) or name


def open_repository(conf: AdminManagementSettings) -> Repository:
    """The checkout's repository, to be looked at with the variables that git may see."""
    git = program("git")
    return Repository(conf.checkout, git, for_tools(os.environ, [git]))
