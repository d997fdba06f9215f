"""The environment variables of child processes: an allow-list, except for the site's own code."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

_NAMES = frozenset(
    (
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR"),
        *("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR"),
        *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
        *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO", "NODE_EXTRA_CA_CERTS"),
        *("SSH_AUTH_SOCK", "GIT_SSH_COMMAND", "PM2_HOME"),
    )
)


def for_tools(environ: Mapping[str, str], tools: Iterable[str]) -> dict[str, str]:
    """What git, uv and PM2 may see of the site's variables: where things are, and no secrets.

    The folders of the tools join the end of PATH: PM2 is a script that looks for node there.
    """
    allowed = {
        name: value for name, value in environ.items() if name in _NAMES or name.startswith("LC_")
    }
    folders = [str(Path(tool).parent) for tool in tools if Path(tool).is_absolute()]
    path = [allowed.get("PATH", os.defpath), *dict.fromkeys(folders)]
    return allowed | {"PATH": os.pathsep.join(path), "NO_COLOR": "1"}


def for_uv(environ: Mapping[str, str]) -> dict[str, str]:
    """What uv sees beside that: a private package index is configured so, password and all."""
    return {name: value for name, value in environ.items() if name.startswith("UV_")}
