"""What going back to a recorded revision means: only code, migrations too, or why it cannot be.

Nothing is changed here. The migration files of both revisions are compared by name, in git; those
that are applied and that the other revision does not have are what must be reversed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path, PurePosixPath

from django.apps import apps
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.migration import Migration

from .conf import AdminManagementSettings
from .exceptions import AdminManagementError, ConflictError
from .machine import node, open_repository
from .models import Run, running_on
from .runner.git import GitError
from .runner.state import NotAGitCheckoutError, StateDirectory
from .runner.status import Status

Key = tuple[str, str]
"""A migration: its app and its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WayBack:
    """What going back means. ``obstacle`` is why it is not possible; empty if it is."""

    target_revision: str
    obstacle: str = ""
    reverse_migrations: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def is_possible(self) -> bool:
        return not self.obstacle

    @property
    def meaning(self) -> str:
        if self.obstacle:
            return f"Not possible: {self.obstacle}"
        if not self.reverse_migrations:
            return "Only the code goes back: no migration is reversed."
        names = ", ".join(self.reverse_migrations)
        return f"These migrations are reversed, and what only they can store is lost: {names}."


def find_way_back(run: Run) -> WayBack:
    """What it means to go back to where this run has left, or found, the site."""
    target = target_of(run)
    try:
        _check(run, target)
        return _look(target)
    except (AdminManagementError, NotAGitCheckoutError, GitError) as error:
        return WayBack(target_revision=target, obstacle=str(error))


def target_of(run: Run) -> str:
    """The revision that a run has proved, or has found proved; empty if there is none."""
    if run.status == Status.SUCCEEDED:
        return run.to_revision
    proved = Run.objects.filter(node=run.node, status=Status.SUCCEEDED)
    found = run.is_finished and proved.filter(to_revision=run.from_revision).exists()
    return run.from_revision if found else ""


def migrations_to_reverse(target: str) -> tuple[str, ...]:
    """Those that are applied and that ``target`` does not know, as ``app.name``, oldest first.

    Raises ConflictError if that is not possible, and GitError.
    """
    return tuple(f"{app}.{name}" for app, name in _Comparison(target).to_reverse())


def _check(run: Run, target: str) -> None:
    if not run.is_finished:
        raise ConflictError("it has not ended.")
    if run.node != node():
        raise ConflictError(f"it was an update of {run.node}.")
    if not target:
        raise ConflictError("no update has proved that its revision works.")
    if running_on.exists(node()):
        raise ConflictError("an update is running; wait for it, or cancel it.")


def _look(target: str) -> WayBack:
    state = StateDirectory.of(AdminManagementSettings.load().checkout)
    comparison = _Comparison(target)
    if target == (state.live_revision() or comparison.head):
        raise ConflictError(f"{target[:7]} is live.")
    if undone := state.rolled_back().get(target):
        raise ConflictError(f"{target[:7]} was rolled back later, by the update {undone[:8]}.")
    keys = comparison.to_reverse()
    return WayBack(
        target_revision=target,
        reverse_migrations=tuple(f"{app}.{name}" for app, name in keys),
        notes=tuple(comparison.notes(keys)),
    )


class _Comparison:
    """The checkout as it is, beside another revision of it."""

    def __init__(self, target: str) -> None:
        """Raises ConflictError if the checkout does not have the target."""
        conf = AdminManagementSettings.load()
        self._repository = open_repository(conf)
        self._checkout = conf.checkout.resolve()
        self._top = Path(self._repository.ask("rev-parse", "--show-toplevel")).resolve()
        self.head = self._repository.revision()
        try:
            self._repository.revision(target)
        except GitError:
            raise ConflictError(f"{target[:7]} is not in the checkout any more.") from None
        self._here = self._tree(self.head)
        self._there = self._tree(target)
        self._executor = MigrationExecutor(connections[DEFAULT_DB_ALIAS])
        self._loader = self._executor.loader

    def to_reverse(self) -> list[Key]:
        """What must be reversed, oldest first. Raises ConflictError if something cannot be."""
        known = {app: self._known_there(app, folder) for app, folder in self._local_folders()}
        keys = [
            key
            for key in self._in_order()
            if key in self._loader.applied_migrations
            and key[0] in known
            and not self._is_known(key, known[key[0]])
        ]
        for key in keys:
            self._check_reversible(key, keys)
        return keys

    def notes(self, keys: list[Key]) -> Iterator[str]:
        """What a person should know before."""
        for app, name in keys:
            if not self._migration((app, name)).atomic:
                yield f"{app}.{name} is not atomic: if reversing it fails, its half stays reversed."
        lock = str(self._relative(self._checkout) / "uv.lock")
        if self._here.get(lock) != self._there.get(lock):
            yield (
                "The dependencies differ and go back too. Migrations that come with packages are "
                "not looked at: if a newer package has changed its tables, they stay changed."
            )

    def _in_order(self) -> list[Key]:
        leaves = self._loader.graph.leaf_nodes()
        plan = self._executor.migration_plan(leaves, clean_start=True)
        return [(migration.app_label, migration.name) for migration, _ in plan]

    def _local_folders(self) -> Iterator[tuple[str, PurePosixPath]]:
        """The apps whose migrations are in the checkout, and where."""
        for app in sorted(self._loader.migrated_apps & set(apps.app_configs)):
            module, _ = MigrationLoader.migrations_module(app)
            folder = Path(next(iter(import_module(str(module)).__path__))).resolve()
            if folder.is_relative_to(self._top):
                relative = self._relative(folder)
                if any(PurePosixPath(name).parent == relative for name in self._here):
                    yield app, relative

    def _known_there(self, app: str, folder: PurePosixPath) -> set[str]:
        """The names of an app's migrations in the target. Raises ConflictError if they moved."""
        files = [PurePosixPath(name) for name in self._there]
        known = {file.stem for file in files if file.parent == folder and file.suffix == ".py"}
        if not known:
            # Without a look at the target's settings, an app that moved looks like one that was
            # not there yet: all of its tables would be dropped.
            old = {PurePosixPath(name).parent for name in self._here}
            for other in {file.parent for file in files} - old:
                if other.parts[-2:] == folder.parts[-2:]:
                    raise ConflictError(f"the migrations of {app} are in another folder there.")
        return known

    def _is_known(self, key: Key, names: set[str]) -> bool:
        """A squashed migration is known where those are that it replaces."""
        replaced = {name for app, name in self._migration(key).replaces if app == key[0]}
        return key[1] in names or (bool(replaced) and replaced <= names)

    def _check_reversible(self, key: Key, keys: list[Key]) -> None:
        if not all(operation.reversible for operation in self._migration(key).operations):
            raise ConflictError(f"{'.'.join(key)} cannot be reversed.")
        for other in self._loader.graph.backwards_plan(key):
            if other in self._loader.applied_migrations and other not in keys:
                raise ConflictError(
                    f"{'.'.join(key)} would be reversed, but {'.'.join(other)} depends on it."
                )

    def _migration(self, key: Key) -> Migration:
        return self._loader.get_migration(*key)

    def _tree(self, revision: str) -> Mapping[str, str]:
        """All files of a revision, by their path from the top, with what identifies each."""
        listing = self._repository.ask("ls-tree", "-r", "-z", "--full-tree", revision)
        entries = (entry.split("\t", 1) for entry in listing.split("\0") if entry)
        return {name: identity for identity, name in entries}

    def _relative(self, folder: Path) -> PurePosixPath:
        return PurePosixPath(folder.relative_to(self._top))
