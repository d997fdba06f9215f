"""Which variables of the site a tool may see."""

import os

from hypothesis import given
from hypothesis import strategies as st

from admin_management.runner.variables import for_tools, for_uv


def test_secrets_of_the_site_do_not_reach_a_tool() -> None:
    environ = {
        "HOME": "/home/site",
        "DATABASE_URL": "postgres://x",
        "SECRET_KEY": "x",
        "DEBUG": "1",
    }
    assert for_tools(environ, []) == {"HOME": "/home/site", "PATH": os.defpath, "NO_COLOR": "1"}


def test_where_things_are_and_how_to_get_there_does() -> None:
    environ = {
        "LC_ALL": "C.UTF-8",
        "PM2_HOME": "/home/site/.pm2",
        "SSH_AUTH_SOCK": "/run/agent",
        "GIT_SSH_COMMAND": "ssh -i key",
        "https_proxy": "http://proxy:3128",
        "SSL_CERT_FILE": "/etc/ca.pem",
        "TMPDIR": "/var/tmp",
    }
    assert for_tools(environ, []).items() >= environ.items()


def test_the_password_of_a_package_index_reaches_uv_alone() -> None:
    index = {"UV_INDEX_PRIVATE_PASSWORD": "of a package index"}
    assert for_uv(index | {"SECRET_KEY": "x"}) == index
    assert not index.keys() & for_tools(index, []).keys()


def test_variables_that_steer_git_or_python_do_not() -> None:
    environ = {"GIT_DIR": "/x", "GIT_CONFIG_COUNT": "1", "PYTHONPATH": "/x", "VIRTUAL_ENV": "/x"}
    assert for_tools(environ, []).keys() == {"PATH", "NO_COLOR"}


def test_the_folders_of_the_tools_are_searched_last() -> None:
    tools = ["/usr/bin/git", "/opt/node/bin/pm2", "/opt/node/bin/uv", "not-found"]
    environ = for_tools({"PATH": "/usr/local/bin"}, tools)
    assert environ["PATH"] == "/usr/local/bin:/usr/bin:/opt/node/bin"


NAMES = st.sampled_from(["PATH", "HOME", "LC_ALL", "UV_CACHE_DIR", "SECRET_KEY", "DATABASE_URL"])


@given(st.dictionaries(NAMES | st.text(min_size=1), st.text(), max_size=8), st.text("/ab"))
def test_a_tool_sees_no_variable_but_those_it_is_known_to_need(
    environ: dict[str, str], tool: str
) -> None:
    seen = for_tools(environ, [tool])
    for name in seen.keys() - {"PATH", "NO_COLOR"}:
        assert seen[name] == environ[name]
        assert not name.startswith("UV_")
    assert not {"SECRET_KEY", "DATABASE_URL"} & seen.keys()
    assert seen["PATH"].startswith(environ.get("PATH", os.defpath))
