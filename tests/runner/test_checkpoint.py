"""What a run must know to go back survives the journal."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from admin_management.runner.checkpoint import Checkpoint
from admin_management.runner.journal import Journal, replay
from tests.runner.conftest import Site

TEXT = st.text(st.characters(codec="utf-8"))
CHECKPOINTS = st.builds(
    Checkpoint,
    revision=TEXT,
    environment=TEXT,
    static_files=TEXT,
    migrations=st.lists(st.tuples(TEXT, TEXT), max_size=3).map(tuple),
    strays=st.none() | st.lists(TEXT, max_size=3).map(tuple),
)


@given(CHECKPOINTS)
def test_what_is_written_into_the_journal_is_read_from_it(
    tmp_path_factory: object, checkpoint: Checkpoint
) -> None:
    path = Path(tmp_path_factory.mktemp("run")) / "journal.jsonl"  # type: ignore[attr-defined]
    journal = Journal(path)
    journal.event("checkpoint", **checkpoint.facts())
    journal.close()
    facts = replay(path).checkpoint
    assert facts is not None
    assert Checkpoint.from_facts(facts) == checkpoint


def test_it_tells_what_is_live_and_what_stands_in_the_way(site: Site, tmp_path: Path) -> None:
    site.state.set_live_revision("1" * 40, "a digest")
    environment = site.state.environments / "k1-run1"
    environment.mkdir()
    site.link.symlink_to(environment)
    before = site.checkout.revision()
    after = site.checkout.commit(dict.fromkeys(("new.txt", "notes.txt", "library"), "2\n"))
    site.checkout.git("fetch", "--quiet")
    for name in ("notes.txt", "mine.txt"):
        (site.checkout.path / name).write_text("mine\n")
    # As git makes one for a submodule: it is nothing that could be begun and not ended.
    (site.checkout.path / "library").mkdir()
    with site.at_work() as runners_site:
        runners_site.to_revision = after
        checkpoint = Checkpoint.of(runners_site, before, (("app", "0001"),))
    assert checkpoint == Checkpoint(
        revision=before,
        environment="k1-run1",
        static_files="a digest",
        migrations=(("app", "0001"),),
        strays=(str(site.checkout.path / "notes.txt"),),
    )


def test_what_git_does_not_know_any_more_has_no_strays(site: Site) -> None:
    with site.at_work() as runners_site:
        runners_site.to_revision = site.checkout.revision()
        assert Checkpoint.of(runners_site, "2" * 40, ()).strays is None


def test_that_of_an_older_runner_is_read_too() -> None:
    facts = {"revision": "1" * 40, "environment": "", "static_files": "", "migrations": []}
    assert Checkpoint.from_facts(facts).strays is None
