"""Make the pictures of the documentation from a real site: ``dev.py test`` has installed it all.

.demo/environment-3.11/bin/python docs/screenshots.py [FOLDER]
"""

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from demo.live_site import STAFF, LiveSite
from demo.tools import ROOT, Toolbox

PORT = 8765

VIEWS = {
    "dashboard": ("light", 1200, "/admin/dashboard/"),
    "dashboard-dark": ("dark", 1200, "/admin/dashboard/"),
    "dashboard-narrow": ("light", 390, "/admin/dashboard/"),
    "run": ("light", 1200, None),
    "run-dark-narrow": ("dark", 390, None),
}
"""Theme, width in pixels, and address (None: the run that failed) of each picture."""


def main(target: Path, names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        site = LiveSite(Path(folder) / "site", PORT, Toolbox(ROOT / ".demo"))
        try:
            site.create()
            site.start()
            failed = _history(site)
            _take(site, target, names, f"/admin/dashboard/{failed}/")
        finally:
            site.stop()


def _history(site: LiveSite) -> str:
    """A few updates as they happen in a week. Returns the id of the one that failed."""
    _, pushed = site.push_event(site.change_text("No lessons on Friday."))
    _wait(site, pushed["run"])
    site.commit(site.failing_migration(), "Count absences per term")
    failed = str(site.post_json("/admin/update/", {"reason": "absences"})["id"])
    _wait(site, failed)
    site.commit(dict.fromkeys(site.failing_migration()), "Revert: count absences per term")
    _wait(site, site.post_json("/admin/update/", {"reason": "without the migration"})["id"])
    site.change_text("The library is open until six.")
    site.change_text("The library is open until seven.")
    site.get_json("/admin/status/?fetch=1")
    return failed


def _wait(site: LiveSite, run: str) -> None:
    next_ = f"/admin/update/{run}/log/"
    while next_ is not None:
        next_ = site.get_json(next_)["next"]


def _take(site: LiveSite, target: Path, names: list[str], failed: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox"]
        )
        for name in names:
            scheme, width, address = VIEWS[name]
            page = browser.new_page(
                base_url=site.url,
                color_scheme=scheme,  # type: ignore[arg-type]
                viewport={"width": width, "height": 700},
            )
            _sign_in(page, site.password)
            page.goto(address or failed)
            page.screenshot(path=target / f"{name}.png", full_page=True)
            page.close()
        browser.close()


def _sign_in(page: Page, password: str) -> None:
    page.goto("/admin/login/")
    page.fill("#id_username", STAFF)
    page.fill("#id_password", password)
    page.click("[type=submit]")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]), list(VIEWS))
    else:
        main(ROOT / "docs", ["dashboard"])
