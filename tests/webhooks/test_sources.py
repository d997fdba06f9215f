"""Each source speaks for its own repository and branch, and is known by its own secret."""

from typing import Any

import pytest
from django.core.management import CommandError
from hypothesis import given
from hypothesis import strategies as st

from webhooks.checks import check_settings
from webhooks.github import Payload
from webhooks.models import Delivery, Secret
from webhooks.panel import read_panel
from webhooks.sources import Source

from .conftest import Deliver
from .payloads import AFTER, BEFORE, REPOSITORY, as_json, ping, push, signature
from .test_secrets import run

PUSH = Payload(
    event="push",
    repository="octocat/site",
    ref="refs/heads/master",
    before=BEFORE,
    after=AFTER,
)


def why(payload: Payload, **given: Any) -> str:
    return Source(**{"branch": "master"} | given).why_ignored(payload)


def changed(**facts: Any) -> Payload:
    return PUSH._replace(**facts)


def test_a_push_to_the_branch_asks_for_an_update() -> None:
    assert why(PUSH) == ""


def test_a_repository_is_compared_without_regard_to_case() -> None:
    assert why(PUSH, repository="OctoCat/Site") == ""


@pytest.mark.parametrize(
    ("payload", "given", "reason"),
    [
        (changed(event="issues"), {}, "issues asks for no update"),
        (changed(deleted=True), {}, "refs/heads/master was deleted"),
        (changed(ref="refs/tags/master"), {}, "refs/tags/master is not the branch that is live"),
        (
            changed(ref="refs/heads/x/master"),
            {},
            "refs/heads/x/master is not the branch that is live",
        ),
        (changed(ref="refs/heads/Master"), {}, "refs/heads/Master is not the branch that is live"),
        (PUSH, {"branch": "live"}, "refs/heads/master is not the branch that is live"),
        (PUSH, {"repository": "octocat/other"}, "a push to another repository"),
        (PUSH, {"repository": "octocat/sit"}, "a push to another repository"),
    ],
)
def test_everything_else_is_ignored_for_a_reason(
    payload: Payload, given: dict[str, Any], reason: str
) -> None:
    assert why(payload, **given) == reason


FAULTS: dict[str, dict[str, Any]] = {
    "event": {"event": "issues"},
    "deleted": {"deleted": True},
    "repository": {"repository": "octocat/other"},
    "ref": {"ref": "refs/tags/main"},
}


@given(st.sets(st.sampled_from(sorted(FAULTS))), st.lists(st.booleans(), min_size=12, max_size=12))
def test_an_update_is_asked_for_by_a_push_to_that_branch_of_that_repository_alone(
    faults: set[str], upper: list[bool]
) -> None:
    pairs = zip("octocat/site", upper, strict=True)
    name = "".join(each.upper() if is_upper else each for each, is_upper in pairs)
    facts: dict[str, Any] = {"ref": "refs/heads/main", "repository": name}
    for fault in faults:
        facts |= FAULTS[fault]
    told = why(changed(**facts), repository="octocat/site", branch="main")
    assert (told == "") == (not faults)
    assert "octocat/site" not in told


OF_THE_SITE = "the secret of the site"
OF_THE_THEME = "the secret of the theme"


@pytest.fixture
def two_sources(settings: Any, db: None) -> None:
    """The site has its secret in the settings; that of the theme is stored."""
    settings.WEBHOOKS = {
        "SOURCES": {
            "site": {"REPOSITORY": "octocat/site", "SECRET": OF_THE_SITE},
            "theme": {"REPOSITORY": "octocat/theme", "BRANCH": "main"},
        }
    }


def push_of(name: str, branch: str, after: str = AFTER) -> dict[str, Any]:
    repository = REPOSITORY | {"name": name, "full_name": f"octocat/{name}"}
    return push(ref=f"refs/heads/{branch}", after=after) | {"repository": repository}


def signed(deliver: Deliver, payload: dict[str, Any], secret: str, event: str = "push") -> Any:
    signed_with = signature(as_json(payload), secret)
    return deliver(payload, event=event, X_Hub_Signature_256=signed_with)


@pytest.mark.usefixtures("two_sources")
class TestTwoSources:
    def test_each_asks_for_an_update_with_its_own_secret(self, deliver: Deliver) -> None:
        [of_the_theme], _ = run("new", "--source", "theme")
        site, theme = push_of("site", "master"), push_of("theme", "main", after=BEFORE)
        assert signed(deliver, site, OF_THE_SITE).json()["outcome"] == "requested"
        assert signed(deliver, theme, of_the_theme).json()["outcome"] == "requested"
        told = {(each.source, each.repository) for each in Delivery.objects.all()}
        assert told == {("site", "octocat/site"), ("theme", "octocat/theme")}

    def test_who_knows_the_secret_of_one_does_not_speak_for_the_other(
        self, deliver: Deliver
    ) -> None:
        [of_the_theme], _ = run("new", "--source", "theme")
        for payload, secret in (
            (push_of("site", "master"), of_the_theme),
            (push_of("theme", "main"), OF_THE_SITE),
        ):
            answer = signed(deliver, payload, secret)
            assert answer.status_code == 202
            assert answer.json() == {
                "outcome": "ignored",
                "reason": "a push to another repository",
                "run": None,
            }

    def test_the_branch_of_one_is_not_that_of_the_other(self, deliver: Deliver) -> None:
        answer = signed(deliver, push_of("site", "main"), OF_THE_SITE)
        assert answer.json()["outcome"] == "ignored"

    def test_one_without_a_secret_does_not_close_the_door_of_the_other(
        self, deliver: Deliver
    ) -> None:
        assert signed(deliver, push_of("theme", "main"), OF_THE_THEME).status_code == 403
        assert signed(deliver, push_of("site", "master"), OF_THE_SITE).status_code == 202
        [message] = check_settings()
        assert message.id == "github_webhooks.W001"
        assert "octocat/theme" in message.msg
        assert "--source theme" in str(message.hint)

    def test_a_stored_secret_is_of_one_source_and_each_may_have_two(self) -> None:
        run("new", "--source", "theme")
        run("new", "--source", "theme")
        with pytest.raises(CommandError, match="retire one of them first"):
            run("new", "--source", "theme")
        run("new", "--source", "site")
        assert sorted(each.source for each in Secret.objects.all()) == ["site", "theme", "theme"]
        assert all(" of theme" in line or " of site" in line for line in run("list")[0])

    def test_a_secret_of_no_source_is_not_made_and_one_from_before_is_not_accepted(
        self, deliver: Deliver
    ) -> None:
        for arguments in ((), ("--source", "other")):
            with pytest.raises(CommandError, match="The sources are site, theme"):
                run("new", *arguments)
        secret, value = Secret.objects.make(created_by="alice")
        assert signed(deliver, push_of("theme", "main"), value).status_code == 403
        assert "not accepted: WEBHOOKS names no such source" in run("list")[0][0]
        told = {str(message.id): str(message.hint) for message in check_settings()}
        assert f"webhook_secret retire {secret}" in told["github_webhooks.W005"]

    def test_the_dashboard_shows_each_with_its_own_ping(self, deliver: Deliver) -> None:
        signed(deliver, ping(), OF_THE_SITE, event="ping")
        site, theme = read_panel().sources
        assert site.ping is not None
        assert site.faults == ()
        assert theme.ping is None
        assert "webhook_secret new --source theme" in theme.problem


def test_a_ping_that_comes_again_tells_which_source_it_is_of_now(
    deliver: Deliver, settings: Any, db: None
) -> None:
    settings.WEBHOOKS = {"SECRET": OF_THE_SITE}
    body = as_json(ping())
    for _ in range(2):
        deliver(
            ping(),
            event="ping",
            X_GitHub_Delivery="1",
            X_Hub_Signature_256=signature(body, OF_THE_SITE),
        )
        settings.WEBHOOKS = {
            "SOURCES": {"site": {"REPOSITORY": "octocat/site", "SECRET": OF_THE_SITE}}
        }
    [site] = read_panel().sources
    assert site.ping == Delivery.objects.get()


def test_a_secret_of_a_source_is_not_accepted_without_sources(
    deliver: Deliver, settings: Any, db: None
) -> None:
    settings.WEBHOOKS = {}
    _, value = Secret.objects.make(created_by="alice", source="theme")
    assert signed(deliver, push(), value).status_code == 503
