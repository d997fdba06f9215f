"""Which revisions a run may go to: forward only, unless a person has said otherwise."""

from .execution import StepFailedError
from .site import Site


def check_history(site: Site, live: str) -> None:
    """Raises StepFailedError, before anything live changes, for what must not be followed."""
    _check_quarantine(site, live)
    _check_local_commits(site)


def _check_quarantine(site: Site, live: str) -> None:
    run = site.state.rolled_back().get(site.to_revision)
    if run and not site.plan.force and site.to_revision != live:
        raise StepFailedError(
            f"{site.to_revision[:7]} was rolled back before, by the update {run[:8]}.",
            hint="Push a correction; or force an update to try it once more.",
        )


def _check_local_commits(site: Site) -> None:
    """The tip must follow from what is on disk. A rolled-back tree may be behind or beside it."""
    head = site.repository.revision()
    ahead = site.repository.count(f"{site.to_revision}..{head}")
    if not ahead or site.plan.target or site.plan.accept_rewritten:
        return
    branch = f"{site.plan.remote}/{site.plan.branch}"
    if site.repository.is_ancestor(site.to_revision, head):
        raise StepFailedError(
            f"The checkout has {_commits(ahead)} that {branch} has not.",
            hint=f"In {site.plan.checkout}: push them; or accept that they are dropped, with an "
            "update that accepts rewritten history.",
        )
    raise StepFailedError(
        f"{branch} was rewritten: {_commits(ahead)} of the checkout are not in it any more.",
        hint="If that was meant, ask for an update that accepts rewritten history.",
    )


def _commits(count: int) -> str:
    return "one commit" if count == 1 else f"{count} commits"
