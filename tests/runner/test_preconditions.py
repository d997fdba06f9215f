"""What must be true before an update may begin, and how each says what to do."""

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin_management.runner.execution import StepFailedError
from admin_management.runner.git import Repository
from admin_management.runner.plan import Plan
from admin_management.runner.preconditions import check_all, holds_credential
from tests.runner.conftest import GIT, Site, program


def refusal(site: Site, plan: Plan | None = None, **variables: str) -> tuple[str, str]:
    """The message and the hint of the first thing that is not as it must be."""
    plan = plan or site.plan
    environ: Mapping[str, str] = site.environ | variables
    repository = Repository(Path(plan.checkout), GIT, environ)
    with pytest.raises(StepFailedError) as raised:
        check_all(plan, repository, environ)
    return str(raised.value), raised.value.hint


def pids(site: Site) -> Path:
    return Path(site.environ["PM2_HOME"]) / "pids"


def test_a_site_as_it_must_be_may_begin_and_pm2_is_not_asked(site: Site) -> None:
    check_all(site.plan, Repository(site.checkout.path, GIT, site.environ), site.environ)


@pytest.mark.parametrize(("tool", "setting"), [("git", ""), ("uv", "UV"), ("pm2", "PM2")])
@pytest.mark.parametrize("found", ["/nowhere/tool", "tool", "/etc/passwd"])
def test_a_tool_that_was_not_found(site: Site, tool: str, setting: str, found: str) -> None:
    message, hint = refusal(site, replace(site.plan, **{tool: found}))  # type: ignore[arg-type]
    assert message == f"{found} was not found."
    assert f"Install {Path(found).name}" in hint
    assert (f'ADMIN_MANAGEMENT["{setting}"]' in hint) is bool(setting)


def test_a_folder_that_is_no_work_tree(site: Site, tmp_path: Path) -> None:
    message, hint = refusal(site, replace(site.plan, checkout=str(tmp_path)))
    assert message.startswith(f"{tmp_path} is not a work tree that git accepts: fatal: not a git")
    assert "Clone the site with git" in hint


def test_a_checkout_of_another_user(site: Site) -> None:
    message, hint = refusal(
        site, GIT_TEST_ASSUME_DIFFERENT_OWNER="1", GIT_CONFIG_GLOBAL="/dev/null"
    )
    assert "dubious ownership" in message
    assert f"chown -R USER {site.checkout.path}" in hint
    assert "safe.directory" not in hint


def test_another_branch(site: Site) -> None:
    site.checkout.git("switch", "--quiet", "--create", "feature")
    message, hint = refusal(site)
    assert message == "The checkout is on the branch feature, not on master."
    assert "git switch master" in hint
    assert 'ADMIN_MANAGEMENT["BRANCH"]' in hint


def test_a_detached_head(site: Site) -> None:
    site.checkout.git("checkout", "--quiet", "--detach")
    assert refusal(site)[0] == "The checkout is on a detached HEAD, not on master."


def test_a_remote_that_is_not_there(site: Site) -> None:
    site.checkout.git("remote", "remove", "origin")
    message, hint = refusal(site)
    assert message == "The checkout has no remote origin."
    assert 'ADMIN_MANAGEMENT["REMOTE"]' in hint


@pytest.mark.parametrize(
    "url",
    [
        "https://alice:hunter2@example.com/site.git",
        "https://ghp_0123456789abcdefghij0123456789abcdef@example.com/site.git",
        "ssh://git:hunter2@example.com/site.git",
        "https://example.com/site.git?private_token=hunter2",
        "https://example.com/site.git?ref=main;token=hunter2",
        "https://0123456789abcdef0123456789abcdef01234567@example.com/site.git",
        "https://ATCTT3xFfGN0T0ken-of_25_characters@example.com/site.git",
        "https://glpat%2D0123456789abcdefghij@example.com/site.git",
        "https://gldt-0123456789abcdefghij@example.com/site.git",
        "https://DEADBEEFDEADBEEFDEADBEEFDEADBEEF@example.com/site.git",
        f"https://{'a1b2c3d4' * 6}wxyz@example.com/octocat/site/_git/site",
    ],
)
def test_a_remote_with_a_credential_in_its_address(site: Site, url: str) -> None:
    site.checkout.git("remote", "set-url", "origin", url)
    message, hint = refusal(site)
    assert message == "The address of origin holds a password or token, in the clear."
    assert "git remote set-url origin" in hint
    assert "example.com" not in message + hint


def test_a_credential_that_gits_configuration_puts_into_the_address(site: Site) -> None:
    site.checkout.git("remote", "set-url", "origin", "https://example.com/site.git")
    rewritten = "url.https://alice:hunter2@example.com/.insteadOf"
    site.checkout.git("config", rewritten, "https://example.com/")
    message, hint = refusal(site)
    assert "holds a password or token" in message
    assert "insteadof" in hint


@pytest.mark.parametrize(
    "url",
    [
        "git@example.com:site.git",
        "ssh://git@example.com:2222/site.git",
        "https://alice@example.com:8443/a:b@c/site.git",
        "https://my-organisation-name@example.com/my-organisation-name/site/_git/site",
        "ssh://APKAEIBAERJR2EXAMPLE@example.com/v1/repos/site",
        "ssh://[2001:db8::1]/srv/a@b.git",
        "https://example.com/site.git?ref=main",
    ],
)
def test_a_user_in_the_address_is_no_credential(site: Site, url: str) -> None:
    site.checkout.git("remote", "set-url", "origin", url)
    check_all(site.plan, Repository(site.checkout.path, GIT, site.environ), site.environ)


WORDS = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=12)
PATHS = st.lists(st.text(min_size=1).map(lambda text: quote(text, safe=":")), max_size=3)


@given(st.sampled_from(["https", "ssh", "git"]), WORDS, st.text(max_size=20), WORDS, PATHS)
def test_a_password_is_found_in_any_address_and_nothing_is_in_one_without(
    scheme: str, user: str, password: str, host: str, path: list[str]
) -> None:
    place = "/".join([f"{host}:22", *path])
    assert holds_credential(f"{scheme}://{user}:{quote(password, safe='')}@{place}")
    assert not holds_credential(f"{scheme}://{user}@{place}")
    assert not holds_credential(f"{scheme}://{place}")


@given(st.text())
def test_whatever_an_address_is_it_can_be_looked_at(address: str) -> None:
    assert holds_credential(address) in (True, False)


def test_going_back_asks_no_remote_whatever_its_address(site: Site) -> None:
    site.checkout.git("remote", "remove", "origin")
    plan = replace(site.plan, target="0" * 40)
    check_all(plan, Repository(site.checkout.path, GIT, site.environ), site.environ)


def test_local_changes(site: Site) -> None:
    (site.checkout.path / "version.txt").write_text("edited\n")
    message, hint = refusal(site)
    assert message == "The checkout has local changes: version.txt."
    assert "git stash" in hint
    assert (site.checkout.path / "version.txt").read_text() == "edited\n"


def test_many_local_changes_are_not_all_listed(site: Site) -> None:
    names = [f"file{number}" for number in range(9)]
    site.checkout.commit(dict.fromkeys(names, "1"))
    site.checkout.git("pull", "--quiet")
    for name in names:
        (site.checkout.path / name).write_text("2")
    assert refusal(site)[0] == (
        "The checkout has local changes: file0, file1, file2, file3, file4, …."
    )


def test_no_pm2_daemon(site: Site) -> None:
    (pids(site).parent / "pm2.pid").unlink()
    message, hint = refusal(site)
    assert message == f"No PM2 daemon runs for PM2_HOME={pids(site).parent}."
    assert "set PM2_HOME" in hint


def test_a_process_that_pm2_does_not_know(site: Site, tmp_path: Path) -> None:
    (pids(site) / "site-0.pid").unlink()
    listing = '[{"name":"b","pm2_env":{"status":"x"}},{"name":"a","pm2_env":{"status":"x"}}]'
    pm2 = program(tmp_path / "pm2", f"echo '{listing}'")
    message, hint = refusal(site, replace(site.plan, pm2=pm2))
    assert message == "PM2 knows no process 'site'; it knows a, b."
    assert 'ADMIN_MANAGEMENT["PM2_PROCESS"]' in hint
    message, _ = refusal(site, replace(site.plan, pm2=program(tmp_path / "pm2", "echo '[]'")))
    assert message == "PM2 knows no process 'site'; it knows none."


def test_a_process_without_a_pid_file_is_asked_for(site: Site, tmp_path: Path) -> None:
    (pids(site) / "site-0.pid").unlink()
    listing = '[{"name":"site","pm2_env":{"status":"stopped"}}]'
    plan = replace(site.plan, pm2=program(tmp_path / "pm2", f"echo '{listing}'"))
    check_all(plan, Repository(site.checkout.path, GIT, site.environ), site.environ)


def test_a_pm2_that_cannot_be_asked(site: Site, tmp_path: Path) -> None:
    (pids(site) / "site-0.pid").unlink()
    pm2 = program(tmp_path / "pm2", "exit 1")
    message, hint = refusal(site, replace(site.plan, pm2=pm2))
    assert re.fullmatch("pm2 jlist failed with exit code 1", message)
    assert hint == "Look at it with: pm2 list"


def test_nothing_was_changed_by_looking(site: Site) -> None:
    before = sorted(os.listdir(site.checkout.path / ".git"))  # noqa: PTH208
    check_all(site.plan, Repository(site.checkout.path, GIT, site.environ), site.environ)
    assert sorted(os.listdir(site.checkout.path / ".git")) == before  # noqa: PTH208
