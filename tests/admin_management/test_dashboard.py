"""The pages, as they come from the server."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from admin_management import status
from admin_management.audit import Kind
from admin_management.machine import node
from admin_management.models import AuditEvent, Run
from admin_management.templatetags.admin_management import SHOWN
from tests.conftest import Checkout

from .conftest import LiveRun

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_runner")]

DASHBOARD = "/admin/dashboard/"


@pytest.fixture
def staff(client: Client, alice: User, checkout: Checkout) -> Client:
    client.force_login(alice)
    return client


def page(client: Client, path: str = DASHBOARD, **headers: str) -> str:
    answer = client.get(path, headers=headers)
    assert answer.status_code == 200
    return answer.content.decode()


class TestDoors:
    def test_visitors_go_to_the_login_and_come_back(self, client: Client, alice: User) -> None:
        run = Run.objects.create(node=node(), trigger="api", status="failed")
        for path in (DASHBOARD, run.get_absolute_url()):
            answer = client.get(path)
            assert answer.status_code == 302
            assert answer.headers["Location"] == f"/admin/login/?next={path}"
        answer = client.post(
            f"/admin/login/?next={DASHBOARD}",
            {"username": "alice", "password": "secret-of-alice", "next": DASHBOARD},
        )
        assert answer.headers["Location"] == DASHBOARD

    def test_anonymous_forms_go_to_the_login(self, client: Client) -> None:
        assert client.post(DASHBOARD).headers["Location"] == f"/admin/login/?next={DASHBOARD}"
        assert not Run.objects.exists()

    def test_who_is_not_staff_is_led_to_the_login(self, client: Client, bob: User) -> None:
        client.force_login(bob)
        assert client.get(DASHBOARD).status_code == 302
        assert not AuditEvent.objects.exists()

    def test_who_is_not_staff_and_asks_for_an_update_is_refused_and_remembered(
        self, client: Client, bob: User
    ) -> None:
        client.force_login(bob)
        assert client.post(DASHBOARD).status_code == 403
        assert AuditEvent.objects.get().kind == Kind.REFUSED
        assert not Run.objects.exists()

    def test_a_form_without_its_token_is_refused(
        self, alice: User, checkout: Checkout, settings: Any
    ) -> None:
        settings.MIDDLEWARE = [each for each in settings.MIDDLEWARE if "Csrf" not in each]
        client = Client(enforce_csrf_checks=True)
        client.force_login(alice)
        assert client.post(DASHBOARD).status_code == 403
        token = client.get(DASHBOARD).context["csrf_token"]
        assert client.post(DASHBOARD, {"csrfmiddlewaretoken": str(token)}).status_code == 302

    def test_other_methods_are_refused(self, staff: Client) -> None:
        run = Run.objects.create(node=node(), trigger="api", status="failed")
        assert staff.put(DASHBOARD).status_code == 405
        assert staff.post(run.get_absolute_url()).status_code == 405

    def test_a_login_of_the_host_for_everything_does_not_get_in_the_way(
        self, client: Client, settings: Any
    ) -> None:
        middleware = "django.contrib.auth.middleware.LoginRequiredMiddleware"
        settings.MIDDLEWARE = [*settings.MIDDLEWARE, middleware]
        assert client.get(DASHBOARD).headers["Location"].startswith("/admin/login/")
        assert client.get("/admin/status/").status_code == 401

    def test_pages_load_only_their_own_files(self, staff: Client) -> None:
        headers = staff.get(DASHBOARD).headers
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'self'; ")
        assert "frame-ancestors 'none'" in policy
        assert headers["Cache-Control"] == "no-store"

    def test_static_files_may_come_from_another_host(self, staff: Client, settings: Any) -> None:
        settings.STATIC_URL = "https://static.example/files/"
        policy = staff.get(DASHBOARD).headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'self' https://static.example; ")


class TestTheButton:
    def test_it_asks_for_an_update_and_shows_it(self, staff: Client) -> None:
        answer = staff.post(
            DASHBOARD, {"reason": "new logo", "force": "on", "accept_rewritten": "on"}
        )
        run = Run.objects.get()
        assert answer.status_code == 302
        assert answer.headers["Location"] == f"/admin/dashboard/{run.pk}/"
        assert (run.trigger, run.reason) == ("dashboard", "new logo")
        assert (run.force, run.accept_rewritten) == (True, True)
        assert run.actor_name == "alice"
        assert "Waiting to begin" in page(staff, answer.headers["Location"])

    def test_it_needs_no_reason(self, staff: Client) -> None:
        staff.post(DASHBOARD)
        run = Run.objects.get()
        assert (run.reason, run.force) == ("", False)

    def test_who_joins_a_waiting_update_is_told(self, staff: Client) -> None:
        staff.post(DASHBOARD)
        answer = staff.post(DASHBOARD, follow=True)
        assert "yours is part of it" in answer.content.decode()

    def test_what_is_wrong_is_said(self, staff: Client) -> None:
        answer = staff.post(DASHBOARD, {"reason": "x" * 501})
        assert answer.status_code == 400
        assert "at most 500 characters" in answer.content.decode()
        assert not Run.objects.exists()


class TestTheSite:
    def test_what_is_live_and_what_is_not(self, staff: Client, checkout: Checkout) -> None:
        checkout.commit({"version.txt": "2\n"}, "Show the <new> logo")
        told = page(staff)
        assert "The first version" in told
        assert checkout.revision()[:7] in told
        assert "Nothing" in told
        told = page(staff, f"{DASHBOARD}?fetch=1")
        assert "1 commit" in told
        assert "Show the &lt;new&gt; logo" in told

    def test_local_changes_are_a_warning(self, staff: Client, checkout: Checkout) -> None:
        assert "git stash" not in page(staff)
        (checkout.path / "version.txt").write_text("by hand\n")
        told = page(staff)
        assert "Local changes in the checkout stop every update." in told
        assert "<code>version.txt</code>" in told

    def test_local_commits_are_told(self, staff: Client, checkout: Checkout) -> None:
        checkout.git("commit", "--quiet", "--allow-empty", "--message", "By hand")
        assert "1 local commit that the remote does not have" in page(staff)

    def test_the_process_is_told(self, staff: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        process = {"name": "site", "status": "online", "pid": 42, "instances": 2, "restarts": 3}
        usage = {"uptime": 3 * 86_400 + 4 * 3600, "memory": 50 * 1024 * 1024}
        monkeypatch.setattr(status._Site, "pm2", lambda self: process | usage)
        told = page(staff)
        for part in ("✓ online", "3 d 4 h", "50.0", "42"):
            assert part in told

    def test_it_stands_without_git_and_settings(self, staff: Client, settings: Any) -> None:
        settings.ADMIN_MANAGEMENT = {"CHEKOUT": "/srv/site"}
        assert "unknown key &#x27;CHEKOUT&#x27;" in page(staff)

    def test_asks_the_remote_for_no_other_site_and_not_without_end(
        self, staff: Client, checkout: Checkout
    ) -> None:
        def is_asked(site: str) -> bool:
            path = f"{DASHBOARD}?fetch=1"
            return "as of the last fetch" not in page(staff, path, **{"Sec-Fetch-Site": site})

        assert not is_asked("cross-site")
        assert [is_asked("same-origin") for _ in range(7)] == [True] * 6 + [False]


class TestRuns:
    def test_the_table_says_who_why_and_how_it_ended(
        self, staff: Client, live_run: LiveRun
    ) -> None:
        live_run.journal.event("revisions", from_revision="a" * 40, to_revision="b" * 40)
        live_run.begin("migrations")
        live_run.fail("migrations", "exit code 1", "Mend the migration.")
        told = page(staff)
        for part in ("octocat", "push to master", "aaaaaaa", "bbbbbbb", "failed"):
            assert part in told
        assert "The last update did not succeed." in told
        assert "Mend the migration." in told

    def test_an_older_failure_is_no_news(self, staff: Client, live_run: LiveRun) -> None:
        live_run.fail("fetch", "exit code 1", "")
        page(staff)
        Run.objects.create(node=node(), trigger="api", status="succeeded", finished_at=None)
        newer = Run.objects.get(status="succeeded")
        Run.objects.filter(pk=newer.pk).update(finished_at="2100-01-01T00:00:00Z")
        assert "did not succeed" not in page(staff)

    def test_a_run_that_goes_on_is_on_the_dashboard(self, staff: Client, live_run: LiveRun) -> None:
        live_run.begin("fetch")
        live_run.say("From <b>origin</b>\n")
        waiting = Run.objects.create(node=node(), trigger="api", actor_name="alice")
        told = page(staff)
        assert f'data-next="/admin/update/{live_run.run.pk}/log/?offset=' in told
        assert "From &lt;b&gt;origin&lt;/b&gt;" in told
        assert '<noscript><meta http-equiv="refresh" content="5"></noscript>' in told
        assert waiting.get_absolute_url() in told
        # What is known of the steps to come
        assert told.index('data-step="fetch"') < told.index('data-step="migrations"')

    def test_steps_to_come_need_right_settings(
        self, staff: Client, live_run: LiveRun, settings: Any
    ) -> None:
        settings.ADMIN_MANAGEMENT = {"CHEKOUT": "/srv/site"}
        assert 'data-step="migrations"' not in page(staff)

    def test_without_a_run_there_is_no_script(self, staff: Client) -> None:
        told = page(staff)
        assert "dashboard.js" not in told
        assert "http-equiv" not in told


class TestThePageOfARun:
    def test_a_failure_comes_first_with_what_to_do(self, staff: Client, live_run: LiveRun) -> None:
        live_run.begin("fetch")
        live_run.begin("migrations")
        live_run.say("IntegrityError: <nothing>\n")
        live_run.fail("migrations", "exit code 1", "Mend the migration.")
        told = page(staff, live_run.run.get_absolute_url())
        assert "<strong>migrations failed: exit code 1</strong>" in told
        assert "<p>Mend the migration.</p>" in told
        assert "IntegrityError: &lt;nothing&gt;" in told
        assert '<details class="am-outcome am-failed" open>' in told
        assert '<details class="am-outcome am-succeeded">' in told
        assert "http-equiv" not in told

    def test_a_success_says_what_is_live(self, staff: Client, live_run: LiveRun) -> None:
        live_run.finish("Updated: abc1234 new logo")
        told = page(staff, live_run.run.get_absolute_url())
        assert "Updated: abc1234 new logo" in told
        assert "No step was begun." in told

    def test_a_run_that_goes_on_can_be_followed(self, staff: Client, live_run: LiveRun) -> None:
        live_run.begin("fetch")
        told = page(staff, live_run.run.get_absolute_url())
        assert 'data-step="fetch"' in told
        assert "dashboard.js" in told

    def test_of_a_long_output_the_end_is_shown(self, staff: Client, live_run: LiveRun) -> None:
        live_run.begin("migrations")
        live_run.say("the beginning\n" + "x" * 79 + "\n")
        live_run.say(("y" * 79 + "\n") * (SHOWN // 80))
        live_run.finish()
        told = page(staff, live_run.run.get_absolute_url())
        assert "the beginning" not in told
        assert "The end of" in told

    def test_an_unknown_run_is_not_found(self, staff: Client) -> None:
        answer = staff.get(f"{DASHBOARD}00000000-0000-4000-8000-000000000000/")
        assert answer.status_code == 404
