"""Every payload that octokit has recorded of GitHub, from api.github.com and its own servers.

The npm package is fetched into the folder that OCTOKIT_EXAMPLES names, or .demo/octokit.
"""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from webhooks.models import Delivery

from .conftest import Deliver
from .payloads import FORM, JSON, as_form, as_json

ROOT = Path(__file__).parents[2]
PACKAGE = Path(__file__).with_name("npm")


@pytest.fixture(scope="session")
def examples() -> Path:
    """The installed package; one folder per content of the lock file, complete or not there."""
    cache = Path(os.environ.get("OCTOKIT_EXAMPLES") or ROOT / ".demo/octokit")
    lock = (PACKAGE / "package-lock.json").read_bytes()
    folder = cache / hashlib.sha256(lock).hexdigest()[:12]
    if not folder.exists():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("npm is not installed")
        install(npm, folder)
    return folder / "node_modules/@octokit/webhooks-examples"


def install(npm: str, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, ignore_cleanup_errors=True) as made:
        shutil.copytree(PACKAGE, made, dirs_exist_ok=True)
        argv = (npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
        done = subprocess.run(argv, cwd=made, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"npm could not fetch the examples: {done.stderr.strip()[-200:]}")
        if not folder.exists():  # another test process may have been faster
            Path(made).rename(folder)


def events(examples: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for server in sorted(examples.glob("*/index.json")):
        for event in json.loads(server.read_text()):
            for payload in event["examples"]:
                yield event["name"], payload


def expected(event: str, payload: dict[str, Any]) -> tuple[int, str]:
    if event == "ping":
        return 200, "ping"
    if event == "push" and payload["ref"] == "refs/heads/master" and not payload["deleted"]:
        return 202, "requested"
    return 202, "ignored"


@pytest.mark.django_db
@pytest.mark.parametrize(("encode", "content_type"), [(as_json, JSON), (as_form, FORM)])
def test_every_recorded_payload_has_the_right_outcome(
    examples: Path, deliver: Deliver, encode: Any, content_type: str
) -> None:
    outcomes: dict[str, int] = {}
    known = 0
    for event, payload in events(examples):
        body = encode(payload)
        # Some are the same in several versions of GitHub; here as if each came first.
        known += Delivery.objects.filter(body_sha256=sha256(body).hexdigest()).delete()[0]
        response = deliver(None, event=event, body=body, content_type=content_type)
        outcome = json.loads(response.content).get("outcome")
        assert (response.status_code, outcome) == expected(event, payload), (event, payload)
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    assert outcomes == {"requested": 2, "ping": 11, "ignored": 713}
    assert Delivery.objects.count() + known == 726
