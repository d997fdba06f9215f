"""What visitors notice of an update: nothing but the new page.

A thousand requests or more at 50 a second, each on a new connection, during each update.
"""

from collections.abc import Iterator

import pytest

from bench.update import change
from demo.live_site import LiveSite
from demo.tools import Toolbox
from tests.end_to_end.conftest import running_site
from tests.end_to_end.telling import told
from tests.end_to_end.waiting import finished
from tests.serve.steady import Visitors

pytestmark = [pytest.mark.end_to_end, pytest.mark.xdist_group("other_live_site")]

REQUESTS = 1000
BEFORE = 100
"""Requests before the update and after it."""

BROKEN_WHERE_IT_IS_SERVED = """\
if "admin-management" not in __file__:
    raise RuntimeError("bad where no rehearsal could see it")
"""


@pytest.fixture(scope="module")
def visited(toolbox: Toolbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSite]:
    """A site of its own, because migrations and dependencies stay."""
    with running_site(tmp_path_factory.mktemp("visited"), toolbox) as visited:
        # The first update takes the plain environment over.
        change(visited, "static", 0)
        finished(visited, visited.post_json("/admin/update/", {"force": True})["id"])
        yield visited


@pytest.mark.parametrize(("number", "kind"), [(1, "static"), (2, "migration"), (3, "dependency")])
def test_no_request_is_lost_and_no_answer_mixes_versions(
    visited: LiveSite, number: int, kind: str
) -> None:
    old = visited.page()
    change(visited, kind, number)
    with Visitors(visited.port, at_most=10 * REQUESTS) as visitors:
        visitors.wait_for(BEFORE)
        run = finished(visited, visited.post_json("/admin/update/", {})["id"])
        visitors.wait_for_more(BEFORE)
        visitors.wait_for(REQUESTS)
    assert run["status"] == "succeeded", told(visited, run)
    new = visited.page()
    assert f"Change {number}." in new
    assert visitors.bodies == {old, new}


def test_no_answer_is_of_a_version_that_cannot_serve(visited: LiveSite) -> None:
    old = visited.page()
    code = (visited.author / "config" / "wsgi.py").read_text()
    visited.commit({"config/wsgi.py": BROKEN_WHERE_IT_IS_SERVED + code}, "Cannot serve")
    with Visitors(visited.port, at_most=10 * REQUESTS) as visitors:
        visitors.wait_for(BEFORE)
        run = finished(visited, visited.post_json("/admin/update/", {})["id"])
        visitors.wait_for_more(BEFORE)
        visitors.wait_for(REQUESTS)
    assert (run["status"], run["failed_step"]) == ("rolled_back", "proof"), told(visited, run)
    assert "bad where no rehearsal could see it" in run["message"]
    assert visitors.bodies == {old}
