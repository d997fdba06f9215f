"""What a run must know to go back survives the journal."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from admin_management.runner.checkpoint import Checkpoint
from admin_management.runner.execution import Recorder
from admin_management.runner.journal import Journal, replay
from admin_management.runner.redact import Redactor
from admin_management.runner.site import Site as RunnersSite
from tests.runner.conftest import Site

TEXT = st.text(st.characters(codec="utf-8"))
CHECKPOINTS = st.builds(
    Checkpoint,
    revision=TEXT,
    environment=TEXT,
    static_files=TEXT,
    migrations=st.lists(st.tuples(TEXT, TEXT), max_size=3).map(tuple),
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


def test_it_tells_what_is_live(site: Site, tmp_path: Path) -> None:
    site.state.set_live_revision("1" * 40, "a digest")
    environment = site.state.environments / "k1-run1"
    environment.mkdir()
    site.link.symlink_to(environment)
    journal = Journal(tmp_path / "journal.jsonl")
    recorder = Recorder(journal, Redactor([]), site.checkout.path)
    checkpoint = Checkpoint.of(
        RunnersSite(site.plan, recorder, site.environ), "2" * 40, (("app", "0001"),)
    )
    journal.close()
    assert checkpoint == Checkpoint(
        revision="2" * 40,
        environment="k1-run1",
        static_files="a digest",
        migrations=(("app", "0001"),),
    )
