"""Pages of other sites send requests in a real browser, in which Alice is signed in."""

import json
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.staticfiles.handlers import StaticFilesHandler
from playwright.sync_api import Browser, Page, expect

from admin_management.machine import node
from admin_management.models import Hold, Run
from tests.admin_management.conftest import LiveRun, live_run, no_runner
from tests.conftest import Checkout, permit
from tests.end_to_end.chromium import CHROMIUM, LONGEST_WAIT, in_chromium, served, started
from tests.end_to_end.other_sites import (
    Arrival,
    Certificate,
    Witness,
    certificate_for,
    elsewhere,
)
from webhooks.models import Secret

__all__ = ("live_run", "no_runner")

pytestmark = [
    *in_chromium,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("no_runner"),
]

HOST = "site.example.test"
SIBLING = "other.example.test"
ANOTHER = "evil.test"
DOMAIN = ".example.test"

ROOT = Path(__file__).parents[2]

UPDATE = "/admin/update/"
DASHBOARD = "/admin/dashboard/"


class Ride(Enum):
    """How a request travels, which decides whether Chromium gives it the session's cookie."""

    TOP = auto()
    """It navigates a whole tab."""
    WITHIN = auto()
    """A page sends it, or it navigates a frame."""
    SANDBOXED_TOP = auto()
    """The same two from a sandboxed frame, which is of no site at all."""
    SANDBOXED = auto()
    ALONE = auto()
    """Without credentials, as a preflight is."""


@dataclass(frozen=True, slots=True)
class Kind:
    """How the site is served, and how far its cookies go."""

    scheme: str
    same_site: str | bool

    def __str__(self) -> str:
        return f"{self.scheme}, {f'SameSite={self.same_site}' if self.same_site else 'no SameSite'}"


OPEN_HTTPS = Kind("https", "None")
OPEN_HTTP = Kind("http", False)
USUAL_HTTP = Kind("http", "Lax")


@dataclass(frozen=True, slots=True)
class Attacker:
    scheme: str
    host: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}"

    def is_same_site(self, kind: Kind) -> bool:
        return self.scheme == kind.scheme and self.host.endswith(DOMAIN)


# The site's own host is one too, for what is served at another port of it.
MATRIX = [
    *((OPEN_HTTPS, Attacker("https", host)) for host in (ANOTHER, SIBLING, HOST)),
    *((OPEN_HTTPS, Attacker("http", host)) for host in (ANOTHER, SIBLING, HOST)),
    *((OPEN_HTTP, Attacker("http", host)) for host in (ANOTHER, SIBLING, HOST)),
    *((USUAL_HTTP, Attacker("http", host)) for host in (ANOTHER, SIBLING)),
]


def at(*kinds: Kind) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("site", kinds, indirect=True, ids=str)


def from_each(*matrix: tuple[Kind, Attacker]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("site", "attacker"), matrix, indirect=["site"], ids=str)


CARRIED: dict[tuple[str | bool, bool], set[Ride]] = {
    ("None", False): {Ride.TOP, Ride.WITHIN, Ride.SANDBOXED_TOP, Ride.SANDBOXED},
    ("None", True): {Ride.TOP, Ride.WITHIN, Ride.SANDBOXED_TOP, Ride.SANDBOXED},
    # For its first two minutes, Chromium lets a cookie without SameSite go with a form.
    (False, False): {Ride.TOP, Ride.SANDBOXED_TOP},
    (False, True): {Ride.TOP, Ride.WITHIN, Ride.SANDBOXED_TOP},
    ("Lax", False): set(),
    ("Lax", True): {Ride.TOP, Ride.WITHIN},
}
"""What carries the cookie, by its SameSite and by whether the attacker is of the same site."""


@dataclass(frozen=True, slots=True)
class Attack:
    name: str
    ride: Ride
    script: str
    method: str = "POST"

    def __str__(self) -> str:
        return self.name


PREFLIGHT = "OPTIONS"
FIELDS = "{reason: 'why not', csrfmiddlewaretoken: token()}"

ATTACKS = [
    # First those that navigate, for which a cookie has two minutes.
    Attack("form", Ride.TOP, "form(url)"),
    Attack("form, multipart", Ride.TOP, "form(url, {enctype: 'multipart/form-data'})"),
    Attack(
        "form, JSON in text/plain",
        Ride.TOP,
        """form(url, {enctype: 'text/plain', fields: {'{"reason": "': '"}'}})""",
    ),
    Attack(
        "form, as DRF's own pages send JSON",
        Ride.TOP,
        "form(url, {fields: {_content: '{}', _content_type: 'application/json'}})",
    ),
    Attack("form, into a new tab", Ride.TOP, "form(url, {target: '_blank'})"),
    Attack("form, without referrer", Ride.TOP, "form(url, {target: '_blank', rel: 'noreferrer'})"),
    Attack(
        "sandbox, form into a new tab",
        Ride.SANDBOXED_TOP,
        "sandboxed({srcdoc: formPage(url, '_blank')}, SANDBOX + ' allow-popups')",
    ),
    Attack(
        "sandbox, form into its own tab",
        Ride.SANDBOXED_TOP,
        "sandboxed({srcdoc: formPage(url, '_top')}, SANDBOX + ' allow-top-navigation')",
    ),
    Attack("form, 307 from its own host", Ride.TOP, "form('/redirect?to=' + url)"),
    Attack("form, 307 from the sibling", Ride.TOP, "form(`${sibling}/redirect?to=${url}`)"),
    Attack(
        "form, 307 from its own host and from the sibling",
        Ride.TOP,
        "form(`/redirect?to=${encodeURIComponent(`${sibling}/redirect?to=${url}`)}`)",
    ),
    Attack(
        "form, into a frame",
        Ride.WITHIN,
        "put('iframe', {name: 'inner'}); form(url, {target: 'inner'})",
    ),
    Attack("fetch", Ride.WITHIN, "send(url, OPEN)"),
    Attack(
        "fetch, text/plain",
        Ride.WITHIN,
        "send(url, {...OPEN, headers: {'Content-Type': 'text/plain'}, body: '{}'})",
    ),
    Attack("fetch, multipart", Ride.WITHIN, "send(url, {...OPEN, body: new FormData()})"),
    Attack(
        "fetch, without referrer",
        Ride.WITHIN,
        "send(url, {...OPEN, referrerPolicy: 'no-referrer'})",
    ),
    Attack("fetch, keepalive", Ride.WITHIN, "send(url, {...OPEN, keepalive: true})"),
    Attack("fetch, CORS without preflight", Ride.WITHIN, "send(url, {credentials: 'include'})"),
    Attack(
        "fetch, CORS with JSON",
        Ride.ALONE,
        "send(url, {credentials: 'include', ...AS_JSON})",
        PREFLIGHT,
    ),
    Attack("fetch, without credentials", Ride.ALONE, "send(url, {...OPEN, credentials: 'omit'})"),
    Attack(
        "fetch, credentials for its own host",
        Ride.ALONE,
        "send(url, {...OPEN, credentials: 'same-origin'})",
    ),
    Attack("fetch, 307 from its own host", Ride.WITHIN, "send('/redirect?to=' + url, OPEN)"),
    Attack(
        "fetch, 307 from its own host, CORS",
        Ride.WITHIN,
        "send('/redirect?to=' + url, {credentials: 'include'})",
    ),
    Attack(
        "fetch, 307 from its own host, JSON",
        Ride.ALONE,
        "send('/redirect?to=' + url, {credentials: 'include', ...AS_JSON})",
        PREFLIGHT,
    ),
    Attack(
        "fetch, 307 from the sibling", Ride.WITHIN, "send(`${sibling}/redirect?to=${url}`, OPEN)"
    ),
    Attack("XMLHttpRequest", Ride.WITHIN, "xhr(url)"),
    Attack("beacon", Ride.WITHIN, "navigator.sendBeacon(url)"),
    Attack("beacon, text/plain", Ride.WITHIN, "beacon(url, '{}', 'text/plain')"),
    Attack(
        "beacon, urlencoded", Ride.WITHIN, "beacon(url, '', 'application/x-www-form-urlencoded')"
    ),
    Attack("beacon, no type", Ride.WITHIN, "beacon(url, '{}', '')"),
    Attack("beacon, JSON", Ride.ALONE, "beacon(url, '{}', 'application/json')", PREFLIGHT),
    Attack("ping of a link", Ride.WITHIN, "put('a', {href: '#', ping: url}).click()"),
    Attack("report of a policy", Ride.ALONE, "put('iframe', {src: '/reporting?to=' + url})"),
    Attack("sandbox, form", Ride.SANDBOXED, "sandboxed({srcdoc: formPage(url)})"),
    Attack("sandbox, fetch", Ride.SANDBOXED, "sandboxed({srcdoc: fetchPage(url)})"),
    Attack("sandbox of data, form", Ride.SANDBOXED, "sandboxed({src: asData(formPage(url))})"),
    Attack("sandbox of data, fetch", Ride.SANDBOXED, "sandboxed({src: asData(fetchPage(url))})"),
]


@dataclass(frozen=True, slots=True)
class World:
    """What all tests share: the browser, and the ports of all other sites by scheme."""

    browser: Browser
    certificate: Certificate
    ports: dict[str, int]


class Site:
    """The site as it is served to the browser in which Alice is signed in."""

    def __init__(self, kind: Kind, port: int, witness: Witness, world: World) -> None:
        self.kind = kind
        self.address = f"{kind.scheme}://{HOST}:{port}"
        self.witness = witness
        self.world = world
        self.context = world.browser.new_context(base_url=self.address)
        self.context.set_default_timeout(LONGEST_WAIT)
        self.page = self.context.new_page()

    def sign_in(self) -> None:
        # An address that does not exist, for its page forbids no scripts.
        self.page.goto("/")
        self.page.evaluate(SIGN_IN, {"username": "alice", "password": "secret-of-alice"})
        cookie = self.session
        assert (cookie["domain"], cookie["secure"]) == (DOMAIN, self.kind.scheme == "https")

    @property
    def session(self) -> Any:
        return next(each for each in self.context.cookies() if each["name"] == "sessionid")

    def send(self, method: str, path: str, fields: dict[str, str]) -> Arrival:
        """What a script of the site's own page sends, with a form's token where one is needed."""
        before = len(self.witness.seen(path))
        kind = "form" if path.startswith(DASHBOARD) else "json"
        self.page.evaluate(OWN, {"method": method, "url": path, "fields": fields, "kind": kind})
        return self.witness.wait_for(path, before + 1)[-1]

    def has_session(self, attacker: Attacker, ride: Ride) -> bool:
        return ride in CARRIED[self.kind.same_site, attacker.is_same_site(self.kind)]

    def foreseen(self, attacker: Attacker, ride: Ride, path: str, method: str = "POST") -> Arrival:
        """How a request of another site should arrive, and be refused."""
        has_session = self.has_session(attacker, ride)
        # To a site that is not encrypted Chromium says no Sec-Fetch-Site: there Origin decides.
        whence = ("Origin", "Sec-Fetch-Site") if self.kind.scheme == "https" else ("Origin",)
        return Arrival(path, method, has_session, whence, refusal(path, method, has_session))


def refusal(path: str, method: str, has_session: bool) -> int:
    """How it is said. The dashboard asks for the token of its forms before it asks who it is."""
    if path.startswith(DASHBOARD):
        return 403 if method == "POST" else 405
    return 403 if has_session else 401


class Foreign:
    """A page of somebody else, open in the same browser."""

    def __init__(self, site: Site, attacker: Attacker) -> None:
        self.site = site
        port = site.world.ports[attacker.scheme]
        self.sibling = f"{attacker.scheme}://{SIBLING}:{port}"
        self.address = f"{attacker}:{port}/"
        self.page = self.open()

    def open(self) -> Page:
        page = self.site.context.new_page()
        page.goto(self.address)
        return page

    def send(self, attack: Attack, path: str) -> list[Arrival]:
        """What arrives of an attack on a path."""
        before = len(self.site.witness.seen(path))
        script = attack.script if ";" in attack.script else f"return {attack.script}"
        places = {"url": self.site.address + path, "sibling": self.sibling}
        self.page.evaluate(f"async ({{url, sibling}}) => {{ {script} }}", places)
        arrivals = self.site.witness.wait_for(path, before + 1)[before:]
        if attack.ride in (Ride.TOP, Ride.SANDBOXED_TOP):
            self.page = self.open()
        return arrivals


SIGN_IN = """async (fields) => {
    await fetch("/admin/login/");
    const token = document.cookie.match(/csrftoken=(\\w+)/)[1];
    const body = new URLSearchParams({...fields, csrfmiddlewaretoken: token});
    await fetch("/admin/login/", {method: "POST", body, redirect: "manual"});
}"""


SIGNING_IN = 1
"""How many requests that change something SIGN_IN sends."""

OWN = """({method, url, fields, kind}) => {
    const token = document.cookie.match(/csrftoken=(\\w+)/)[1];
    const asForm = {body: new URLSearchParams({...fields, csrfmiddlewaretoken: token})};
    const asJSON = {
        headers: {"Content-Type": "application/json"},
        body: JSON.stringify(fields),
    };
    const content = kind === "form" ? asForm : asJSON;
    return fetch(url, {method, redirect: "manual", ...content}).then(() => {});
}"""


@contextmanager
def credulous(profile: Path, certificate: Certificate) -> Iterator[Browser]:
    """Chromium that knows our names, trusts our certificate, and blocks no site's cookies."""
    preferences = profile / "Default" / "Preferences"
    preferences.parent.mkdir()
    preferences.write_text(json.dumps({"profile": {"cookie_controls_mode": 0}}))
    arguments = [
        "--no-sandbox",
        f"--host-resolver-rules=MAP *{DOMAIN} 127.0.0.1, MAP {ANOTHER} 127.0.0.1",
        f"--ignore-certificate-errors-spki-list={certificate.fingerprint}",
    ]
    with started() as chromium:
        # Only here a profile can be given. Whatever has a context of its own has its preferences.
        context = chromium.launch_persistent_context(
            profile, executable_path=CHROMIUM, args=arguments
        )
        assert context.browser is not None
        yield context.browser
        context.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    certificate = certificate_for(tmp_path_factory.mktemp("tls"), HOST, SIBLING, ANOTHER)
    with (
        elsewhere() as plain,
        elsewhere(certificate.server()) as secure,
        credulous(tmp_path_factory.mktemp("profile"), certificate) as browser,
    ):
        yield World(browser, certificate, {"http": plain, "https": secure})


@pytest.fixture
def site(
    request: pytest.FixtureRequest, settings: Any, alice: User, checkout: Checkout, world: World
) -> Iterator[Site]:
    kind: Kind = request.param
    settings.ALLOWED_HOSTS = [HOST]
    for cookie in ("SESSION", "CSRF"):
        setattr(settings, f"{cookie}_COOKIE_DOMAIN", DOMAIN)
        setattr(settings, f"{cookie}_COOKIE_SAMESITE", kind.same_site)
        setattr(settings, f"{cookie}_COOKIE_SECURE", kind.scheme == "https")
    witness = Witness()
    tls = world.certificate.server() if kind.scheme == "https" else None
    with served(lambda inner: witness.before(StaticFilesHandler(inner)), tls) as port:
        site = Site(kind, port, witness, world)
        site.sign_in()
        yield site
        site.context.close()


def what_there_is() -> list[Any]:
    """All runs, holds and secrets, with all that is known of them."""
    tables = (Run.objects, Hold.objects, Secret.objects)
    return [row for table in tables for row in table.order_by("pk").values()]


@from_each(*MATRIX)
def test_an_update_is_refused_to_every_other_site(site: Site, attacker: Attacker) -> None:
    foreign = Foreign(site, attacker)
    seen = {each.name: foreign.send(each, UPDATE) for each in ATTACKS}
    assert seen == {
        each.name: [site.foreseen(attacker, each.ride, UPDATE, each.method)] for each in ATTACKS
    }
    site.context.close()
    assert len(site.witness.seen(UPDATE)) == len(ATTACKS)
    assert what_there_is() == []


@dataclass(frozen=True, slots=True)
class Change:
    """A request that changes something, and how it is answered when the site's own page sends it.

    In its path, ``{waiting}`` and ``{proved}`` are runs, and ``{secret}`` is one of the webhook.
    """

    method: str
    path: str
    status: int


def made_concrete(path: str) -> str:
    """A path for the runs and the secret that there are at this moment."""
    if "{secret}" in path:
        path = path.replace("{secret}", Secret.objects.active().get().fingerprint)
    for name, status in (("{waiting}", "queued"), ("{proved}", "succeeded")):
        if name in path:
            path = path.replace(name, str(Run.objects.get(status=status).pk))
    return path


CHANGES = [
    Change("DELETE", "/admin/hold/", 204),
    Change("POST", "/admin/hold/", 201),
    Change("POST", "/admin/dashboard/release/", 302),
    Change("POST", "/admin/dashboard/hold/", 302),
    Change("POST", "/admin/update/{waiting}/cancel/", 202),
    Change("POST", "/admin/dashboard/", 302),
    Change("POST", "/admin/dashboard/{waiting}/cancel/", 302),
    Change("POST", "/admin/update/", 202),
    Change("POST", "/admin/update/{waiting}/cancel/", 202),
    Change("POST", "/admin/update/{proved}/rollback/", 202),
    Change("POST", "/admin/update/{waiting}/cancel/", 202),
    Change("POST", "/admin/dashboard/{proved}/rollback/", 302),
    Change("POST", "/admin/dashboard/webhook-secrets/{secret}/retire/", 302),
    Change("POST", "/admin/dashboard/webhook-secrets/", 200),
]
"""In an order in which the site's own page can do them all, while an update waits and is held."""

ADDRESSES = sorted({change.path for change in CHANGES})

FORGERIES = [
    Attack("form", Ride.TOP, f"form(url, {{fields: {FIELDS}}})"),
    Attack("fetch", Ride.WITHIN, f"send(url, {{...OPEN, body: new URLSearchParams({FIELDS})}})"),
    Attack("DELETE", Ride.ALONE, "send(url, {method: 'DELETE', ...AS_JSON})", PREFLIGHT),
]

READING = [
    Attack("link", Ride.TOP, "put('a', {href: url}).click()", "GET"),
    Attack("image", Ride.WITHIN, "put('img', {src: url})", "GET"),
    Attack("frame", Ride.WITHIN, "put('iframe', {src: url})", "GET"),
]

STRANGERS = [
    (kind, Attacker(kind.scheme, host))
    for kind in (OPEN_HTTPS, OPEN_HTTP)
    for host in (ANOTHER, SIBLING)
]


@pytest.fixture
def busy(checkout: Checkout, alice: User) -> None:
    """A run that was proved live, one that waits, a hold for which it waits, and a secret."""
    permit(alice, "manage_secrets")
    Secret.objects.make(created_by="alice")
    facts = {"node": node(), "trigger": "webhook"}
    Run.objects.create(to_revision=checkout.revision(), status="succeeded", **facts)
    checkout.commit({"version.txt": "2\n"})
    checkout.git("pull", "--quiet")
    Run.objects.create(**facts)
    Hold.objects.create(node=node(), reason="exams", actor_name="alice")


@from_each(*STRANGERS)
@pytest.mark.usefixtures("busy")
def test_every_other_change_is_refused_to_them_too(site: Site, attacker: Attacker) -> None:
    before = what_there_is()
    foreign = Foreign(site, attacker)
    # The worst case: a sibling reads the token that Django's forms need.
    knows_token = "csrftoken=" in foreign.page.evaluate("document.cookie")
    assert knows_token == attacker.is_same_site(site.kind)
    for path in [*map(made_concrete, ADDRESSES), "/admin/origin/"]:
        seen = {each.name: foreign.send(each, path) for each in FORGERIES}
        assert seen == {
            each.name: [site.foreseen(attacker, each.ride, path, each.method)] for each in FORGERIES
        }
    site.context.close()
    posts = [each for each in site.witness.arrivals if each.method not in ("GET", PREFLIGHT)]
    assert len(posts) == SIGNING_IN + 2 * (len(ADDRESSES) + 1)
    assert what_there_is() == before


@from_each((OPEN_HTTPS, Attacker("https", ANOTHER)), (OPEN_HTTP, Attacker("http", SIBLING)))
@pytest.mark.usefixtures("busy")
def test_what_others_have_a_browser_read_changes_nothing(site: Site, attacker: Attacker) -> None:
    before = what_there_is()
    foreign = Foreign(site, attacker)
    for path in map(made_concrete, ADDRESSES):
        for each in READING:
            [arrival] = foreign.send(each, path)
            assert arrival.method == "GET"
            assert arrival.has_session == site.has_session(attacker, each.ride)
            assert arrival.status in (200, 302, 401, 405)
    site.context.close()
    assert what_there_is() == before


@at(OPEN_HTTPS, OPEN_HTTP)
@pytest.mark.usefixtures("busy")
def test_the_same_changes_are_made_for_the_sites_own_page(site: Site) -> None:
    for change in CHANGES:
        before = what_there_is()
        arrival = site.send(change.method, made_concrete(change.path), {"reason": "why not"})
        assert (change, arrival.has_session, arrival.status) == (change, True, change.status)
        assert what_there_is() != before


@at(OPEN_HTTPS, OPEN_HTTP)
def test_a_refused_form_is_refused_again_when_it_is_reloaded(site: Site) -> None:
    page = Foreign(site, Attacker(site.kind.scheme, ANOTHER)).page
    with page.expect_navigation(url=f"**{UPDATE}"):
        page.evaluate("url => form(url)", site.address + UPDATE)
    page.reload()
    assert [each.status for each in site.witness.wait_for(UPDATE, 2)] == [403, 403]
    assert what_there_is() == []


@at(OPEN_HTTPS, OPEN_HTTP)
def test_the_dashboards_button_and_its_own_requests_are_accepted(
    site: Site, live_run: LiveRun
) -> None:
    site.page.goto(DASHBOARD)
    assert [each.status for each in site.witness.wait_for("/admin/origin/", 1)] == [200]
    log, run = (f"{UPDATE}{live_run.run.pk}/{part}" for part in ("log/", ""))
    assert site.witness.wait_for(log, 1)[0].status == 200
    assert site.witness.wait_for(run, 1)[0].status == 200
    site.page.get_by_placeholder("Why?").first.fill("new logo")
    site.page.get_by_role("button", name="Update", exact=True).click()
    expect(site.page.locator("[role=status]")).to_have_text("Waiting to begin")
    assert Run.objects.get(trigger="dashboard").reason == "new logo"


@at(OPEN_HTTPS, OPEN_HTTP)
def test_the_form_of_the_browsable_api_is_accepted(site: Site) -> None:
    site.page.goto(UPDATE)
    site.page.locator("textarea[name=_content]").fill('{"reason": "by hand"}')
    site.page.get_by_role("button", name="POST", exact=True).click()
    expect(site.page.locator(".response-info")).to_contain_text("HTTP 202 Accepted")
    assert Run.objects.get().reason == "by hand"


CURL_LINES = {
    'curl -X GET  http://your-domain/admin/status/ -H "Cookie: sessionid=your-session-id"': 200,
    'curl -X POST http://your-domain/admin/update/ -H "Cookie: sessionid=your-session-id"'
    ' -H "Content-Type: application/json"': 202,
}


@at(OPEN_HTTPS, OPEN_HTTP)
@pytest.mark.parametrize(("line", "status"), CURL_LINES.items(), ids=["status", "update"])
def test_the_two_curl_lines_are_accepted(site: Site, line: str, status: int) -> None:
    filled = line.replace("http://your-domain", site.address)
    argv = shlex.split(filled.replace("your-session-id", site.session["value"]))
    port = site.address.rpartition(":")[2]
    options = (
        "--resolve",
        f"{HOST}:{port}:127.0.0.1",
        "--cacert",
        str(site.world.certificate.file),
    )
    told = ("--silent", "--show-error", "--write-out", "\n%{http_code}")
    answer = subprocess.run([*argv, *options, *told], check=True, capture_output=True, text=True)
    body, code = answer.stdout.rsplit("\n", 1)
    assert (int(code), Run.objects.count()) == (status, 1 if status == 202 else 0)
    assert json.loads(body)
    assert line in (ROOT / "README.md").read_text(encoding="utf-8")
