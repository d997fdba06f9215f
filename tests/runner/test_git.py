"""Git, asked safely."""

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin_management.runner import git
from admin_management.runner.git import GitError, Repository, environment, hardened
from tests.conftest import Checkout
from tests.runner.conftest import GIT, program


@pytest.fixture
def repository(checkout: Checkout) -> Repository:
    return Repository(checkout.path, GIT)


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """A file that is there only when something was executed that must not be."""
    return tmp_path / "was-executed"


def run(checkout: Checkout, argv: tuple[str, ...], environ: dict[str, str]) -> int:
    done = subprocess.run(argv, cwd=checkout.path, env=environ, check=False, capture_output=True)
    return done.returncode


def test_a_revision_is_a_full_sha(checkout: Checkout, repository: Repository) -> None:
    assert repository.revision() == repository.revision("master") == checkout.revision()
    assert len(repository.revision()) == 40


@pytest.mark.parametrize("name", ["no-such-branch", "--help", "-1", "HEAD:version.txt", ""])
def test_what_is_no_commit_is_an_error(repository: Repository, name: str) -> None:
    with pytest.raises(GitError, match="git rev-parse failed with exit code"):
        repository.revision(name)


def test_a_commit_in_one_line(checkout: Checkout, repository: Repository) -> None:
    assert repository.subject(checkout.revision()) == (
        f"{checkout.revision()[:7]} The first version"
    )


def test_the_branch_is_named_and_a_detached_head_has_none(
    checkout: Checkout, repository: Repository
) -> None:
    assert repository.branch() == "master"
    checkout.git("switch", "--quiet", "--create", "feature/x")
    assert repository.branch() == "feature/x"
    checkout.git("checkout", "--quiet", "--detach")
    assert repository.branch() == ""


def test_a_clean_tree_has_no_changed_files(checkout: Checkout, repository: Repository) -> None:
    (checkout.path / "untracked.txt").touch()
    (checkout.path / "version.txt").touch()
    assert repository.changed_files() == []


def test_changed_staged_and_deleted_files_are_listed_whatever_they_are_called(
    checkout: Checkout, repository: Repository
) -> None:
    checkout.commit({"a\nb ü.txt": "1", "gone.txt": "1", "staged.txt": "1"})
    checkout.git("pull", "--quiet")
    (checkout.path / "a\nb ü.txt").write_text("2")
    (checkout.path / "gone.txt").unlink()
    (checkout.path / "staged.txt").write_text("2")
    checkout.git("add", "staged.txt")
    assert repository.changed_files() == ["a\nb ü.txt", "gone.txt", "staged.txt"]


def test_an_error_says_what_git_said(repository: Repository) -> None:
    with pytest.raises(GitError, match="not a git command"):
        repository.ask("frobnicate")


def test_output_that_is_no_text_is_no_error(checkout: Checkout, repository: Repository) -> None:
    (checkout.path / "latin").write_bytes(b"caf\xe9\n")
    checkout.git("add", "latin")
    assert repository.ask("show", ":latin") == "caf\N{REPLACEMENT CHARACTER}"


def test_a_git_that_does_not_answer_is_given_up(checkout: Checkout, tmp_path: Path) -> None:
    slow = Repository(checkout.path, program(tmp_path / "slow-git", "exec sleep 1000"))
    with pytest.raises(GitError, match=r"git status did not answer in 0\.01 s"):
        slow.ask("status", timeout=0.01)


def test_a_git_that_is_not_there_is_named(checkout: Checkout) -> None:
    with pytest.raises(GitError, match="/nowhere/git cannot be started: No such file"):
        Repository(checkout.path, "/nowhere/git").ask("status")


def test_hooks_are_not_run(checkout: Checkout, marker: Path) -> None:
    for hook in ("post-merge", "post-checkout", "reference-transaction", "pre-auto-gc"):
        program(checkout.path / ".git" / "hooks" / hook, f"touch '{marker}'")
    revision = checkout.commit({"version.txt": "2\n"})
    environ = environment(os.environ, remote_is_a_path=True)
    assert run(checkout, hardened(GIT, "pull", "--ff-only"), environ) == 0
    assert checkout.revision() == revision
    assert not marker.exists()
    checkout.git("checkout", "--quiet", "--detach")
    assert marker.exists(), "the hooks of this test work"


def test_a_file_system_monitor_is_not_run(
    checkout: Checkout, repository: Repository, marker: Path, tmp_path: Path
) -> None:
    monitor = program(tmp_path / "monitor", f"touch '{marker}'")
    checkout.git("config", "core.fsmonitor", monitor)
    repository.changed_files()
    repository.ask("status")
    assert not marker.exists()
    checkout.git("status")
    assert marker.exists(), "the monitor of this test works"


def test_what_somebody_has_edited_in_a_submodule_is_left_alone(checkout: Checkout) -> None:
    checkout.git("config", "submodule.recurse", "true")
    add = ("-c", "protocol.file.allow=always", "submodule", "--quiet", "add")
    checkout.git(*add, str(checkout.origin), "theme")
    checkout.git("commit", "--quiet", "--message", "With a submodule")
    edited = checkout.path / "theme" / "version.txt"
    edited.write_text("edited on the server\n")
    assert run(checkout, hardened(GIT, "reset", "--hard", "--quiet", "HEAD"), {**os.environ}) == 0
    assert edited.read_text() == "edited on the server\n"
    checkout.git("reset", "--hard", "--quiet", "HEAD")
    assert edited.read_text() == "1\n", "the submodule of this test is one that git resets"


@pytest.mark.parametrize(
    ("name", "of_the_checkout", "value"),
    [
        ("core.hooksPath", "hooks", "/dev/null"),
        ("core.fsmonitor", "true", "false"),
        ("submodule.recurse", "true", "false"),
        ("transfer.bundleURI", "true", "false"),
        ("gc.autoDetach", "true", "false"),
        ("maintenance.autoDetach", "true", "false"),
        ("http.lowSpeedLimit", "0", "1000"),
        ("http.lowSpeedTime", "0", "20"),
    ],
)
def test_the_checkout_cannot_configure_away_what_makes_git_safe(
    checkout: Checkout, repository: Repository, name: str, of_the_checkout: str, value: str
) -> None:
    checkout.git("config", name, of_the_checkout)
    assert repository.ask("config", "--get", name) == value


def test_a_remote_that_is_a_command_is_not_run(checkout: Checkout, marker: Path) -> None:
    checkout.git("remote", "set-url", "origin", f"ext::sh -c touch% {marker}")
    checkout.git("config", "protocol.ext.allow", "always")
    environ = Repository(checkout.path, GIT).environment_for("origin")
    assert run(checkout, hardened(GIT, "fetch", "--", "origin"), environ) == 128
    assert not marker.exists()
    run(checkout, (GIT, "fetch", "--", "origin"), dict(os.environ))
    assert marker.exists(), "the command of this test works"


def test_nobody_is_asked_for_a_password() -> None:
    environ = environment({"HOME": "/home/site"})
    assert environ["HOME"] == "/home/site"
    assert environ["GIT_TERMINAL_PROMPT"] == "0"
    assert environ["GIT_ASKPASS"] == environ["SSH_ASKPASS"] == "/bin/false"
    assert "-oBatchMode=yes" in environ["GIT_SSH_COMMAND"]


def test_only_a_remote_that_is_a_path_is_asked_as_a_path() -> None:
    assert environment({})["GIT_ALLOW_PROTOCOL"] == "https:ssh"
    assert environment({}, remote_is_a_path=True)["GIT_ALLOW_PROTOCOL"] == "https:ssh:file"


@pytest.mark.parametrize(
    ("url", "is_a_path"),
    [
        ("/srv/site.git", True),
        ("../site.git", True),
        ("file:///srv/site.git", True),
        ("https://example.com/site.git", False),
        ("git@example.com:site.git", False),
        ("ssh://example.com/site.git", False),
    ],
)
def test_a_path_is_told_from_an_address(
    checkout: Checkout, repository: Repository, url: str, is_a_path: bool
) -> None:
    checkout.git("remote", "set-url", "origin", url)
    assert repository.remote_url("origin") == url
    assert git.is_a_path(repository.remote_url("origin")) is is_a_path
    allowed = repository.environment_for("origin")["GIT_ALLOW_PROTOCOL"].split(":")
    assert ("file" in allowed) is is_a_path


def test_a_remote_that_is_not_configured_has_no_address(repository: Repository) -> None:
    assert repository.remote_url("upstream") == ""
    assert not git.is_a_path(repository.remote_url("upstream"))


def test_the_address_is_the_one_that_git_goes_to(
    checkout: Checkout, repository: Repository
) -> None:
    checkout.git("remote", "set-url", "origin", "gh:example/site.git")
    checkout.git("config", "--add", "remote.origin.url", "https://second.example.com/site.git")
    checkout.git("config", "url.https://example.org/.insteadOf", "gh:")
    checkout.git("config", "url.git@example.com:.insteadOf", "gh:example/")
    assert repository.remote_url("origin") == "git@example.com:site.git"
    assert checkout.git("ls-remote", "--get-url", "origin") == "git@example.com:site.git"


def test_the_ssh_command_that_the_checkout_is_configured_with_is_used(
    checkout: Checkout, repository: Repository, marker: Path, tmp_path: Path
) -> None:
    ssh = program(tmp_path / "ssh-with-deploy-key", f'echo "$@" > "{marker}"; exit 1')
    checkout.git("config", "core.sshCommand", f"{ssh} -i deploy_key")
    checkout.git("config", "ssh.variant", "ssh")
    checkout.git("remote", "set-url", "origin", "git@example.com:site.git")
    environ = repository.environment_for("origin")
    run(checkout, hardened(GIT, "fetch", "--", "origin"), environ)
    assert marker.read_text().startswith("-i deploy_key")


def test_the_ssh_command_of_the_sites_environment_comes_first(checkout: Checkout) -> None:
    checkout.git("config", "core.sshCommand", "ssh -i of_the_checkout")
    environ = os.environ | {"GIT_SSH_COMMAND": "ssh -i of_the_site"}
    chosen = Repository(checkout.path, GIT, environ).environment_for("origin")
    assert chosen["GIT_SSH_COMMAND"] == "ssh -i of_the_site"


class TestTheTipOfARemote:
    def test_is_what_it_has_now_and_not_what_was_fetched(
        self, checkout: Checkout, repository: Repository
    ) -> None:
        tip = checkout.commit({"version.txt": "2\n"})
        assert repository.remote_tip("origin", "master") == tip != checkout.revision()

    def test_is_that_of_the_very_branch(self, checkout: Checkout, repository: Repository) -> None:
        checkout.git("branch", "refs/heads/master", cwd=checkout.origin)
        checkout.git("branch", "other/master", cwd=checkout.origin)
        assert repository.remote_tip("origin", "master") == checkout.revision()

    @pytest.mark.parametrize("branch", ["release", "maste*", "x"])
    def test_does_not_exist_without_the_branch(self, repository: Repository, branch: str) -> None:
        with pytest.raises(GitError, match="has no branch"):
            repository.remote_tip("origin", branch)

    def test_executes_nothing_that_a_name_says(self, repository: Repository, marker: Path) -> None:
        with pytest.raises(GitError):
            repository.remote_tip(f"--upload-pack=touch {marker}", "master")
        with pytest.raises(GitError):
            repository.remote_tip(f"ext::touch {marker}", "master")
        assert not marker.exists()

    def test_is_not_waited_for_for_ever(
        self, checkout: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(git, "REMOTE_TIMEOUT", 0.2)
        hangs = Repository(checkout.path, program(tmp_path / "git", "sleep 600 & wait"))
        monkeypatch.setattr(Repository, "environment_for", lambda self, remote: dict(os.environ))
        with pytest.raises(
            GitError, match=r"git ls-remote: it was ended after its time-out of 0\.2"
        ):
            hangs.remote_tip("origin", "master")


@given(st.lists(st.text(min_size=1), min_size=1), st.lists(st.text(), max_size=3))
def test_the_words_of_a_command_come_last_and_as_they_were(
    words: list[str], options: list[str]
) -> None:
    argv = hardened("git", *words, options=options)
    before, after = argv[1 : -len(words)], argv[-len(words) :]
    assert list(after) == words
    assert {*before[::2]} == {"-c"}
    assert list(before[1::2])[len(before) // 2 - len(options) :] == options


def test_what_a_revision_adds_is_told_by_where_it_is_in_the_work_tree(checkout: Checkout) -> None:
    before = checkout.revision()
    odd = os.fsdecode(b"caf\xe9.txt")
    after = checkout.commit({"version.txt": "2\n", "site/new.txt": "", "new.txt": "", odd: ""})
    checkout.git("pull", "--quiet")
    repository = Repository(checkout.path / "site", GIT)
    assert {*repository.added_files(before, after)} == {
        checkout.path / name for name in ("site/new.txt", "new.txt", odd)
    }
    assert repository.added_files(after, before) == []
