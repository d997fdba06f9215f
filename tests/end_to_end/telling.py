"""What a run says of itself, as a script would read it."""

from typing import Any

from demo.live_site import LiveSite


def log_of(site: LiveSite, run: dict[str, Any]) -> str:
    """What its steps have said."""
    output, next_ = "", run["log_url"]
    while next_:
        piece = site.get_json(next_)
        output, next_ = output + piece["output"], piece["next"]
    return output


def told(site: LiveSite, run: dict[str, Any]) -> str:
    """How it ended and why, for when that is not how it should have."""
    return f"{run['status']}: {run['message']}\n{log_of(site, run)}"
