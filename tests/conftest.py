"""What many tests need: a real git origin with a clone of it, and the cast of people."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from admin_management.permissions import Permission as Ours
from admin_management.throttling import COUNTS
from webhooks.tally import Tally

IDENTITY = ("-c", "user.name=Tester", "-c", "user.email=tester@example.com")

# An example that a busy machine or a slow disk held up is no failure.
hypothesis_settings.register_profile(
    "unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.load_profile("unhurried")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All that is tested on PostgreSQL is one test: begun last, it would have a processor alone."""
    items.sort(key=lambda item: item.get_closest_marker("postgresql") is None)
    if "TEST_POSTGRESQL_SOCKET" in os.environ:
        items[:] = [item for item in items if touches_the_database(item)]


def touches_the_database(item: pytest.Item) -> bool:
    fixtures = getattr(item, "fixturenames", ())
    is_marked = item.get_closest_marker("django_db") is not None
    return is_marked or not {"db", "transactional_db"}.isdisjoint(fixtures)


@dataclass(frozen=True)
class Checkout:
    """A clone (``path``) of a bare repository (``origin``), both real, with one commit."""

    path: Path
    origin: Path
    author: Path

    @classmethod
    def within(cls, folder: Path) -> Self:
        """Where the three are, or will be."""
        return cls(folder / "site", folder / "origin.git", folder / "author")

    def begin(self) -> None:
        """Make all three, with one commit."""
        folder = self.origin.parent
        self.git("init", "--quiet", "--bare", "-b", "master", str(self.origin), cwd=folder)
        self.git("clone", "--quiet", str(self.origin), str(self.author), cwd=folder)
        self.git("checkout", "--quiet", "-B", "master", cwd=self.author)
        self.commit({"version.txt": "1\n"}, "The first version")
        self.git("clone", "--quiet", str(self.origin), str(self.path), cwd=folder)

    def git(self, *arguments: str, cwd: Path | None = None) -> str:
        done = subprocess.run(
            ["git", *IDENTITY, *arguments],
            cwd=cwd or self.path,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    def commit(self, files: dict[str, str], message: str = "Change the site") -> str:
        """Commit to the author's clone and push to origin; the checkout does not know yet."""
        for name, text in files.items():
            target = self.author / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
        self.git("add", "--all", cwd=self.author)
        self.git("commit", "--quiet", "--message", message, cwd=self.author)
        self.git("push", "--quiet", "--force", "origin", "master", cwd=self.author)
        return self.revision(self.author)

    def revision(self, where: Path | None = None) -> str:
        return self.git("rev-parse", "HEAD", cwd=where)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings_parallel_suffix: None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Keep SQLite's database in a file, as a site does."""
    # One in memory is a single connection for all threads of a live server, which then find
    # themselves in each other's transactions.
    if connection.vendor == "sqlite":
        path = tmp_path_factory.mktemp("database") / "db.sqlite3"
        connection.settings_dict["TEST"]["NAME"] = str(path)


@pytest.fixture(autouse=True)
def nothing_counted() -> None:
    """No test is throttled for what the ones before it did."""
    COUNTS.clear()


@pytest.fixture(autouse=True)
def refusals_are_written_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A timer's thread has a connection of its own, outside of the test's transaction."""
    monkeypatch.setattr(Tally, "_write_later", Tally.write)


@pytest.fixture(scope="session")
def first_version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where there is a checkout one commit old, to be copied: making it calls git eight times."""
    folder = tmp_path_factory.mktemp("first_version")
    Checkout.within(folder).begin()
    return folder


@pytest.fixture
def checkout(first_version: Path, tmp_path: Path, settings: Any) -> Checkout:
    """A checkout one commit old that ``ADMIN_MANAGEMENT`` points to."""
    shutil.copytree(first_version, tmp_path, dirs_exist_ok=True)
    made = Checkout.within(tmp_path)
    for clone in (made.path, made.author):
        config = clone / ".git" / "config"
        text = config.read_text()
        assert str(first_version) in text
        config.write_text(text.replace(str(first_version), str(tmp_path)))
    settings.ADMIN_MANAGEMENT = {"CHECKOUT": made.path}
    return made


def permit(user: User, *names: str) -> None:
    """Give a user permissions of this package, as the admin of the site does."""
    granted = Permission.objects.filter(
        content_type__app_label__in=["admin_management", "github_webhooks"], codename__in=names
    )
    assert granted.count() == len(set(names))
    user.user_permissions.add(*granted)


@pytest.fixture
def alice(db: None) -> User:
    """Alice is staff and may make every change."""
    alice = User.objects.create_user("alice", "alice@example.com", "secret-of-alice", is_staff=True)
    permit(alice, *Ours)
    return alice


@pytest.fixture
def carol(db: None) -> User:
    """Carol is staff and may look."""
    return User.objects.create_user("carol", "carol@example.com", "secret-of-carol", is_staff=True)


@pytest.fixture
def bob(db: None) -> User:
    """Bob has an account, and no more than that."""
    return User.objects.create_user("bob", "bob@example.com", "secret-of-bob")
