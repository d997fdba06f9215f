"""The key that ssh shows to the remote, with a real ssh and real keys."""

import os
import pwd
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin_management.deploy_key import (
    UnusableKeyError,
    check_key,
    configuration,
    first_usable,
    read_configuration,
    ssh_arguments,
)

PASSPHRASE = "hunter2-hunter2"


def a_key(file: Path, passphrase: str = "", kind: str = "ed25519") -> Path:
    argv = ("ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-f", str(file))
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)
    return file


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return a_key(tmp_path / "deploy key")


class TestAnAddress:
    @pytest.mark.parametrize(
        ("url", "arguments"),
        [
            ("git@github.com:octocat/site.git", "-- git@github.com"),
            ("github:octocat/site.git", "-- github"),
            ("git@[::1]:site.git", "-- git@::1"),
            ("git@host:/srv/a:b.git", "-- git@host"),
            ("ssh://git@example.com/site.git", "-- git@example.com"),
            ("ssh://git@example.com:2222/site.git", "-p 2222 -- git@example.com"),
            ("ssh://example.com:/site.git", "-- example.com"),
            ("ssh://[::1]:2222/site.git", "-p 2222 -- ::1"),
            ("git+ssh://git@example.com/site.git", "-- git@example.com"),
            ("ssh+git://git@example.com/site.git", "-- git@example.com"),
        ],
    )
    def test_over_ssh_tells_what_ssh_is_given(self, url: str, arguments: str) -> None:
        assert " ".join(ssh_arguments(url)) == arguments

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "https://github.com/octocat/site.git",
            "https://git@github.com:8443/octocat/site.git",
            "git://example.com/site.git",
            "file:///srv/site.git",
            "/srv/site.git",
            "/srv/a:b.git",
            "../site.git",
            "./a:b.git",
            "C:/sites/site.git",
            r"c:\sites\site.git",
            "ext::ssh git@example.com %S site.git",
        ],
    )
    def test_that_is_not_over_ssh_gives_it_nothing(self, url: str) -> None:
        assert ssh_arguments(url) == ()

    def test_hands_on_no_password(self) -> None:
        arguments = ssh_arguments(f"ssh://git:{PASSPHRASE}@example.com/site.git")
        assert arguments == ("--", "git@example.com")

    @given(st.text() | st.from_regex(r"(ssh://)?[-@:\[\]/a-z0-9]*"))
    def test_never_becomes_an_option(self, url: str) -> None:
        *port, mark, _ = ssh_arguments(url) or ("--", "")
        assert mark == "--"
        assert not port or (port[0] == "-p" and port[1].isdigit() and not port[2:])


HOME = Path(pwd.getpwuid(os.getuid()).pw_dir)


class TestWhatSshGoesBy:
    @pytest.fixture
    def ask(self, tmp_path: Path) -> Any:
        """What a real ssh makes of lines of configuration, for a remote."""

        def ask(lines: str, url: str = "git@example.com:site.git", **environ: str) -> Any:
            config = tmp_path / "config"
            config.write_text(lines)
            argv = ("ssh", "-F", str(config), "-G", *ssh_arguments(url))
            done = subprocess.run(
                argv, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL
            )
            return read_configuration(done.stdout, environ)

        return ask

    def test_are_the_files_of_its_configuration(self, ask: Any) -> None:
        found = ask(
            "Host example.com\n IdentityFile ~/.ssh/deploy\n"
            'Match user git\n IdentityFile "/srv/the keys/deploy"\n'
            "Host *\n IdentityFile ~other/key\n IdentityFile none\n",
            HOME="/nowhere",
        )
        files = (HOME / ".ssh/deploy", Path("/srv/the keys/deploy"), Path("~other/key"))
        assert found.files == files

    @pytest.mark.parametrize(
        ("written", "path"),
        [
            ("%d/.ssh/key", f"{HOME}/.ssh/key"),
            ("/k/%h_%p_%r", "/k/example.com_2222_git"),
            ("/k/%u", f"/k/{pwd.getpwuid(os.getuid()).pw_name}"),
            ("/k/100%%", "/k/100%"),
            ("${KEYS}/key", "/of/the/site/key"),
            ("/k/%C${UNKNOWN}", "/k/%C${UNKNOWN}"),
        ],
    )
    def test_are_the_files_that_it_makes_of_tokens(self, ask: Any, written: str, path: str) -> None:
        url = "ssh://git@example.com:2222/site.git"
        found = ask(f"IdentityFile {written}\n", url, KEYS="/of/the/site")
        assert found.files == (Path(path),)

    @given(st.text(), st.dictionaries(st.text(), st.text()))
    def test_is_read_from_whatever_is_printed(self, text: str, environ: dict[str, str]) -> None:
        for name in ("identityfile", "hostname", "identityagent"):
            read_configuration(f"{name} {text}\n{text}", environ)

    @pytest.mark.parametrize(
        ("lines", "environ", "has_agent"),
        [
            ("", {}, False),
            ("", {"SSH_AUTH_SOCK": "/run/agent"}, True),
            ("IdentityAgent none\n", {"SSH_AUTH_SOCK": "/run/agent"}, False),
            ("IdentityAgent SSH_AUTH_SOCK\n", {}, False),
            ("IdentityAgent /run/agent\n", {}, True),
        ],
    )
    def test_is_an_agent(
        self, ask: Any, lines: str, environ: dict[str, str], has_agent: bool
    ) -> None:
        assert ask(lines, **environ).has_agent == has_agent

    def test_are_files_in_the_home_of_the_user_database(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HOME", "/nowhere")
        files = configuration(("--", "git@host.invalid"), os.environ).files
        assert files
        assert all(each.is_relative_to(HOME) for each in files), files

    def test_is_not_known_of_an_address_that_ssh_does_not_take(self) -> None:
        with pytest.raises(UnusableKeyError, match="invalid characters") as raised:
            configuration(("--", "-oProxyCommand=touch x"), os.environ)
        assert "~/.ssh/config" in raised.value.hint

    def test_is_not_known_without_ssh(self, tmp_path: Path) -> None:
        with pytest.raises(UnusableKeyError, match=r"^ssh was not found\.$"):
            configuration(("--", "host"), {"PATH": str(tmp_path)})

    def test_is_not_waited_for(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("admin_management.deploy_key.TIMEOUT", 0.1)
        program = tmp_path / "ssh"
        program.write_text("#!/bin/sh\nexec sleep 600\n")
        program.chmod(0o755)
        path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
        with pytest.raises(UnusableKeyError, match=r"^ssh did not end within 0\.1 s\.$"):
            configuration(("--", "host"), os.environ | {"PATH": path})


class TestAKey:
    def test_that_only_its_owner_can_read_is_good(self, key: Path) -> None:
        check_key(key, os.environ)

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644])
    def test_that_others_can_read_or_write_is_refused(self, key: Path, mode: int) -> None:
        key.chmod(mode)
        with pytest.raises(UnusableKeyError, match=rf"Others .* \({mode:o}\)") as raised:
            check_key(key, os.environ)
        assert raised.value.hint == f"chmod 600 '{key}'"

    @pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
    def test_of_another_user_that_can_be_read_is_good_enough_for_ssh(self, key: Path) -> None:
        key.chmod(0o640)
        os.chown(key, 65534, -1)
        check_key(key, os.environ)

    def test_that_cannot_be_read(self, key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        # Permissions do not keep root out.
        monkeypatch.setattr(os, "access", lambda path, mode: (path, mode) != (key, os.R_OK))
        with pytest.raises(UnusableKeyError, match="cannot be read") as raised:
            check_key(key, os.environ)
        assert f"chown USER '{key}'" in raised.value.hint

    @pytest.mark.parametrize("kind", ["ed25519", "rsa"])
    def test_with_a_passphrase_is_of_no_use_to_a_site(self, tmp_path: Path, kind: str) -> None:
        key = a_key(tmp_path / "locked", PASSPHRASE, kind)
        with pytest.raises(UnusableKeyError, match=r"has a passphrase.*incorrect pass") as raised:
            check_key(key, os.environ)
        assert f'ssh-keygen -p -N "" -f {key}' in raised.value.hint

    def test_with_a_passphrase_asks_nobody_for_it(self, tmp_path: Path) -> None:
        key = a_key(tmp_path / "locked", PASSPHRASE)
        helpful = tmp_path / "askpass"
        helpful.write_text(f"#!/bin/sh\necho {PASSPHRASE}\n")
        helpful.chmod(0o755)
        asking = {"SSH_ASKPASS": str(helpful), "SSH_ASKPASS_REQUIRE": "force"}
        with pytest.raises(UnusableKeyError):
            check_key(key, os.environ | asking)

    def test_that_is_none_is_of_no_use_and_not_shown(self, tmp_path: Path) -> None:
        key = tmp_path / "junk"
        key.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nY2FuYXJ5\n")
        key.chmod(0o600)
        with pytest.raises(UnusableKeyError, match="or is no key") as raised:
            check_key(key, os.environ)
        assert "Y2FuYXJ5" not in str(raised.value)


class TestOfSeveralKeys:
    def test_one_that_ssh_can_use_is_enough(self, tmp_path: Path, key: Path) -> None:
        locked = a_key(tmp_path / "locked", PASSPHRASE)
        assert first_usable([locked, key], os.environ) == key

    def test_the_first_is_to_be_mended_if_it_can_use_none(self, tmp_path: Path, key: Path) -> None:
        locked = a_key(tmp_path / "locked", PASSPHRASE)
        key.chmod(0o644)
        with pytest.raises(UnusableKeyError, match="deploy key"):
            first_usable([key, locked], os.environ)
