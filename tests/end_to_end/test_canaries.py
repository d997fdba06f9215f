"""Secrets are kept and told nowhere: one canary for each place that holds some, and a search.

Not searched is what holds them by itself. Of the checkout that is the work tree with its compiled
files, `.git/objects` and `.git/logs`, because bad commits are what is planted, and `.env`, where
the site keeps its settings. The memory and the variables of processes are the site's own, too.
What PM2 writes into its dump are the variables that it was started with: see the test of its files.
"""

import hashlib
import hmac
import html
import json
import os
import re
import secrets
import sqlite3
import subprocess
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, quote_plus, unquote_to_bytes
from urllib.request import Request, build_opener

import pytest

from admin_management.runner.journal import replay
from admin_management.runner.redact import REDACTED
from demo.live_site import REPOSITORY, STAFF, LiveSite
from demo.tools import Toolbox, free_port
from tests.end_to_end.waiting import PATIENCE, finished, wait_for

pytestmark = [pytest.mark.end_to_end, pytest.mark.xdist_group("other_live_site")]

MARK = secrets.token_hex(5)
"""At both ends of every canary, so that a half of one is found as well."""

DIFFICULT = 'k&"<{}>é/+=\\'
"""Around a canary: with these characters its spellings differ from each other."""

KEY = "-----BEGIN RSA PRIVATE KEY-----\n{0}\n{0}\n-----END RSA PRIVATE KEY-----"


# Canaries, and the search for them


@dataclass(frozen=True, slots=True)
class Canary:
    """``value`` is what was planted. ``core`` is the part that is searched for: letters and digits,
    the same whether it is quoted for a URL, for JSON, for HTML or not at all.
    """

    place: str
    value: str
    core: str
    sign: str = MARK

    @classmethod
    def alive(cls, place: str, shape: str = "{}") -> "Canary":
        core = f"{MARK}{secrets.token_hex(8)}{MARK}"
        return cls(place, shape.format(core), core)

    @classmethod
    def found(cls, place: str, value: str) -> "Canary":
        """A secret that the site has made itself."""
        return cls(place, value, value, value)


def forms(text: str) -> set[bytes]:
    """As it is, and in base64 wherever it begins, without characters that neighbours share."""
    found = {text.encode()}
    for before in range(3):
        encoded = b64encode(bytes(before) + text.encode())
        found.add(encoded[(8 * before + 5) // 6 : 8 * (before + len(text)) // 6])
    return found


@dataclass(slots=True)
class Search:
    """Looks for all canaries in bytes."""

    canaries: dict[str, Canary] = field(default_factory=dict)

    def plant(self, place: str, shape: str = "{}") -> str:
        """A new canary's value."""
        return self.add(Canary.alive(place, shape))

    def add(self, canary: Canary) -> str:
        self.canaries[canary.place] = canary
        return canary.value

    def hits(self, things: Iterable[tuple[str, bytes]]) -> list[str]:
        signs = {form for each in self.canaries.values() for form in forms(each.sign)}
        return [
            f"{hit} in {name}"
            for name, data in things
            if any(sign in data for sign in signs)
            for hit in self._in(data)
        ]

    def _in(self, data: bytes) -> list[str]:
        found = [
            f"the canary of {each.place}"
            for each in self.canaries.values()
            if any(form in data for form in forms(each.core))
        ]
        return found or ["a part of a canary"]


def contents(folders: Iterable[Path]) -> Iterator[tuple[str, bytes]]:
    for folder in folders:
        for path in sorted(folder.rglob("*") if folder.is_dir() else [folder]):
            if path.is_file() and not path.is_symlink():
                yield str(path), path.read_bytes()


def fail_for(hits: Iterable[str]) -> None:
    """Fails with all of them, of which pytest would cut most off."""
    if lines := "\n".join(hits):
        pytest.fail(lines, pytrace=False)


def readings(answers: Mapping[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """Each answer as it came, and what a browser and a script make of it."""
    for name, data in answers.items():
        yield name, data
        text = unquote_to_bytes(data).decode(errors="replace")
        yield f"{name}, decoded", html.unescape(text).encode()
        with suppress(ValueError):
            value = json.loads(data.partition(b"\n\n")[2])
            yield f"{name}, parsed", json.dumps(value, ensure_ascii=False).encode()


# The story


@dataclass(slots=True)
class Haunted:
    """A site with canaries, and what it has answered."""

    site: LiveSite
    search: Search = field(default_factory=Search)
    answers: dict[str, bytes] = field(default_factory=dict)
    pages: dict[str, bytes] = field(default_factory=dict)
    command_lines: dict[str, bytes] = field(default_factory=dict)
    databases: dict[str, bytes] = field(default_factory=dict)
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    pm2_before: list[str] = field(default_factory=list)

    def ask(
        self, what: str, path: str, body: bytes | None = None, /, **headers: str
    ) -> tuple[int, bytes]:
        """Ask, and keep the answer with its headers as ``what``."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = Request(f"{self.site.url}{path}", body, named)
        try:
            with build_opener().open(request, timeout=PATIENCE) as answer:
                status, head, text = answer.status, answer.headers, answer.read()
        except HTTPError as error:
            with error:
                status, head, text = error.code, error.headers, error.read()
        self.answers[what] = bytes(head) + text
        return status, text

    def read(self, path: str, accept: str = "application/json") -> tuple[int, bytes]:
        cookie = f"sessionid={self.site.session}"
        return self.ask(f"{path} as {accept}", path, Cookie=cookie, Accept=accept)

    def update(self, name: str, **options: object) -> dict[str, Any]:
        run = self.site.post_json("/admin/update/", options)["id"]
        return self.ended(name, run)

    def ended(self, name: str, run: str) -> dict[str, Any]:
        self.runs[name] = finished(self.site, run)
        return self.runs[name]

    def log_of(self, name: str) -> str:
        return str(self.site.get_json(self.runs[name]["log_url"])["output"])


ENVIRONMENT = {
    "PAYMENT_API_KEY": DIFFICULT,
    "AWS_SECRET_ACCESS_KEY": "{}/a+b",
    "DATABASE_URL": "postgres://site:p%40ss{}@127.0.0.1:5432/site",
    "SENTRY_DSN": "https://{}@errors.example.com/1",
    "TLS_PRIVATE_KEY": KEY,
}

SETTINGS = {
    "SECRET_KEY": DIFFICULT,
    "GITHUB_WEBHOOK_SECRET": DIFFICULT,
    "EMAIL_HOST_PASSWORD": DIFFICULT,
    "DATABASE_PASSWORD": "{}",
    "CACHE_LOCATION": "redis://:{}@127.0.0.1:6379/0",
}

MORE_SETTINGS = """
EMAIL_HOST_PASSWORD = secret("EMAIL_HOST_PASSWORD")
DATABASES["default"]["PASSWORD"] = secret("DATABASE_PASSWORD")
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": secret("CACHE_LOCATION"),
    },
}
ADMIN_MANAGEMENT["TIMEOUTS"] |= {"soak": 0.5}
"""

KNOWN = f"""
def known():
    import os
    from config.settings import secret
    return [secret(name) for name in {[*ENVIRONMENT, *SETTINGS]}]
"""
"""In the site's code: all secrets that the site has. It names them and does not hold them."""

NOISY = (
    KNOWN
    + """

def spellings(value):
    import html, json
    from base64 import b64encode, urlsafe_b64encode
    from urllib.parse import quote, quote_plus, unquote
    raw = value.encode()
    yield from (value, unquote(value), html.escape(value), repr(value))
    yield from (quote(value), quote(value, safe=""), quote_plus(value))
    yield from (json.dumps({"it": value}), json.dumps({"it": value}, ensure_ascii=False))
    for data in (raw, b"a:" + raw, b"ab:" + raw, b"alice:" + raw + b"\\n"):
        yield b64encode(data).decode()
        yield urlsafe_b64encode(data).decode()


def tell():
    import sys
    for value in known():
        for spelling in spellings(value):
            print("it is", spelling)
            print(spelling, file=sys.stderr)
    print(UNKNOWN)

"""
)

FAILING_MIGRATION = (
    "from django.db import migrations\n\n"
    + KNOWN
    + """

def fail(apps, schema_editor):
    raise RuntimeError("\\n".join(["cannot work with", *known(), UNKNOWN]))


class Migration(migrations.Migration):
    dependencies = [("attendance", "0002_noisy")]
    operations = [migrations.RunPython(fail)]
"""
)

NOISY_MIGRATION = """\
from django.db import migrations
import manage


def tell(apps, schema_editor):
    manage.tell()


class Migration(migrations.Migration):
    dependencies = [("attendance", "0001_initial")]
    operations = [migrations.RunPython(tell, migrations.RunPython.noop)]
"""

BROKEN_WHERE_IT_IS_SERVED = (
    KNOWN
    + """
if "admin-management" not in __file__:
    import django
    django.setup()
    raise RuntimeError("\\n".join(["cannot be served with", *known(), UNKNOWN]))
"""
)


@pytest.fixture(scope="module")
def haunted(toolbox: Toolbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Haunted]:
    """A site of its own: its variables and settings are canaries."""
    site = LiveSite(tmp_path_factory.mktemp("haunted") / "site", free_port(), toolbox)
    haunted = Haunted(site)
    with pytest.MonkeyPatch.context() as patch:
        for name, shape in ENVIRONMENT.items():
            patch.setenv(name, haunted.search.plant(f"the variable {name}", shape))
        try:
            site.create()
            _set(haunted)
            site.start()
            # SQLite removes its write-ahead log with the last connection. This one loses its lock
            # when this process has read the files, so that they are read once.
            with closing(sqlite3.connect(site.checkout / "db.sqlite3")) as database:
                database.execute("SELECT count(*) FROM django_session").fetchall()
                _live_through(haunted)
                haunted.databases = dict(contents(sorted(site.checkout.glob("db.sqlite3*"))))
            yield haunted
        finally:
            site.stop()


def _set(haunted: Haunted) -> None:
    site = haunted.site
    values = {
        name: haunted.search.plant(f"the setting {name}", shape) for name, shape in SETTINGS.items()
    }
    site.webhook_secret = values["GITHUB_WEBHOOK_SECRET"]
    lines = "".join(f"{name}={value}\n" for name, value in values.items())
    (site.checkout / ".env").write_text(lines, encoding="utf-8")
    settings = (site.author / "config/settings.py").read_text()
    site.commit({"config/settings.py": settings + MORE_SETTINGS}, "Settings that hold secrets")
    site.shell("git pull --quiet")


def _live_through(haunted: Haunted) -> None:
    site, search = haunted.site, haunted.search
    search.add(Canary.found("the staff's password", site.password))
    site.pm2("save")
    haunted.pm2_before = search.hits(contents([site.pm2_home]))
    _send_headers(haunted)
    _use_a_token(haunted)
    _point_to_a_remote_with_a_password(haunted)
    _deliver(haunted)
    _fail_in_rehearsal(haunted)
    _fail_where_it_is_served(haunted)
    search.add(Canary.found("the health token", site.state.health_token()))
    site.post_json("/admin/hold/", {"reason": "the search"})
    _ask_the_api(haunted)
    _visit_all_pages(haunted)


def _send_headers(haunted: Haunted) -> None:
    """To every door, which opens for some of them and not for others."""
    search, site = haunted.search, haunted.site
    secret = _secret_headers(search, "a request")
    session = {"Cookie": f"sessionid={site.session}; other={search.plant('another cookie')}"}
    json_ = {"Content_Type": "application/json"}
    for path in ("/admin/status/", "/admin/update/", "/admin/dashboard/", "/admin/hold/"):
        haunted.ask(f"GET {path} with a wrong token", path, **secret)
        status, _ = haunted.ask(f"POST {path} with a wrong token", path, b"{}", **secret, **json_)
        assert status in (401, 403, 405)
    foreign = secret | session | json_ | {"Origin": "https://evil.example.com"}
    del foreign["Authorization"]
    assert haunted.ask("POST from elsewhere", "/admin/update/", b"{}", **foreign)[0] == 403
    key = {"X_Api_Key": secret["X_Api_Key"]}
    assert haunted.ask("GET with a key", "/admin/status/", **key, **session)[0] == 200
    token = f"dam_{search.plant('a token of our own shape')}xxxx"
    wrong = {"Authorization": f"Bearer {token}"}
    assert haunted.ask("GET with no token of ours", "/admin/status/", **wrong)[0] == 401


def _secret_headers(search: Search, where: str) -> dict[str, str]:
    return {
        "Authorization": f"Bearer {search.plant(f'the header Authorization of {where}')}",
        "Cookie": f"sessionid={search.plant(f'the header Cookie of {where}')}",
        "X_Api_Key": search.plant(f"the header X-Api-Key of {where}"),
    }


def _use_a_token(haunted: Haunted) -> None:
    """The first update, which takes the plain environment over."""
    said = haunted.site.manage("api_token", "new", STAFF, "a script", "--scope", "update")
    (token,) = re.findall(r"dam_[\w-]+", said)
    haunted.search.add(Canary.found("an API token", token))
    status, body = haunted.ask(
        "an update by token",
        "/admin/update/",
        b'{"force": true}',
        Authorization=f"Bearer {token}",
        Content_Type="application/json",
    )
    assert status == 202
    run = haunted.ended("by token", json.loads(body)["id"])
    assert run["status"] == "succeeded", run["message"]


def _point_to_a_remote_with_a_password(haunted: Haunted) -> None:
    site = haunted.site
    password = haunted.search.plant("the remote's address")
    address = f"https://site:{password}@127.0.0.1:{free_port()}/site.git"
    _git(site, "remote", "set-url", "origin", address)
    try:
        assert haunted.update("from the remote")["status"] == "failed"
        for path in ("/admin/status/?fetch=1", "/admin/dashboard/?fetch=1"):
            haunted.read(path, "text/html" if "dashboard" in path else "application/json")
        for command in (("doctor",), ("doctor", "--json"), ("poll_remote",)):
            haunted.answers[" ".join(command)] = site.manage_fails(*command).encode()
    finally:
        _git(site, "remote", "set-url", "origin", str(site.origin))


def _git(site: LiveSite, *words: str) -> None:
    subprocess.run(("git", *words), cwd=site.checkout, check=True)


def _unknown(search: Search, place: str) -> str:
    """What nobody knows and has the shape of a secret; as Python's source."""
    text = "\n".join(
        (
            "git clone https://x:" + search.plant(f"an address in {place}") + "@example.com/a.git",
            search.plant(f"a token in {place}", "remote: ghp_{} was refused"),
            search.plant(f"a header in {place}", "> Authorization: Bearer {}"),
            search.plant(f"a private key in {place}", KEY),
        )
    )
    return f"UNKNOWN = {text!r}\n"


def _deliver(haunted: Haunted) -> None:
    """A push of a version that prints all secrets, with more of them around it."""
    site, search = haunted.site, haunted.search
    manage = (site.author / "manage.py").read_text()
    noisy = manage.replace(
        "    from django.core.management", "    tell()\n    from django.core.management"
    ).replace("if __name__", _unknown(search, "output") + NOISY + "\nif __name__")
    assert "    tell()" in noisy
    message = (
        f"Use {search.plant('a token in a commit message', 'ghp_{}')} and "
        f"{os.environ['PAYMENT_API_KEY']}\n\nNot {os.environ['AWS_SECRET_ACCESS_KEY']}"
    )
    files = {"manage.py": noisy, "attendance/migrations/0002_noisy.py": NOISY_MIGRATION}
    revision = site.commit(files, message)
    payload = _payload(search, revision, message)
    headers = _secret_headers(search, "a delivery")
    for event in ("ping", "push"):
        status, body = _send(haunted, event, json.dumps(payload).encode(), headers)
    assert status == 202, body
    run = json.loads(body)["run"]
    wait_for(lambda: _begun(site, run, "rehearsal"))
    haunted.command_lines.update(_command_lines(site))
    assert haunted.ended("noisy", run)["status"] == "succeeded", haunted.log_of("noisy")
    for name, text, wrong in (
        ("unsigned", json.dumps(payload).encode(), {"X_Hub_Signature_256": "sha256=" + "0" * 64}),
        ("no JSON", b"no " + json.dumps(payload).encode(), {}),
        ("no id", b"{}", {"X_GitHub_Delivery": payload["hook"]["config"]["secret"] + "!"}),
    ):
        status, _ = _send(haunted, "push", text, headers | wrong, name)
        assert status in (400, 403)


def _payload(search: Search, revision: str, message: str) -> dict[str, Any]:
    """As GitHub sends it, with secrets in all fields that are not used."""

    def field(name: str, shape: str = "{}") -> str:
        return search.plant(f"the payload's {name}", shape)

    return {
        "ref": "refs/heads/master",
        "before": "0" * 40,
        "after": revision,
        "deleted": False,
        "repository": {
            "full_name": REPOSITORY,
            "clone_url": f"https://x:{field('clone_url')}@github.com/{REPOSITORY}.git",
            "temp_clone_token": field("temp_clone_token"),
        },
        "sender": {"login": "octocat", "gravatar_id": field("gravatar_id")},
        "pusher": {"name": field("pusher"), "email": "octocat@example.com"},
        "head_commit": {"id": revision, "message": message},
        "compare": field("compare", "https://example.com/?token={}"),
        "installation": {"access_token": field("access_token", "ghs_{}")},
        "hook": {
            "events": ["push"],
            "config": {
                "content_type": "json",
                "insecure_ssl": "0",
                "secret": field("hook.config.secret"),
                "url": field("hook.config.url", "https://x:{}@example.com/"),
            },
        },
    }


def _send(
    haunted: Haunted, event: str, body: bytes, headers: dict[str, str], what: str = ""
) -> tuple[int, bytes]:
    digest = hmac.new(haunted.site.webhook_secret.encode(), body, hashlib.sha256).hexdigest()
    github = {
        "Content_Type": "application/json",
        "X_GitHub_Event": event,
        "X_GitHub_Delivery": secrets.token_hex(16),
        "X_Hub_Signature_256": f"sha256={digest}",
    }
    name = f"the delivery {what or event}"
    return haunted.ask(name, "/webhooks/github/", body, **github | headers)


def _begun(site: LiveSite, run: str, name: str) -> bool:
    return any(step.name == name for step in replay(site.state.journal(run)).steps)


def _command_lines(site: LiveSite) -> Iterator[tuple[str, bytes]]:
    """Of all processes that work for the site: everybody on the machine can read them."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (process / "cwd").readlink().is_relative_to(site.folder):
                yield f"{process}/cmdline", (process / "cmdline").read_bytes()


def _fail_in_rehearsal(haunted: Haunted) -> None:
    site = haunted.site
    settings = (site.author / "config/settings.py").read_text()
    unknown = _unknown(haunted.search, "settings that fail")
    names = [*ENVIRONMENT, *SETTINGS]
    told = f"['cannot work with', *(secret(name) for name in {names}), UNKNOWN]"
    fails = f"raise ValueError('\\n'.join({told}))\n"
    site.commit({"config/settings.py": f"{settings}\n{unknown}{fails}"}, "Settings that fail")
    haunted.update("settings that fail")
    unknown = _unknown(haunted.search, "a migration that fails")
    migration = "attendance/migrations/0003_fail.py"
    site.commit(
        {"config/settings.py": settings, migration: FAILING_MIGRATION + unknown}, "A bad migration"
    )
    haunted.update("a migration that fails")
    for name in ("settings that fail", "a migration that fails"):
        run = haunted.runs[name]
        assert (run["status"], run["failed_step"]) == ("failed", "rehearsal"), run["message"]
    site.commit({migration: None}, "Without it")


def _fail_where_it_is_served(haunted: Haunted) -> None:
    site = haunted.site
    wsgi = (site.author / "config/wsgi.py").read_text()
    fails = _unknown(haunted.search, "a server that fails") + BROKEN_WHERE_IT_IS_SERVED
    broken = wsgi.replace("application = get_", f"{fails}\napplication = get_")
    site.commit({"config/wsgi.py": broken}, "Cannot serve")
    run = haunted.update("a server that fails")
    assert (run["status"], run["failed_step"]) == ("rolled_back", "proof"), run["message"]


def _ask_the_api(haunted: Haunted) -> None:
    paths = ["/admin/status/", "/admin/status/?fetch=1", "/admin/update/", "/admin/hold/"]
    for run in haunted.site.get_json("/admin/update/")["results"]:
        paths += [run["url"], run["log_url"], f"{run['url']}rollback/"]
    for path in (*paths, "/admin/health/"):
        for accept in ("application/json", "text/html"):
            assert haunted.read(path, accept)[0] == 200, path


def _visit_all_pages(haunted: Haunted) -> None:
    """All that one gets to by links, but for the other orders and pages of a list."""
    waiting = ["/admin/", "/admin/dashboard/"]
    while waiting:
        path = waiting.pop()
        if path not in haunted.pages and "logout" not in path:
            _, text = haunted.read(path, "text/html")
            haunted.pages[path] = haunted.answers.pop(f"{path} as text/html")
            waiting += re.findall(r'href="(/admin/[^"?#]*)"', text.decode())


# What is searched


def kept_files(site: LiveSite) -> list[Path]:
    """All that we write beside the database, and git's own records."""
    git = site.checkout / ".git"
    records = [path for path in git.iterdir() if path.is_file()]
    return [site.state.path, site.checkout / "collected", *records]


def spelled(value: str) -> dict[str, str]:
    """The spellings in which the search must find a canary."""
    return {
        "raw": value,
        "URL": quote(value, safe=""),
        "form": quote_plus(value),
        "JSON": json.dumps(value),
        "HTML": html.escape(value),
        "Python": repr(value),
        **{
            f"base64 at {before}": b64encode(b"x" * before + value.encode() + b"!").decode()
            for before in range(3)
        },
    }


def test_the_search_finds_every_canary_in_every_spelling(haunted: Haunted) -> None:
    for canary in haunted.search.canaries.values():
        for name, spelling in spelled(canary.value).items():
            hits = haunted.search.hits([("a file", f"before {spelling} after".encode())])
            assert f"the canary of {canary.place} in a file" in hits, name


def test_the_search_looks_into_every_folder(haunted: Haunted) -> None:
    site, canary = haunted.site, next(iter(haunted.search.canaries.values()))
    for folder in (site.state.path / "runs", site.state.environments, site.pm2_home / "logs"):
        scratch = folder / "scratch"
        scratch.write_text(f"before {canary.value} after")
        try:
            hits = haunted.search.hits(contents([*kept_files(site), site.pm2_home]))
        finally:
            scratch.unlink()
        assert f"the canary of {canary.place} in {scratch}" in hits


def test_a_half_of_a_canary_is_found_too(haunted: Haunted) -> None:
    canary = Canary.alive("a half")
    for half in (canary.core[:18], canary.core[18:]):
        assert haunted.search.hits([("a file", half.encode())]) == ["a part of a canary in a file"]


def test_the_secrets_were_where_they_could_have_been_told(haunted: Haunted) -> None:
    """Otherwise nothing would be shown by not finding them."""
    noisy = {step["name"]: step for step in haunted.runs["noisy"]["steps"]}
    assert {noisy[name]["status"] for name in ("rehearsal", "migrations")} == {"succeeded"}
    assert haunted.log_of("noisy").count(REDACTED) > 500
    assert haunted.runs["noisy"]["message"].endswith(f"Use {REDACTED} and {REDACTED}")
    for name in ("settings that fail", "a migration that fails"):
        assert f"Error: cannot work with\n{REDACTED}\n" in haunted.log_of(name)
    assert REDACTED in haunted.runs["a server that fails"]["message"]
    logs = "".join(path.read_text() for path in (haunted.site.pm2_home / "logs").iterdir())
    assert "Delivery refused" in logs
    assert "cannot be served with" in logs
    assert any(b"admin_management.runner" in line for line in haunted.command_lines.values())


def test_neither_the_database_nor_a_journal_nor_a_log_of_ours_keeps_one(haunted: Haunted) -> None:
    site = haunted.site
    files = haunted.databases | dict(contents(kept_files(site)))
    for name in ("db.sqlite3", "db.sqlite3-wal", "db.sqlite3-shm"):
        assert files[str(site.checkout / name)], f"nothing to search in {name}"
    for name in ("runner.log", "serve.json", "live.json"):
        assert str(site.state.path / name) in files
    for run in haunted.runs.values():
        assert str(site.state.journal(run["id"])) in files
    its_own = f"the canary of the health token in {site.state.path / 'health_token'}"
    hits = haunted.search.hits(files.items())
    fail_for(hit for hit in hits if hit != its_own)


def test_pm2_keeps_no_more_than_it_has_put_there_itself(haunted: Haunted) -> None:
    """``pm2 save`` dumps the variables that PM2 has started the site with; nothing is added."""
    assert {hit.rpartition("/")[2] for hit in haunted.pm2_before} == {"dump.pm2"}
    hits = haunted.search.hits(contents([haunted.site.pm2_home]))
    fail_for(hit for hit in hits if hit not in haunted.pm2_before)


def test_no_page_shows_one(haunted: Haunted) -> None:
    for name in ("dashboard", "admin_management/auditevent", "github_webhooks/delivery"):
        assert f"/admin/{name}/" in haunted.pages
    fail_for(haunted.search.hits(readings(haunted.pages)))


def test_no_answer_and_no_command_tells_one(haunted: Haunted) -> None:
    fail_for(haunted.search.hits(readings(haunted.answers)))


def test_no_command_line_has_one(haunted: Haunted) -> None:
    fail_for(haunted.search.hits(haunted.command_lines.items()))
