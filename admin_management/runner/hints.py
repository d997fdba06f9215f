"""What to do about a failed step, in one line."""

from .process import Ending

_BY_STEP = {
    "fetch": "Try it by hand as the user of the site: git fetch. Is the remote reachable, and does "
    "the deploy key still work?",
    "rehearsal": "Mend what it says, commit and push. Nothing live was changed.",
    "pull": "The remote branch does not follow from the local one, or a local file is in the way: "
    "look at git status and git log in the checkout.",
    "dependencies": "If uv.lock is out of date, run uv lock, commit and push it. "
    "The environment that is live was not touched.",
    "static_files": "Mend what it says, commit and push.",
    "migrations": "Mend the migration, commit and push.",
}

_RESTART = {
    3: "No PM2 daemon runs for this PM2_HOME: start the site with PM2 as the user of the site.",
    4: 'Set ADMIN_MANAGEMENT["PM2_PROCESS"] to the name that pm2 list shows.',
    5: "PM2 refused: look at pm2 logs.",
    6: "The new processes did not stay up: look at pm2 logs for the reason.",
}


def hint_for(step: str, ending: Ending) -> str:
    """A sentence for the person who reads the failure. Empty for a step of the site's own."""
    if ending.timed_out:
        return (
            "If it needs longer than that, raise its time-out in "
            'ADMIN_MANAGEMENT["TIMEOUTS"] or ["EXTRA_STEPS"].'
        )
    if step == "restart":
        return _RESTART.get(ending.exit_code or 0, "Look at pm2 logs.")
    return _BY_STEP.get(step, "")
