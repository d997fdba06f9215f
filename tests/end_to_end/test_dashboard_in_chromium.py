"""The pages in a real browser: their looks, their button, and the log that survives a restart."""

from typing import Any

import pytest
from playwright.sync_api import Route, expect

from admin_management.machine import node
from admin_management.models import Run
from tests.admin_management.conftest import LiveRun, live_run, no_runner
from tests.conftest import Checkout
from tests.end_to_end.chromium import address, browser, in_chromium, visit

__all__ = ("address", "browser", "live_run", "no_runner", "visit")

pytestmark = [*in_chromium, pytest.mark.usefixtures("no_runner")]


@pytest.mark.parametrize("color_scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_pages_look_right_and_load_nothing_foreign(
    visit: Any, live_run: LiveRun, checkout: Checkout, color_scheme: str, width: int
) -> None:
    live_run.begin("fetch")
    live_run.say("From a-remote-with-a-name-that-is-far-longer-than-a-narrow-page-is-wide" * 3)
    (checkout.path / "version.txt").write_text("by hand\n")
    alices = visit(color_scheme=color_scheme, viewport={"width": width, "height": 900})
    page = alices.page
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(255, 255, 255)" if color_scheme == "light" else "rgb(18, 18, 18)")
    for path in ("/admin/dashboard/", live_run.run.get_absolute_url()):
        page.goto(path)
        expect(page.locator(".am-log")).to_contain_text("a-remote-with-a-name")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert alices.complaints == []


def test_the_button_asks_for_an_update(visit: Any) -> None:
    alices = visit()
    alices.page.get_by_placeholder("Why?").fill("new logo")
    alices.page.get_by_role("button", name="Update", exact=True).click()
    expect(alices.page.locator("[role=status]")).to_have_text("Waiting to begin")
    run = Run.objects.get()
    assert alices.page.url.endswith(run.get_absolute_url())
    assert (run.trigger, run.reason, run.actor_name) == ("dashboard", "new logo", "alice")
    assert alices.complaints == []


def test_it_works_without_javascript(visit: Any) -> None:
    page = visit(java_script_enabled=False).page
    page.get_by_role("button", name="Update", exact=True).click()
    expect(page.locator("[role=status]")).to_have_text("Waiting to begin")
    assert page.locator("noscript meta[http-equiv=refresh]").count() == 1
    assert Run.objects.count() == 1


@pytest.mark.parametrize("width", [1280, 390])
def test_holding_cancelling_and_going_back_work_without_javascript(
    visit: Any, checkout: Checkout, width: int
) -> None:
    facts = {"node": node(), "trigger": "webhook", "status": "succeeded"}
    earlier = Run.objects.create(to_revision=checkout.revision(), **facts)
    checkout.commit({"version.txt": "2\n"})
    checkout.git("pull", "--quiet")
    alices = visit(java_script_enabled=False, viewport={"width": width, "height": 900})
    page = alices.page

    def looks_right() -> None:
        assert page.locator("main").evaluate("all => all.scrollWidth <= all.clientWidth")
        ids = page.locator("[id]").evaluate_all("all => all.map(one => one.id)")
        assert len(ids) == len(set(ids))

    page.get_by_text("Hold updates").click()
    page.get_by_placeholder("The reason").fill("exams")
    page.get_by_role("button", name="Hold", exact=True).click()
    expect(page.locator(".am-hold")).to_contain_text("Updates are held by alice: exams")
    page.get_by_role("button", name="Update", exact=True).click()
    expect(page.locator(".am-live")).to_contain_text("It begins when updates are released")
    looks_right()
    page.get_by_placeholder("Why?").fill("not now")
    page.get_by_role("button", name="Cancel this update").click()
    expect(page.locator(".am-notice-error")).to_contain_text("Cancelled by alice: not now.")
    page.goto("/admin/dashboard/")
    page.get_by_role("button", name="Release").click()
    expect(page.locator(".am-hold")).to_have_count(0)
    looks_right()
    page.goto(earlier.get_absolute_url())
    page.get_by_role("link", name="Go back to").click()
    expect(page.locator(".am-notice")).to_contain_text("Only the code goes back")
    looks_right()
    page.get_by_placeholder("Why?").fill("slow pages")
    page.get_by_role("button", name="Go back").click()
    expect(page.locator("[role=status].am-say")).to_have_text("Waiting to begin")
    assert Run.objects.get(trigger="rollback").target_revision == earlier.to_revision
    assert alices.complaints == []


def test_the_browsable_api_asks_for_an_update(visit: Any) -> None:
    alices = visit()
    page = alices.page
    page.goto("/admin/update/")
    page.locator("textarea[name=_content]").fill('{"reason": "from the API\'s own page"}')
    page.get_by_role("button", name="POST", exact=True).click()
    expect(page.locator(".response-info")).to_contain_text("HTTP 202 Accepted")
    run = Run.objects.get()
    assert (run.trigger, run.reason) == ("api", "from the API's own page")
    assert alices.complaints == []


def test_the_log_is_followed_through_a_restart_to_the_end(visit: Any, live_run: LiveRun) -> None:
    page = visit().page
    page.goto(live_run.run.get_absolute_url())
    log, say = page.locator(".am-log"), page.locator(".am-say")
    live_run.begin("fetch")
    live_run.say("€ first line\n")
    expect(log).to_contain_text("€ first line")
    expect(page.locator("[data-step=fetch]")).to_contain_text("running")

    def refuse(route: Route) -> None:
        route.abort()

    page.route("**/log/**", refuse)
    expect(say).to_have_text("The server is restarting…")
    live_run.begin("warm_cache")
    live_run.say("second line\n")
    page.unroute("**/log/**", refuse)
    expect(log).to_contain_text("second line")
    expect(say).to_have_text("Running")
    expect(page.locator("[data-step=fetch]")).to_contain_text("succeeded")
    # The settings do not foresee the second one.
    steps = page.locator(".am-step").evaluate_all("all => all.map(one => one.dataset.step)")
    assert steps[:3] == ["fetch", "warm_cache", "preconditions"]
    told = log.text_content() or ""
    assert (told.count("first line"), told.count("second line")) == (1, 1)

    live_run.finish("Updated: abc1234 new logo")
    expect(page.locator(".am-notice-success")).to_have_text("Updated: abc1234 new logo")
    expect(page.locator(".am-live")).to_have_count(0)


def test_a_proxy_without_a_server_behind_it_is_waited_for(visit: Any, live_run: LiveRun) -> None:
    page = visit().page
    page.route("**/log/**", lambda route: route.fulfill(status=502, body="<h1>Bad gateway</h1>"))
    page.goto(live_run.run.get_absolute_url())
    say = page.locator(".am-say")
    expect(say).to_have_text("The server is restarting…")
    page.route("**/log/**", lambda route: route.fulfill(status=200, body="<h1>Back soon</h1>"))
    # It asks again when it has read the answer.
    for _ in range(2):
        with page.expect_response(lambda answer: "/log/" in answer.url and answer.ok):
            pass
    expect(say).to_have_text("The server is restarting…")
    page.unroute_all()
    expect(say).to_have_text("Running")


def test_who_is_signed_out_is_told(visit: Any, live_run: LiveRun) -> None:
    alices = visit()
    alices.page.goto(live_run.run.get_absolute_url())
    alices.context.clear_cookies()
    expect(alices.page.locator(".am-say")).to_contain_text("You are signed out.")


def test_nothing_is_asked_while_nobody_looks(visit: Any, live_run: LiveRun) -> None:
    page = visit().page
    page.goto(live_run.run.get_absolute_url())
    hide = (
        "hidden => Object.defineProperty(document, 'hidden', {configurable: true, value: hidden})"
    )
    page.evaluate(hide, True)
    page.wait_for_timeout(1500)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(2500)
    assert asked == []
    page.evaluate(hide, False)
    with page.expect_request("**/log/**"):
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
