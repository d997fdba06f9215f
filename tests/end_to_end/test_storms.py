"""Many pushes at once, repeated, replayed and out of order: the site never goes back."""

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from demo.live_site import LiveSite
from tests.end_to_end.invariants import check
from tests.end_to_end.waiting import finished

pytestmark = [pytest.mark.end_to_end, pytest.mark.xdist_group("live_site")]


def runs(site: LiveSite) -> list[str]:
    return [run["id"] for run in site.get_json("/admin/update/")["results"]]


def test_a_hundred_pushes_during_a_run_lead_to_one_more_run(site: LiveSite) -> None:
    first = site.post_json("/admin/update/", {"force": True})["id"]
    revision = site.change_text("One of a hundred")
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: site.push_event(revision), range(100)))
    assert [status for status, _ in answers] == [202] * 100
    (second,) = {answer["run"] for _, answer in answers} - {first}
    finished(site, first)
    finished(site, second)
    assert runs(site)[:2] == [second, first]
    count = (
        "from webhooks.models import Delivery; print(Delivery.objects.filter(after={!r}).count())"
    )
    assert site.manage("shell", "-c", count.format(revision)).split()[-1] == "100"
    assert "One of a hundred" in site.page()
    check(site)


def test_old_deliveries_that_come_late_do_not_take_the_site_back(site: LiveSite) -> None:
    older = site.change_text("The older one")
    newer = site.change_text("The newer one")
    deliveries = [str(uuid.uuid4()) for _ in range(2)]
    late = [
        (newer, deliveries[0]),
        (older, deliveries[1]),
        (older, deliveries[1]),
        (older, str(uuid.uuid4())),
        (newer, deliveries[0]),
    ]
    for revision, delivery in late:
        status, answer = site.push_event(revision, delivery=delivery)
        assert status in (200, 202)
        finished(site, answer["run"])
        assert "The newer one" in site.page()
        assert site.revision_on_disk() == newer
    check(site)
