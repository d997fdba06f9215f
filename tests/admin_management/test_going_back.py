"""Going back by hand: what it means is said before, and exactly that is done."""

import io
import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client
from django.utils import timezone

from admin_management.exceptions import ConflictError, ReasonMissingError
from admin_management.going_back import WayBack, find_way_back
from admin_management.launcher import Requester, request_rollback, start_next
from admin_management.machine import node
from admin_management.models import AuditEvent, Hold, Run, Trigger
from admin_management.runner.plan import Plan
from admin_management.runner.state import StateDirectory
from tests.conftest import Checkout

pytestmark = pytest.mark.django_db

ALICE = Requester(name="alice")

MIGRATION = """
from django.db import migrations

class Migration(migrations.Migration):
    dependencies = {dependencies!r}
    operations = [migrations.RunSQL({sql})]
"""
BOTH_WAYS, ONE_WAY = '"SELECT 1", "SELECT 1"', '"SELECT 1"'


def migration(*dependencies: tuple[str, str], sql: str = BOTH_WAYS, more: str = "") -> str:
    return MIGRATION.format(dependencies=list(dependencies), sql=sql) + more


class Shelf:
    """A checkout with an installed app of its own, ``shelf``, which has one migration at first."""

    def __init__(self, checkout: Checkout, settings: Any) -> None:
        self.checkout = checkout
        self._settings = settings
        self.first = self.bring({"0001_initial": migration()}, {"shelf/__init__.py": ""})
        settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "shelf"]
        self.record("0001_initial")

    def bring(
        self, migrations: dict[str, str], others: dict[str, str] | None = None, app: str = "shelf"
    ) -> str:
        """Commit these, and pull them as an update would."""
        files = {f"{app}/migrations/{name}.py": text for name, text in migrations.items()}
        files |= {f"{app}/migrations/__init__.py": ""}
        revision = self.checkout.commit(files | (others or {}) | {"time": str(timezone.now())})
        self.checkout.git("pull", "--quiet", "--ff-only")
        return revision

    def record(self, *names: str, app: str = "shelf") -> None:
        """As ``migrate`` does, without what they do."""
        for name in names:
            MigrationRecorder(connection).record_applied(app, name)

    def way_to(self, revision: str) -> WayBack:
        return find_way_back(succeeded(revision))


@pytest.fixture
def shelf(checkout: Checkout, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shelf]:
    monkeypatch.syspath_prepend(str(checkout.path))
    yield Shelf(checkout, settings)
    for name in [name for name in sys.modules if name.split(".")[0] in ("shelf", "reader")]:
        del sys.modules[name]


def succeeded(revision: str, **facts: Any) -> Run:
    usual = {"node": node(), "trigger": Trigger.WEBHOOK, "status": "succeeded"}
    return Run.objects.create(**usual | {"to_revision": revision} | facts)


def told() -> list[tuple[str, dict[str, Any]]]:
    events = [json.loads(event.text) for event in AuditEvent.objects.all()]
    return [(event["kind"], event["facts"]) for event in events]


class TestWhatItMeans:
    def test_only_code_when_no_migration_came_between(self, shelf: Shelf) -> None:
        shelf.bring({})
        way = shelf.way_to(shelf.first)
        assert way.is_possible
        assert (way.target_revision, way.reverse_migrations, way.notes) == (shelf.first, (), ())
        assert way.meaning == "Only the code goes back: no migration is reversed."

    def test_the_migrations_that_the_other_revision_does_not_know(self, shelf: Shelf) -> None:
        second = migration(("shelf", "0001_initial"))
        shelf.bring({"0002_b": migration(("shelf", "0003_a")), "0003_a": second})
        shelf.record("0003_a", "0002_b")
        way = shelf.way_to(shelf.first)
        assert way.is_possible
        # In the order in which they depend on each other, whatever their names are
        assert way.reverse_migrations == ("shelf.0003_a", "shelf.0002_b")
        assert "what only they can store is lost: shelf.0003_a, shelf.0002_b." in way.meaning

    def test_nothing_of_what_was_not_applied(self, shelf: Shelf) -> None:
        shelf.bring({"0002_b": migration(("shelf", "0001_initial"), sql=ONE_WAY)})
        assert shelf.way_to(shelf.first).reverse_migrations == ()

    def test_nothing_of_what_neither_revision_has(self, shelf: Shelf) -> None:
        shelf.bring({})
        shelf.record("0002_of_a_revision_whose_schema_was_kept")
        assert shelf.way_to(shelf.first).reverse_migrations == ()

    def test_nothing_of_a_squashed_one_where_what_it_replaces_is_known(self, shelf: Shelf) -> None:
        replaces = '    replaces = [("shelf", "0001_initial")]\n'
        shelf.bring({"0001_squashed": migration(more=replaces)})
        shelf.record("0001_squashed")
        assert shelf.way_to(shelf.first).reverse_migrations == ()

    def test_all_of_an_app_that_was_not_there_yet(self, shelf: Shelf, settings: Any) -> None:
        shelf.bring({"0001_initial": migration()}, {"reader/__init__.py": ""}, app="reader")
        settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "reader"]
        shelf.record("0001_initial", app="reader")
        assert shelf.way_to(shelf.first).reverse_migrations == ("reader.0001_initial",)

    def test_that_the_dependencies_differ(self, shelf: Shelf) -> None:
        shelf.bring({}, {"uv.lock": "2"})
        (note,) = shelf.way_to(shelf.first).notes
        assert "Migrations that come with packages are not looked at" in note

    def test_that_a_migration_is_not_atomic(self, shelf: Shelf) -> None:
        text = migration(("shelf", "0001_initial"), more="    atomic = False\n")
        shelf.bring({"0002_b": text})
        shelf.record("0002_b")
        (note,) = shelf.way_to(shelf.first).notes
        assert note.startswith("shelf.0002_b is not atomic")

    def test_what_a_site_below_the_top_of_its_repository_has(
        self, shelf: Shelf, settings: Any
    ) -> None:
        settings.ADMIN_MANAGEMENT = {"CHECKOUT": shelf.checkout.path / "shelf"}
        shelf.bring({"0002_b": migration(("shelf", "0001_initial"))}, {"shelf/uv.lock": "2"})
        shelf.record("0002_b")
        way = shelf.way_to(shelf.first)
        assert way.reverse_migrations == ("shelf.0002_b",)
        assert len(way.notes) == 1


class TestNotPossible:
    def test_because_a_migration_cannot_be_reversed(self, shelf: Shelf) -> None:
        shelf.bring({"0002_b": migration(("shelf", "0001_initial"), sql=ONE_WAY)})
        shelf.record("0002_b")
        way = shelf.way_to(shelf.first)
        assert not way.is_possible
        assert way.meaning == "Not possible: shelf.0002_b cannot be reversed."

    def test_because_something_that_stays_depends_on_it(self, shelf: Shelf, settings: Any) -> None:
        shelf.bring({"0002_b": migration(("shelf", "0001_initial"))})
        shelf.record("0002_b")
        # An app of a package: not a file of the checkout.
        package = shelf.checkout.path.parent / "packages"
        (package / "reader" / "migrations").mkdir(parents=True)
        for name in ("__init__.py", "migrations/__init__.py"):
            (package / "reader" / name).touch()
        text = migration(("shelf", "0002_b"))
        (package / "reader" / "migrations" / "0001_initial.py").write_text(text)
        sys.path.append(str(package))
        try:
            settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "reader"]
            shelf.record("0001_initial", app="reader")
            way = shelf.way_to(shelf.first)
        finally:
            sys.path.remove(str(package))
        assert "but reader.0001_initial depends on it" in way.obstacle

    def test_because_the_migrations_of_an_app_moved(self, shelf: Shelf) -> None:
        moved = shelf.bring({}, {"apps/shelf/migrations/0001_initial.py": migration()})
        for name in ("0001_initial.py", "__init__.py"):
            shelf.checkout.git("rm", "-q", f"shelf/migrations/{name}", cwd=shelf.checkout.author)
        moved = shelf.bring({}, {"other": ""}, app="apps/shelf")
        shelf.checkout.git("rm", "-rq", "apps", cwd=shelf.checkout.author)
        shelf.bring({"0001_initial": migration()})
        assert (
            shelf.way_to(moved).obstacle == "the migrations of shelf are in another folder there."
        )

    def test_because_it_is_live(self, shelf: Shelf) -> None:
        assert shelf.way_to(shelf.first).obstacle == f"{shelf.first[:7]} is live."

    def test_because_the_checkout_does_not_have_it_any_more(self, checkout: Checkout) -> None:
        way = find_way_back(succeeded("a" * 40))
        assert way.obstacle == "aaaaaaa is not in the checkout any more."

    def test_because_it_was_rolled_back_later(self, shelf: Shelf) -> None:
        shelf.bring({})
        state = StateDirectory.of(shelf.checkout.path)
        state.create()
        state.quarantine(shelf.first, "0f7c2a54-0000-4000-8000-000000000000")
        assert "was rolled back later, by the update 0f7c2a54" in shelf.way_to(shelf.first).obstacle

    def test_because_an_update_is_running(self, shelf: Shelf) -> None:
        shelf.bring({})
        succeeded("", status="running")
        assert "an update is running" in shelf.way_to(shelf.first).obstacle

    @pytest.mark.parametrize("status", ["queued", "running"])
    def test_because_the_update_has_not_ended(self, checkout: Checkout, status: str) -> None:
        way = find_way_back(succeeded("a" * 40, status=status))
        assert (way.target_revision, way.obstacle) == ("", "it has not ended.")

    def test_because_it_was_on_another_machine(self, checkout: Checkout) -> None:
        way = find_way_back(succeeded("a" * 40, node="another machine"))
        assert way.obstacle == "it was an update of another machine."

    def test_because_nothing_was_proved(self, checkout: Checkout) -> None:
        failed = succeeded("b" * 40, status="failed", from_revision="a" * 40)
        assert "no update has proved" in find_way_back(failed).obstacle

    def test_because_there_is_no_checkout(self, settings: Any) -> None:
        settings.ADMIN_MANAGEMENT = {"CHEKOUT": "/srv/site"}
        assert "unknown key" in find_way_back(succeeded("a" * 40)).obstacle


def test_an_update_that_failed_leads_to_what_it_has_found(shelf: Shelf) -> None:
    succeeded(shelf.first)
    shelf.bring({})
    failed = succeeded("b" * 40, status="rolled_back", from_revision=shelf.first)
    way = find_way_back(failed)
    assert (way.target_revision, way.is_possible) == (shelf.first, True)


class TestTheRequest:
    @pytest.fixture
    def run(self, shelf: Shelf) -> Run:
        shelf.bring({"0002_b": migration(("shelf", "0001_initial"))})
        shelf.record("0002_b")
        return succeeded(shelf.first)

    def test_is_a_run_of_its_own_and_holds_what_comes_after(
        self, run: Run, shelf: Shelf, spawned: list[Plan]
    ) -> None:
        rollback = request_rollback(run, requester=ALICE, reason="slow pages")
        start_next()
        (plan,) = spawned
        assert plan.run == str(rollback.pk)
        assert plan.target == shelf.first
        assert plan.reverse_migrations == ("shelf.0002_b",)
        assert (rollback.trigger, rollback.reason) == ("rollback", "slow pages")
        hold = Hold.objects.get()
        assert hold.reason == f"rolled back to {shelf.first[:7]}: slow pages"
        (held, _), (requested, facts) = told()
        assert (held, requested) == ("held", "requested")
        assert facts["reverse_migrations"] == ["shelf.0002_b"]

    def test_starts_in_spite_of_a_hold_and_leaves_it(self, run: Run, spawned: list[Plan]) -> None:
        hold = Hold.objects.place(reason="exams", actor_name="bob")
        request_rollback(run, requester=ALICE, reason="slow pages")
        start_next()
        assert len(spawned) == 1
        assert Hold.objects.get() == hold
        assert [kind for kind, _ in told()] == ["held", "requested", "hold_overridden"]

    def test_goes_before_the_update_that_waits(self, run: Run, spawned: list[Plan]) -> None:
        with connection.cursor() as cursor:
            Run.objects.join_or_create(cursor, {"override_hold": True}, trigger=Trigger.WEBHOOK)
        rollback = request_rollback(run, requester=ALICE, reason="slow pages")
        start_next()
        assert [plan.run for plan in spawned] == [str(rollback.pk)]

    def test_needs_a_reason(self, run: Run) -> None:
        with pytest.raises(ReasonMissingError):
            request_rollback(run, requester=ALICE, reason=" ")

    def test_is_refused_when_it_is_not_possible(self, checkout: Checkout) -> None:
        with pytest.raises(ConflictError, match=r"Not possible: .* is live"):
            request_rollback(succeeded(checkout.revision()), requester=ALICE, reason="slow")
        assert not Hold.objects.exists()

    def test_is_refused_when_another_waits(self, run: Run) -> None:
        request_rollback(run, requester=ALICE, reason="slow pages")
        with pytest.raises(ConflictError, match="waits already"):
            request_rollback(run, requester=ALICE, reason="slow pages")
        assert Run.objects.queued().count() == 1

    def test_does_nothing_else_than_what_was_told(
        self, run: Run, shelf: Shelf, spawned: list[Plan]
    ) -> None:
        rollback = request_rollback(run, requester=ALICE, reason="slow pages")
        shelf.bring({"0003_c": migration(("shelf", "0002_b"))})
        shelf.record("0003_c")
        start_next()
        rollback.refresh_from_db()
        assert (rollback.status, spawned) == ("failed", [])
        assert "Going back means something else than when it was asked for." in rollback.message

    def test_fails_when_git_does(
        self, run: Run, shelf: Shelf, spawned: list[Plan], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rollback = request_rollback(run, requester=ALICE, reason="slow pages")
        monkeypatch.setattr("admin_management.machine.program", lambda name: "/no/git")
        start_next()
        rollback.refresh_from_db()
        assert "/no/git cannot be started" in rollback.message


@pytest.mark.usefixtures("no_runner")
class TestTheDoors:
    @pytest.fixture
    def run(self, checkout: Checkout) -> Run:
        run = succeeded(checkout.revision())
        checkout.commit({"version.txt": "2\n"})
        checkout.git("pull", "--quiet")
        return run

    @pytest.fixture
    def staff(self, client: Client, alice: User) -> Client:
        client.force_login(alice)
        return client

    def post(self, client: Client, run: Run, body: object) -> Any:
        address = f"/admin/update/{run.pk}/rollback/"
        return client.post(address, json.dumps(body), content_type="application/json")

    def test_the_api_says_what_it_means_and_does_it(self, staff: Client, run: Run) -> None:
        way = staff.get(f"/admin/update/{run.pk}/rollback/").json()
        assert way == {
            "target_revision": run.to_revision,
            "is_possible": True,
            "meaning": "Only the code goes back: no migration is reversed.",
            "reverse_migrations": [],
            "notes": [],
        }
        answer = self.post(staff, run, {"reason": "slow pages"})
        assert answer.status_code == 202
        rollback = answer.json()
        assert answer.headers["Location"] == rollback["url"]
        assert (rollback["trigger"], rollback["target_revision"]) == ("rollback", run.to_revision)
        assert staff.get("/admin/hold/").json()["reason"].endswith(": slow pages")

    def test_the_api_needs_a_reason(self, staff: Client, run: Run) -> None:
        answer = self.post(staff, run, {})
        assert (answer.status_code, list(answer.json())) == (400, ["reason"])

    def test_the_api_says_why_not(self, staff: Client, checkout: Checkout) -> None:
        live = succeeded(checkout.revision())
        answer = self.post(staff, live, {"reason": "slow pages"})
        assert answer.status_code == 409
        assert answer.json()["detail"].endswith(" is live.")

    def test_the_api_is_for_staff(self, client: Client, bob: User, run: Run) -> None:
        client.force_login(bob)
        assert client.get(f"/admin/update/{run.pk}/rollback/").status_code == 403
        assert self.post(client, run, {"reason": "mine"}).status_code == 403

    def test_the_page_of_a_run_leads_to_a_page_that_asks(self, staff: Client, run: Run) -> None:
        address = f"/admin/dashboard/{run.pk}/rollback/"
        assert f'href="{address}"' in staff.get(run.get_absolute_url()).content.decode()
        shown = staff.get(address).content.decode()
        assert "Only the code goes back" in shown
        assert staff.post(address, {"reason": ""}).status_code == 400
        answer = staff.post(address, {"reason": "slow pages"})
        rollback = Run.objects.get(trigger="rollback")
        assert answer.headers["Location"] == rollback.get_absolute_url()
        answer = staff.post(address, {"reason": "once more"}, follow=True)
        assert "A rollback waits already." in answer.content.decode()

    def test_the_page_says_why_not(self, staff: Client, checkout: Checkout) -> None:
        failed = succeeded("b" * 40, status="failed")
        assert "Go back to" not in staff.get(failed.get_absolute_url()).content.decode()
        shown = staff.get(f"/admin/dashboard/{failed.pk}/rollback/").content.decode()
        assert "Not possible: no update has proved" in shown
        assert "<button" not in shown.partition("<main")[2]

    def test_a_rollback_that_goes_on_shows_what_it_reverses(
        self, staff: Client, checkout: Checkout
    ) -> None:
        facts = {"status": "queued", "trigger": "rollback", "override_hold": True}
        run = succeeded("", target_revision="a" * 40, reverse_migrations=["shelf.0002_b"], **facts)
        shown = staff.get(run.get_absolute_url()).content.decode()
        assert "shelf.0002_b" in shown
        assert shown.index("reverse_migrations") < shown.index('data-step="pull"')

    def test_the_command_says_what_it_means_and_with_a_reason_does_it(self, run: Run) -> None:
        output = io.StringIO()
        call_command("rollback_update", run.short_id, stdout=output)
        assert output.getvalue().startswith(f"To {run.to_revision[:7]}. Only the code goes back")
        assert not Run.objects.filter(trigger="rollback").exists()
        call_command("rollback_update", run.short_id, "--reason", "slow", stdout=output)
        assert "requested; updates are held" in output.getvalue()
        with pytest.raises(CommandError, match="waits already"):
            call_command("rollback_update", run.short_id, "--reason", "slow", stdout=output)

    def test_the_command_lists_the_newest_and_what_going_back_to_each_would_mean(
        self, run: Run, checkout: Checkout
    ) -> None:
        live = succeeded(checkout.revision())
        output = io.StringIO()
        call_command("rollback_update", stdout=output)
        newer, older = output.getvalue().splitlines()
        assert newer.startswith(live.short_id)
        assert newer.endswith(f"succeeded  Not possible: {live.to_revision[:7]} is live.")
        assert older.startswith(run.short_id)
        assert f"succeeded  To {run.to_revision[:7]}. Only the code goes back" in older

    def test_the_command_lists_what_has_ended_here_and_not_all_of_it(
        self, run: Run, checkout: Checkout, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        checkout.commit({"uv.lock": "2\n"})
        checkout.git("pull", "--quiet")
        succeeded(run.to_revision, node="elsewhere")
        succeeded("", status="queued")
        output = io.StringIO()
        call_command("rollback_update", stdout=output)
        line, note = output.getvalue().splitlines()
        assert line.startswith(run.short_id)
        assert note.startswith("! The dependencies differ")
        newest = succeeded(checkout.revision())
        monkeypatch.setattr("admin_management.management.commands.rollback_update.LISTED", 1)
        output = io.StringIO()
        call_command("rollback_update", stdout=output)
        assert output.getvalue().startswith(newest.short_id)
        assert run.short_id not in output.getvalue()

    def test_the_command_goes_nowhere_unless_it_is_told_where(self) -> None:
        output = io.StringIO()
        call_command("rollback_update", stdout=output)
        assert output.getvalue() == "No update has ended here.\n"
        with pytest.raises(CommandError, match="which update"):
            call_command("rollback_update", "--reason", "slow")

    def test_the_command_says_what_to_know_before(self, run: Run, checkout: Checkout) -> None:
        checkout.commit({"uv.lock": "2\n"})
        checkout.git("pull", "--quiet")
        output = io.StringIO()
        call_command("rollback_update", run.short_id, stdout=output)
        assert "! The dependencies differ" in output.getvalue()

    def test_the_command_says_why_not(self, checkout: Checkout) -> None:
        with pytest.raises(CommandError, match="not exactly one"):
            call_command("rollback_update", "no-such-run")
        live = succeeded(checkout.revision())
        with pytest.raises(CommandError, match=r"Not possible: .* is live"):
            call_command("rollback_update", live.short_id)
