"""What of a rehearsal needs Django, on copies of a database file."""

import json
import os
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.core.management.base import SystemCheckError
from django.db import DEFAULT_DB_ALIAS, OperationalError, connection, connections
from django.db.migrations.recorder import MigrationRecorder

from admin_management import rehearsal as rehearsal_module
from admin_management.exceptions import NotHealthyError
from admin_management.rehearsal import Live, Rehearsal, check_static_root, static_digest

from .shop import FAILS, IRREVERSIBLE, Shop, row, table

URLS = """\
from django.contrib import admin
from django.http import HttpResponse
from django.urls import include, path
urlpatterns = [
    path("admin/", include("admin_management.urls")),
    path("admin/", admin.site.urls),
    path("well/", lambda request: HttpResponse("well")),
    path("ill/", lambda request: HttpResponse("ill", status=500)),
]
"""


@pytest.fixture
def shop(
    tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch, django_db_blocker: Any
) -> Iterator[Shop]:
    """The live site has the first migration; its own URL configuration is a file."""
    monkeypatch.syspath_prepend(tmp_path)
    shop = Shop.open(tmp_path)
    shop.migration("0001_first", table("first"), row("1"))
    settings.BASE_DIR = tmp_path
    settings.WSGI_APPLICATION = None
    settings.ROOT_URLCONF = f"{shop.name}.urls"
    (shop.folder / "urls.py").write_text(URLS)
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, shop.name]
    # A rehearsal changes them, in the process that it has to itself.
    settings.STORAGES, settings.STATIC_ROOT = settings.STORAGES, tmp_path / "collected"
    with django_db_blocker.unblock(), shop.connected():
        call_command("migrate", verbosity=0, skip_checks=True)
        connection.close()
        yield shop


class Tried:
    """A rehearsal, what it said, and what it did to the copies."""

    def __init__(self, databases: dict[str, Path], folder: Path) -> None:
        self.said: list[str] = []
        self.rehearsal = Rehearsal(Live(databases=databases), folder, self.said.append)

    def perform(self) -> "Tried":
        self.rehearsal.perform()
        return self

    @property
    def notes(self) -> list[str]:
        return self.rehearsal.notes


@pytest.fixture
def tried(shop: Shop, tmp_path: Path) -> Tried:
    (tmp_path / "copies").mkdir()
    return Tried({DEFAULT_DB_ALIAS: shop.database}, tmp_path / "copies")


@pytest.fixture
def unchanged(shop: Shop) -> Iterator[None]:
    """The live database is the same afterwards, byte for byte."""
    before = shop.files()
    yield
    assert shop.files() == before


@pytest.mark.usefixtures("unchanged")
class TestMigrations:
    def test_are_tried_on_a_copy(self, shop: Shop, tried: Tried, tmp_path: Path) -> None:
        shop.migration("0002_second", table("second"), row("2"), after="0001_first")
        tried.perform()
        assert tried.rehearsal.migrations == [(shop.name, "0002_second")]
        assert tried.notes == []
        assert tried.said == [
            "✓ copied the database default",
            "✓ the static files can be collected",
            "System check identified no issues (0 silenced).",
            "✓ system checks",
            f"  to apply: {shop.name}.0002_second",
            "✓ the migrations work on a copy of the database",
            "✓ the WSGI application answers its health address",
        ]
        copy = tmp_path / "copies" / "default.sqlite3"
        assert connection.settings_dict["NAME"] == str(copy)
        assert stat.S_IMODE(copy.stat().st_mode) == 0o600
        with closing(sqlite3.connect(copy)) as inside:
            told = [each[0] for each in inside.execute("SELECT what FROM told")]
        assert told == ["1 there", "2 there"]
        assert shop.told() == ["1 there"]

    def test_may_be_none(self, tried: Tried) -> None:
        tried.perform()
        assert tried.rehearsal.migrations == []
        assert not any("migrations work" in line for line in tried.said)

    def test_that_fail_end_it(self, shop: Shop, tried: Tried) -> None:
        shop.migration("0002_second", row("2"), FAILS, after="0001_first")
        with pytest.raises(OperationalError, match="nonsense"):
            tried.perform()

    def test_that_do_not_import_end_it(self, shop: Shop, tried: Tried) -> None:
        (shop.folder / "migrations" / "0002_second.py").write_text("import nothing_like_this")
        with pytest.raises(ModuleNotFoundError):
            tried.perform()

    def test_that_cannot_be_undone_are_noted(self, shop: Shop, tried: Tried) -> None:
        shop.migration("0002_second", row("2"), after="0001_first", atomic=False)
        shop.migration("0003_third", row("3"), IRREVERSIBLE, after="0002_second")
        tried.perform()
        assert tried.notes == [
            f"{shop.name}.0002_second is not atomic: if it fails half-way, its half stays",
            f"{shop.name}.0003_third cannot be reversed: if the update fails, its schema stays",
        ]

    def test_that_are_missing_are_noted(self, shop: Shop, tried: Tried) -> None:
        (shop.folder / "models.py").write_text(
            "from django.db import models\n"
            f"class Book{shop.name}(models.Model):\n"
            f"    class Meta:\n        app_label = '{shop.name}'\n"
        )
        __import__(f"{shop.name}.models")
        tried.perform()
        assert tried.notes == ["models have changes without a migration"]

    def test_that_are_missing_and_would_need_an_answer_are_noted(
        self, shop: Shop, tried: Tried
    ) -> None:
        model = f"Pen{shop.name}"
        fields = "[('id', models.AutoField(primary_key=True))]"
        shop.migration(
            "0002_pen", f"migrations.CreateModel('{model}', {fields})", after="0001_first"
        )
        (shop.folder / "models.py").write_text(
            "from django.db import models\n"
            f"class {model}(models.Model):\n"
            "    id = models.AutoField(primary_key=True)\n"
            "    colour = models.CharField(max_length=9)\n"
        )
        __import__(f"{shop.name}.models")
        tried.perform()
        assert tried.notes == ["models have changes without a migration"]

    def test_that_conflict_and_are_applied_are_noted(self, shop: Shop, tried: Tried) -> None:
        for name in ("0002_one", "0002_other"):
            shop.migration(name, after="0001_first")
        rehearse = tried.rehearsal._copy_databases

        def copy_and_apply() -> None:
            rehearse()
            for name in ("0002_one", "0002_other"):
                MigrationRecorder(connection).record_applied(shop.name, name)

        tried.rehearsal._copy_databases = copy_and_apply  # type: ignore[method-assign]
        tried.perform()
        (note,) = tried.notes
        assert "Conflicting migrations detected" in note

    def test_are_only_listed_for_a_database_that_is_too_large(
        self, shop: Shop, tried: Tried, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr(rehearsal_module, "LARGEST_COPY", 0)
        shop.migration("0002_second", row("2"), after="0001_first")
        tried.perform()
        assert tried.rehearsal.migrations == [(shop.name, "0002_second")]
        assert list((tmp_path / "copies").iterdir()) == []
        with pytest.raises(OperationalError, match="readonly"), connection.cursor() as cursor:
            cursor.execute("INSERT INTO told VALUES ('written')")

    def test_are_only_listed_where_there_is_no_file_to_copy(
        self, shop: Shop, tmp_path: Path
    ) -> None:
        shop.migration("0002_second", row("2"), after="0001_first")
        databases = {"default": tmp_path / "missing", "another": shop.database}
        tried = Tried(databases, tmp_path / "copies").perform()
        assert tried.rehearsal.migrations == [(shop.name, "0002_second")]
        assert not any("copied" in line or "work on a copy" in line for line in tried.said)


def test_what_a_busy_site_has_just_written_is_in_the_copy(
    shop: Shop, tried: Tried, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(shop.database)) as busy:
        busy.execute("INSERT INTO told VALUES ('just now')")
        busy.commit()
        busy.execute("INSERT INTO told VALUES ('not yet committed')")
        before = shop.files()
        tried.perform()
        assert shop.files() == before
        with closing(sqlite3.connect(tmp_path / "copies" / "default.sqlite3")) as inside:
            told = [each[0] for each in inside.execute("SELECT what FROM told")]
    assert told == ["1 there", "just now"]


@pytest.mark.usefixtures("unchanged")
class TestTheCode:
    def test_that_fails_a_check_ends_it(self, tried: Tried, settings: Any) -> None:
        settings.ADMIN_MANAGEMENT = {"BRANHC": "master"}
        with pytest.raises(SystemCheckError, match="BRANHC"):
            tried.perform()

    def test_that_does_not_import_ends_it(self, shop: Shop, tried: Tried) -> None:
        (shop.folder / "urls.py").write_text("import nothing_like_this")
        with pytest.raises(ModuleNotFoundError, match="nothing_like_this"):
            tried.perform()

    def test_whose_application_does_not_import_ends_it(self, tried: Tried, settings: Any) -> None:
        settings.WSGI_APPLICATION = "nothing_like_this.application"
        with pytest.raises(Exception, match="nothing_like_this"):
            tried.perform()

    @pytest.mark.parametrize(("url", "is_well"), [("/well/", True), ("/ill/", False)])
    def test_must_be_healthy(self, tried: Tried, settings: Any, url: str, is_well: bool) -> None:
        settings.ADMIN_MANAGEMENT = {"CHECKOUT": settings.BASE_DIR, "HEALTH_URL": url}
        if is_well:
            tried.perform()
        else:
            with pytest.raises(NotHealthyError, match="/ill/ answered 500"):
                tried.perform()


class TestStaticFiles:
    def test_that_are_collected_already_are_used_as_they_are(
        self, shop: Shop, tmp_path: Path, settings: Any
    ) -> None:
        said: list[str] = []
        live = Live(databases={}, static_root=str(tmp_path), static_files=static_digest())
        Rehearsal(live, tmp_path, said.append).perform()
        assert str(tmp_path) == settings.STATIC_ROOT
        assert "✓ the static files are those that are collected already" in said

    def test_that_change_are_collected_as_a_dry_run(
        self, shop: Shop, tmp_path: Path, settings: Any
    ) -> None:
        said: list[str] = []
        Rehearsal(Live(databases={}), tmp_path, said.append).perform()
        assert "✓ the static files can be collected" in said
        assert not (tmp_path / "collected").exists()

    def test_without_a_folder_to_collect_them_into_end_it(
        self, tried: Tried, settings: Any
    ) -> None:
        settings.STATIC_ROOT = None
        with pytest.raises(ImproperlyConfigured, match="STATIC_ROOT"):
            tried.perform()

    def test_that_are_kept_elsewhere_need_no_folder(self, tried: Tried, settings: Any) -> None:
        settings.STATIC_ROOT = None
        elsewhere = {"BACKEND": "django.core.files.storage.InMemoryStorage"}
        settings.STORAGES = settings.STORAGES | {"staticfiles": elsewhere}
        tried.perform()

    def test_of_a_site_without_the_app_need_none_either(self, settings: Any) -> None:
        settings.STATIC_ROOT = None
        settings.INSTALLED_APPS = [
            each for each in settings.INSTALLED_APPS if "staticfiles" not in each
        ]
        check_static_root()

    @pytest.fixture
    def folder(self, tmp_path: Path, settings: Any) -> Path:
        """One of two folders of static files; the first has priority."""
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
        settings.STATICFILES_DIRS = [tmp_path / "one", ("shown", tmp_path / "two")]
        (tmp_path / "one" / "logo.svg").write_text("a logo")
        return tmp_path

    def test_that_are_the_same_have_the_same_digest(self, folder: Path) -> None:
        before = static_digest()
        os.utime(folder / "one" / "logo.svg", (0, 0))
        (folder / "one" / "logo.svg").chmod(0o600)
        assert static_digest() == before
        assert len(before) == 64

    @pytest.mark.parametrize(
        "change",
        [
            lambda folder: (folder / "one" / "logo.svg").write_text("A logo"),
            lambda folder: (folder / "one" / "logo.svg").rename(folder / "one" / "icon.svg"),
            lambda folder: (folder / "one" / "logo.svg").unlink(),
            lambda folder: (folder / "one" / "more.svg").touch(),
            lambda folder: (folder / "two" / "more.svg").touch(),
        ],
    )
    def test_that_change_have_another(self, folder: Path, change: Callable[[Path], object]) -> None:
        before = static_digest()
        change(folder)
        assert static_digest() != before

    def test_that_are_hidden_by_one_of_the_same_name_do_not_count(self, folder: Path) -> None:
        (folder / "one" / "shown").mkdir()
        (folder / "one" / "shown" / "same.css").write_text("first")
        before = static_digest()
        (folder / "two" / "same.css").write_text("second")
        assert static_digest() == before

    def test_that_are_stored_in_another_way_have_another(self, folder: Path, settings: Any) -> None:
        before = static_digest()
        backend = "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"
        settings.STORAGES = settings.STORAGES | {"staticfiles": {"BACKEND": backend}}
        assert static_digest() != before

    def test_of_a_site_without_them_have_none(self, folder: Path, settings: Any) -> None:
        settings.INSTALLED_APPS = [
            each for each in settings.INSTALLED_APPS if "staticfiles" not in each
        ]
        assert static_digest() == ""


class TestTheCommand:
    def rehearse(self, shop: Shop, tmp_path: Path, *words: str) -> str:
        said = StringIO()
        (tmp_path / "copies").mkdir(exist_ok=True)
        call_command(
            "rehearse_update",
            *("--database", f"default={shop.database}", "--folder", str(tmp_path / "copies")),
            *words,
            stdout=said,
        )
        return said.getvalue()

    def test_writes_down_what_it_found(self, shop: Shop, tmp_path: Path) -> None:
        shop.migration("0002_second", IRREVERSIBLE, after="0001_first")
        digest = static_digest()
        said = self.rehearse(shop, tmp_path, "--report", str(tmp_path / "report.json"))
        note = f"{shop.name}.0002_second cannot be reversed: if the update fails, its schema stays"
        assert said.endswith(f"\n! {note}\n")
        report = json.loads((tmp_path / "report.json").read_text())
        assert report == {
            "migrations": [[shop.name, "0002_second"]],
            "static_files": digest,
            "notes": [note],
        }
        assert stat.S_IMODE((tmp_path / "report.json").stat().st_mode) == 0o600

    def test_leaves_no_copy(self, shop: Shop, tmp_path: Path) -> None:
        self.rehearse(shop, tmp_path)
        connections[DEFAULT_DB_ALIAS].close()
        assert list((tmp_path / "copies").iterdir()) == []

    def test_leaves_no_copy_after_a_failure_either(self, shop: Shop, tmp_path: Path) -> None:
        shop.migration("0002_second", FAILS, after="0001_first")
        with pytest.raises(OperationalError):
            self.rehearse(shop, tmp_path, "--report", str(tmp_path / "report.json"))
        connections[DEFAULT_DB_ALIAS].close()
        assert list((tmp_path / "copies").iterdir()) == []
        assert not (tmp_path / "report.json").exists()

    def test_is_an_error_when_the_code_exits(self, shop: Shop, tmp_path: Path) -> None:
        (shop.folder / "urls.py").write_text("raise SystemExit('no configuration')")
        with pytest.raises(CommandError, match="exits when it is loaded: no configuration"):
            self.rehearse(shop, tmp_path)

    def test_is_no_success_when_the_code_exits_with_0(self, shop: Shop, tmp_path: Path) -> None:
        (shop.folder / "urls.py").write_text("raise SystemExit(0)")
        with pytest.raises(CommandError, match="exits when it is loaded"):
            self.rehearse(shop, tmp_path)
