"""Signed commits: where there is a list of signers, nothing that they have not signed goes live."""

from pathlib import Path

from .execution import StepFailedError
from .git import GitError
from .site import Site

SHOWN = 300
"""Characters of what git says."""


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
        raise StepFailedError(
            f"{site.to_revision[:7]} is not signed by anybody on the list: "
            f"{' '.join(str(error).split())[:SHOWN] or 'it has no signature'}",
            hint=f"Push a commit that is signed with a key in {signers}.",
        ) from error
