"""Signed commits, with real keys."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from admin_management.runner import signatures
from admin_management.runner.execution import StepFailedError
from admin_management.runner.signatures import check_signature
from tests.runner.conftest import Site, program

CALLS_EVERYTHING_GOOD = """\
case "$*" in
    *find-principals*) echo alice@example.com; exit;;
    *alice@example.com*)
        echo 'Good "git" signature for alice@example.com with ED25519 key SHA256:x';;
    *) printf '\\n[GNUPG:] GOODSIG 1 alice\\n[GNUPG:] TRUST_ULTIMATE 0 pgp\\n';;
esac
cat > /dev/null"""


VERIFIED_BY = {
    "gpg.ssh.program": "SSH SIGNATURE",
    "gpg.program": "PGP SIGNATURE",
    "gpg.openpgp.program": "PGP SIGNATURE",
    "gpg.x509.program": "SIGNED MESSAGE",
}
"""What names a program to git, and the signatures that it is to verify."""


class Signer:
    """Somebody with a key of SSH."""

    def __init__(self, folder: Path, name: str) -> None:
        self.key = folder / name
        argv = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(self.key))
        subprocess.run(argv, check=True)
        kind, key, _ = self.key.with_suffix(".pub").read_text().split()
        self.public = f"{kind} {key}"

    def signs(self, site: Site, text: str) -> str:
        """Push a commit that is signed; its SHA."""
        author = site.checkout.author
        (author / "version.txt").write_text(text)
        sign = ("-c", "gpg.format=ssh", "-c", f"user.signingkey={self.key}")
        # With an empty line, as any message may have.
        site.checkout.git(*sign, "commit", "-q", "-a", "-S", "-m", f"{text}\n\nm", cwd=author)
        site.checkout.git("push", "-q", "origin", "master", cwd=author)
        site.checkout.git("fetch", "-q")
        return site.checkout.revision(author)


@pytest.fixture
def alice(tmp_path: Path) -> Signer:
    return Signer(tmp_path, "alice")


@pytest.fixture
def signers(tmp_path: Path, alice: Signer) -> Path:
    path = tmp_path / "allowed_signers"
    path.write_text(f"alice@example.com {alice.public}\n")
    return path


def check(site: Site, revision: str, signers: Path | str, target: str = "") -> None:
    with site.at_work(allowed_signers=str(signers), target=target) as runners_site:
        runners_site.to_revision = revision
        check_signature(runners_site)


def refusal(site: Site, revision: str, signers: Path) -> str:
    with pytest.raises(StepFailedError) as raised:
        check(site, revision, signers)
    assert raised.value.hint
    return str(raised.value)


def test_a_commit_that_somebody_listed_has_signed_may_go_live(
    site: Site, alice: Signer, signers: Path
) -> None:
    check(site, alice.signs(site, "2\n"), signers)


def test_the_documented_line_lets_a_key_sign_commits_and_only_those(
    site: Site, alice: Signer, signers: Path
) -> None:
    operations = (Path(__file__).parents[2] / "docs/operations.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^alice@.*AAAA…$", operations, re.MULTILINE)
    signers.write_text(line.replace("ssh-ed25519 AAAA…", alice.public) + "\n")
    revision = alice.signs(site, "2\n")
    check(site, revision, signers)
    signers.write_text(signers.read_text().replace('"git"', '"file"'))
    assert "is not signed by" in refusal(site, revision, signers)


def test_an_unsigned_commit_may_not(site: Site, signers: Path) -> None:
    revision = site.checkout.commit({"version.txt": "2\n"})
    site.checkout.git("fetch", "-q")
    said = refusal(site, revision, signers)
    assert said == (
        f"{revision[:7]} is not signed by anybody on the list: git verify-commit failed with "
        "exit code 1"
    )


def test_one_signed_with_another_key_may_not(site: Site, signers: Path, tmp_path: Path) -> None:
    revision = Signer(tmp_path, "mallory").signs(site, "2\n")
    assert "No principal matched" in refusal(site, revision, signers)


def test_one_signed_with_a_key_that_has_expired_may_not(
    site: Site, alice: Signer, signers: Path
) -> None:
    signers.write_text(f'alice@example.com valid-before="20200101" {alice.public}\n')
    assert "is not signed by" in refusal(site, alice.signs(site, "2\n"), signers)


def test_nor_may_one_that_says_it_was_made_before(
    site: Site, alice: Signer, signers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signers.write_text(f'alice@example.com valid-before="20200101" {alice.public}\n')
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2019-06-01T12:00:00Z")
    revision = alice.signs(site, "2\n")
    assert "its key is not good today" in refusal(site, revision, signers)
    signers.write_text(f'alice@example.com valid-before="20990101" {alice.public}\n')
    check(site, revision, signers)


def test_where_the_list_cannot_be_looked_into_nothing_goes_live(
    site: Site, alice: Signer, signers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    revision = alice.signs(site, "2\n")
    monkeypatch.setattr(signatures, "PATIENCE", 0.0)
    assert "is not signed by" in refusal(site, revision, signers)


def test_one_on_top_of_a_signed_one_may_not(site: Site, alice: Signer, signers: Path) -> None:
    alice.signs(site, "2\n")
    revision = site.checkout.commit({"version.txt": "3\n"})
    site.checkout.git("fetch", "-q")
    assert "is not signed by" in refusal(site, revision, signers)


def test_what_the_repository_says_about_who_verifies_is_not_heeded(
    site: Site, tmp_path: Path, signers: Path
) -> None:
    mallory = Signer(tmp_path, "mallory")
    revision = mallory.signs(site, "2\n")
    own = tmp_path / "own_signers"
    own.write_text(f"mallory@example.com {mallory.public}\n")
    site.checkout.git("config", "gpg.ssh.allowedSignersFile", str(own))
    site.checkout.git("config", "gpg.ssh.program", "true")
    assert "is not signed by" in refusal(site, revision, signers)


@pytest.mark.parametrize("name", VERIFIED_BY)
def test_a_program_of_the_repositorys_own_that_calls_everything_good_is_not_asked(
    site: Site, alice: Signer, signers: Path, tmp_path: Path, name: str
) -> None:
    signed = site.checkout.git("cat-file", "commit", alice.signs(site, "2\n"))
    forged = tmp_path / "forged"
    signed = signed.replace("SSH SIGNATURE", VERIFIED_BY[name])
    forged.write_text(f"{signed}, and what alice has not signed\n")
    revision = site.checkout.git("hash-object", "-t", "commit", "-w", str(forged))
    site.checkout.git("config", name, program(tmp_path / "yes", CALLS_EVERYTHING_GOOD))
    assert "is not signed by" in refusal(site, revision, signers)
    # The program of this test works, or this would raise an error.
    site.checkout.git("-c", f"gpg.ssh.allowedSignersFile={signers}", "verify-commit", revision)


def test_a_list_that_is_not_there_lets_nothing_through(
    site: Site, alice: Signer, tmp_path: Path
) -> None:
    revision = alice.signs(site, "2\n")
    assert "is not there" in refusal(site, revision, tmp_path / "nothing")


def test_without_a_list_and_on_the_way_back_nothing_is_asked(site: Site, signers: Path) -> None:
    revision = site.checkout.revision()
    check(site, revision, "")
    check(site, revision, signers, target=revision)


@pytest.mark.parametrize("signer", ["nobody", "mallory", "alice, whose key has expired"])
def test_a_run_ends_at_the_fetch_and_nothing_live_has_changed(
    site: Site, signers: Path, alice: Signer, tmp_path: Path, signer: str
) -> None:
    before = site.checkout.revision()
    if signer == "nobody":
        site.checkout.commit({"version.txt": "2\n"})
    elif signer == "mallory":
        Signer(tmp_path, "mallory").signs(site, "2\n")
    else:
        signers.write_text(f'alice@example.com valid-before="20200101" {alice.public}\n')
        alice.signs(site, "2\n")
    progress = site.update(allowed_signers=str(signers))
    assert (progress.status, progress.failed_step) == ("failed", "fetch")
    assert "is not signed by anybody on the list" in progress.message
    assert site.checkout.revision() == before


class TestGpg:
    @pytest.fixture
    def gnupg(
        self, site: Site, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[Path]:
        """A keyring with one key, whose owner is trusted."""
        home = tmp_path_factory.mktemp("gnupg")
        home.chmod(0o700)
        monkeypatch.setenv("GNUPGHOME", str(home))
        (Path(site.environ["HOME"]) / ".gnupg").symlink_to(home)
        batch = ("gpg", "--batch", "--quiet", "--passphrase", "")
        subprocess.run(
            (*batch, "--quick-generate-key", "alice@example.com", "ed25519", "sign"), check=True
        )
        yield home
        # Its agent would stay.
        subprocess.run(("gpgconf", "--homedir", str(home), "--kill", "all"), check=True)

    def signed(self, site: Site, by: str = "alice@example.com", *options: str) -> str:
        author = site.checkout.author
        (author / "version.txt").write_text("2\n")
        sign = ("-c", f"user.signingkey={by}", *options)
        site.checkout.git(*sign, "commit", "-q", "-a", "-S", "-m", "Signed", cwd=author)
        site.checkout.git("push", "-q", "origin", "master", cwd=author)
        site.checkout.git("fetch", "-q")
        return site.checkout.revision(author)

    def test_a_key_that_the_keyring_trusts_may_go_live(
        self, site: Site, gnupg: Path, signers: Path
    ) -> None:
        check(site, self.signed(site), signers)

    def test_one_that_it_does_not_trust_may_not(
        self, site: Site, gnupg: Path, signers: Path
    ) -> None:
        revision = self.signed(site)
        (gnupg / "trustdb.gpg").unlink()
        assert "is not signed by" in refusal(site, revision, signers)

    def of_2020(self, gnupg: Path, by: str, good_for: str) -> str:
        """A program that signs as if it were 2020, with a new key that is good for so long."""
        then = gnupg / "gpg-of-2020"
        then.write_text('#!/bin/sh\nexec gpg --faked-system-time 20200101T000000 "$@"\n')
        then.chmod(0o700)
        batch = (str(then), "--batch", "--quiet", "--passphrase", "")
        argv = (*batch, "--quick-generate-key", by, "ed25519", "sign", good_for)
        subprocess.run(argv, check=True)
        return f"gpg.program={then}"

    @pytest.mark.parametrize(("good_for", "is_good"), [("1d", False), ("50y", True)])
    def test_one_that_has_expired_may_not_and_one_made_like_it_that_has_not_may(
        self, site: Site, gnupg: Path, signers: Path, good_for: str, is_good: bool
    ) -> None:
        bob = "bob@example.com"
        revision = self.signed(site, bob, "-c", self.of_2020(gnupg, bob, good_for))
        if is_good:
            check(site, revision, signers)
        else:
            assert "is not signed by" in refusal(site, revision, signers)
