"""Signed commits: where there is a list of signers, nothing that they have not signed goes live."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from tempfile import NamedTemporaryFile

from .execution import StepFailedError
from .git import GitError
from .process import PRIVATE
from .site import Site

SHOWN = 300
"""Characters of what git says."""

PATIENCE = 10.0
"""Seconds for ssh-keygen to look into the list."""

OF_SSH = "-----BEGIN SSH SIGNATURE-----"


def check_signature(site: Site) -> None:
    """Raises StepFailedError, before anything live changes, unless somebody listed has signed.

    A revision to go back to was live already.
    """
    signers = Path(site.plan.allowed_signers)
    if not site.plan.allowed_signers or site.plan.target:
        return
    if not signers.is_file():
        raise StepFailedError(
            f"The list of signers {signers} is not there.",
            hint='Put it there, or take ADMIN_MANAGEMENT["ALLOWED_SIGNERS"] away.',
        )
    try:
        site.repository.verify_commit(site.to_revision, signers)
    except GitError as error:
        raise _not_signed(
            site, signers, " ".join(str(error).split())[:SHOWN] or "it has no signature"
        ) from error
    # Each of them: which one git has verified is not told.
    of_ssh = [each for each in site.repository.signatures(site.to_revision) if OF_SSH in each]
    if not all(_is_listed_now(each, signers, site.tool_environ) for each in of_ssh):
        raise _not_signed(site, signers, "its key is not good today, whenever it was made")


def _not_signed(site: Site, signers: Path, why: str) -> StepFailedError:
    return StepFailedError(
        f"{site.to_revision[:7]} is not signed by anybody on the list: {why}",
        hint=f"Push a commit that is signed with a key in {signers}, or a trusted one of GPG.",
    )


def _is_listed_now(signature: str, signers: Path, environ: Mapping[str, str]) -> bool:
    """Whether the key of a good signature is on the list today. False if that is not known."""
    with NamedTemporaryFile("w", prefix="signature-", encoding="ascii") as file:
        file.write(signature)
        file.flush()
        argv = ("ssh-keygen", "-Y", "find-principals", "-s", file.name, "-f", str(signers))
        try:
            done = subprocess.run(
                argv,
                env=environ,
                stdin=subprocess.DEVNULL,
                umask=PRIVATE,
                capture_output=True,
                timeout=PATIENCE,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
    return done.returncode == 0
