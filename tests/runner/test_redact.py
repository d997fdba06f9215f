"""Hiding secrets."""

import html
import json
import shlex
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from admin_management.runner.redact import (
    REDACTED,
    SHORTEST,
    Redactor,
    looks_secret,
    secrets_in_environment,
    secrets_of,
)

SECRET = 'p@ss/w"o\\r d-ünïcode'


@pytest.mark.parametrize(
    "name",
    [
        *("SECRET_KEY", "GITHUB_WEBHOOK_SECRET", "DB_PASSWORD", "PGPASSWORD", "passwd", "DB_PASS"),
        *("EMAIL_PASS", "MYSQL_PWD", "SSH_PASSPHRASE", "API_TOKEN", "AWS_ACCESS_KEY_ID", "APIKEY"),
        *("STRIPE_KEY", "key", "SENTRY_DSN", "PRIVATE_PEM", "GOOGLE_CREDENTIALS"),
        *("SIGNING_SALT", "SECRET_KEY_FALLBACKS"),
    ],
)
def test_a_name_that_tells_of_a_secret(name: str) -> None:
    assert looks_secret(name)


@pytest.mark.parametrize(
    "name",
    [
        *("PATH", "HOME", "PWD", "OLDPWD", "LANG", "DEBUG", "STATIC_URL", "MEDIA_URL", "LOGIN_URL"),
        *("LOGIN_REDIRECT_URL", "LOGOUT_REDIRECT_URL", "PASSWORD_HASHERS", "COMPASS", "MONKEY"),
        *("AUTH_PASSWORD_VALIDATORS", "PASSWORD_RESET_TIMEOUT", "KEYBOARD", "SSH_AUTH_SOCK"),
    ],
)
def test_a_name_that_does_not(name: str) -> None:
    assert not looks_secret(name)


def test_the_environment_is_searched_by_name() -> None:
    environ = {"HOME": "/home/site", "DB_PASSWORD": "hunter2", "PGHOST": "db"}
    assert secrets_in_environment(environ) == ["hunter2"]


@pytest.mark.parametrize(
    ("name", "value", "hidden"),
    [
        ("CACHE_LOCATION", "redis://:hunter2@cache:6379/0", ["hunter2"]),
        ("DATABASE_URI", "postgres://alice:p@ss/word@db/site", ["p@ss/word"]),
        ("DATABASE_URI", "postgres://alice:p%40ss@db/site", ["p%40ss", "p@ss"]),
        ("SITE_URL", "https://example.com/", []),
        ("ADMIN_URL", "manage", []),
        ("TOKEN_MODEL", "accounts.Token", []),
        ("API_TOKEN", "hunter2", ["hunter2"]),
    ],
)
def test_of_an_address_only_the_password_is_hidden(
    name: str, value: str, hidden: list[str]
) -> None:
    assert secrets_of(name, value) == hidden


@pytest.mark.parametrize(
    "spelling",
    [
        SECRET,
        json.dumps(SECRET),
        json.dumps(SECRET, ensure_ascii=False),
        repr(SECRET),
        quote(SECRET),
        quote_plus(SECRET),
        quote(SECRET, safe=""),
        quote(SECRET, safe="").lower(),
        html.escape(SECRET),
        json.dumps(json.dumps(SECRET)),
        ascii(SECRET),
        repr(SECRET.encode()),
        b64encode(SECRET.encode()).decode(),
        b64encode(SECRET.encode()).decode().rstrip("="),
    ],
)
def test_a_known_value_is_hidden_in_the_spellings_that_it_travels_in(spelling: str) -> None:
    line = Redactor([SECRET]).line(f"before {spelling} after")
    assert REDACTED in line
    assert line.startswith("before ")
    assert line.endswith(" after")
    assert "ss/w" not in line
    assert spelling.strip("\"'=") not in line


@pytest.mark.parametrize("encode", [b64encode, urlsafe_b64encode])
@pytest.mark.parametrize("before", ["", "a:", "ab:", "abc:"])
@pytest.mark.parametrize("after", ["", "\n", "!", "!!"])
def test_a_known_value_is_hidden_in_base64_wherever_it_begins_there(
    encode: Callable[[bytes], bytes], before: str, after: str
) -> None:
    value = "hunter2>>>???\N{SNOWMAN}"
    encoded = encode(f"{before}{value}{after}".encode()).decode()
    shown = Redactor([value]).line(f"auth: {encoded}")
    assert REDACTED in shown
    assert len(shown) <= len(f"auth: {REDACTED}") + len("YWJjOmMhIQ==")


@pytest.mark.parametrize(
    ("value", "spelling"),
    [
        ("a(b)c!d@e/f*g", "a(b)c!d%40e%2Ff*g"),  # encodeURIComponent
        ("it's a secret", r"'it'\''s a secret'"),  # set -x of a shell
        ("it's a secret", shlex.quote("it's a secret")),
        ("it's a <secret>", "it&#39;s a &lt;secret&gt;"),
        ('"it\'s" a <secret>', html.escape('"it\'s" a <secret>', quote=False)),
        ("hunter\x01two\x7f", "hunter\N{REPLACEMENT CHARACTER}two\N{REPLACEMENT CHARACTER}"),
        ("hunter\x1b[1mtwo", "huntertwo"),  # after the journal's cleaning
    ],
)
def test_nor_is_it_told_as_other_programs_write_it(value: str, spelling: str) -> None:
    assert Redactor([value]).line(f"x={spelling};") in (f"x={REDACTED};", f"x='{REDACTED}';")


def test_a_secret_that_was_read_with_its_line_end_is_hidden() -> None:
    assert Redactor(["hunter2-hunter2\n"]).line("it is hunter2-hunter2") == f"it is {REDACTED}"


def test_each_line_of_a_key_is_hidden() -> None:
    key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\n  AQEFAASCBKcwggSjAgEA\n"
    redactor = Redactor([key])
    assert redactor.line("MIIEvQIBADANBgkqhkiG9w0B") == REDACTED
    assert redactor.line("AQEFAASCBKcwggSjAgEA") == REDACTED
    assert redactor.line(json.dumps({"key": key})) == f'{{"key": "{REDACTED}"}}'


def test_a_secret_inside_a_longer_one_leaves_nothing_of_it() -> None:
    redactor = Redactor(["hunter2", "hunter2-and-more"])
    assert redactor.line("hunter2-and-more, hunter2") == f"{REDACTED}, {REDACTED}"


def test_a_secret_that_begins_another_is_hidden_alone_too() -> None:
    redactor = Redactor(["hunter2-of-alice", "hunter2-of-", "hunter2-of-alan"])
    told = redactor.line("hunter2-of-alan, hunter2-of-alice, hunter2-of-bob")
    assert told == f"{REDACTED}, {REDACTED}, {REDACTED}bob"


def test_a_secret_may_be_very_long() -> None:
    secrets = ["hunter2" * 5000, "hunter2" * 4000 + "!"]
    assert Redactor(secrets).line(f"a {secrets[0]} b {secrets[1]} c") == (
        f"a {REDACTED} b {REDACTED} c"
    )


PRIVATE_KEY = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADAN\n-----END PRIVATE KEY-----"


def test_a_private_key_in_a_text_is_hidden_and_the_lines_around_it_are_not() -> None:
    lines = Redactor(["hunter2"]).lines(f"no key:\n{PRIVATE_KEY}\nnor hunter2")
    assert lines == ["no key:", REDACTED, REDACTED, REDACTED, f"nor {REDACTED}"]


def test_a_short_value_does_not_black_out_the_log() -> None:
    assert Redactor(["", "x", "12345"]).line("exit 12345 x") == "exit 12345 x"
    assert len("123456") == SHORTEST
    nearly_nothing = "\x1b[1m\x1b[1mab"
    assert Redactor([nearly_nothing]).line("about") == "about"


def test_a_variable_of_bytes_that_are_no_text_is_hidden_as_it_is_printed() -> None:
    value = b"hunter2-\xff\xfe-hunter2"
    redactor = Redactor([value.decode(errors="surrogateescape")])
    assert redactor.line(f"it is {value.decode(errors='replace')}") == f"it is {REDACTED}"


def test_a_value_that_no_program_can_print_is_no_error() -> None:
    assert Redactor(["\ud800 half a pair"]).line("fine") == "fine"


@pytest.mark.parametrize(
    ("line", "hidden"),
    [
        ("https://user:hunter2@example.com/x", f"https://{REDACTED}@example.com/x"),
        ("postgres://:hunter2@db/x", f"postgres://{REDACTED}@db/x"),
        ("https://alice:p@ss/w0rd@host/x", f"https://{REDACTED}@host/x"),
        ("Authorization: Basic YWxpY2U6cGFzcw==", f"Authorization: Basic {REDACTED}"),
        ("host=db password=hunter2 user=x", f"host=db password={REDACTED} user=x"),
        ("https://0123456789abcdef0123@example.com", f"https://{REDACTED}@example.com"),
        (f"token ghp_{'a1' * 18} used", f"token {REDACTED} used"),
        (f"github_pat_{'a_' * 12}", REDACTED),
        (f"glpat-{'a-' * 10}", REDACTED),
        (f"gldt-{'a-' * 10}", REDACTED),
        ("xoxb-123456789012-abc", REDACTED),
        ("AKIAIOSFODNN7EXAMPLE", REDACTED),
        (f"pypi-{'Ag' * 12}", REDACTED),
        ("ASIAIOSFODNN7EXAMPLE", REDACTED),
        (f"npm_{'a1' * 18}", REDACTED),
        (f"AIza{'a1B-_' * 7}", REDACTED),
        (f"sk-proj-{'a1' * 12}", REDACTED),
        (f"hf_{'aB' * 17}", REDACTED),
        (f"dop_v1_{'0a' * 32}", REDACTED),
        (f"SG.{'aB' * 11}.{'c-' * 21}", REDACTED),
        ("xapp-1-A0123-456-abc", REDACTED),
        (
            "https://hooks.slack.com/services/T01/B02/abcdefghijkl",
            f"https://hooks.slack.com/{REDACTED}",
        ),
        (f"Authorization: token {'0a' * 20}", f"Authorization: token {REDACTED}"),
        ("PRIVATE-TOKEN: abcdefgh1", f"PRIVATE-TOKEN: {REDACTED}"),
        ("password: of-the-database", f"password: {REDACTED}"),
        ("https://u:12345/abcdef@host/x", f"https://{REDACTED}@host/x"),
        ("https://u:5432/ab@h", f"https://{REDACTED}@h"),
        (f"sk_live_{'a' * 16}", REDACTED),
        ("Bearer eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0dXJl", f"Bearer {REDACTED}"),
        ("ATCTT3xFfGN0T0ken-of_25_characters=1A", REDACTED),
        (f"b'401\\nghp_{'a1' * 18}'", f"b'401\\n{REDACTED}'"),
        ("'x\\nAKIAIOSFODNN7EXAMPLE'", f"'x\\n{REDACTED}'"),
        (f"q=a%20ghp_{'a1' * 18}", f"q=a%20{REDACTED}"),
        (f"X_ghp_{'a1' * 18}", f"X_{REDACTED}"),
        ("'\\teyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0dXJl'", f"'\\t{REDACTED}'"),
        ("%3DeyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0dXJl", f"%3D{REDACTED}"),
        (f"in one line: {PRIVATE_KEY!r}", f"in one line: '{REDACTED}'"),
        (f"of several:\n{PRIVATE_KEY}\nended", f"of several:\n{REDACTED}\nended"),
        (f"password={PRIVATE_KEY}", f"password={REDACTED}"),
        (f"---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\n{PRIVATE_KEY[27:]}", REDACTED),
        (f"broken off: {PRIVATE_KEY[:40]}", f"broken off: {REDACTED}"),
    ],
)
def test_what_has_the_shape_of_a_secret_is_hidden(line: str, hidden: str) -> None:
    assert Redactor([]).line(line) == hidden


@pytest.mark.parametrize(
    "line",
    [
        "From https://github.com/octocat/site",
        "git@github.com:octocat/site.git",
        "http://localhost:8000/@octocat",
        "http://localhost:8000/users/@me",
        "sk-1234-import-for-summer-courses",
        "alice@example.com",
        "glibc-locales-extra-2-31-x86",
        "Installed 12 packages in 34 ms",
        "e83c5163316f89bfbde7d9ab23ca2e25604af290 Initial revision",
        "tests/test_network_test_configuration.py::test_disk_live_migration",
        "greyJackets.example.monkeys.co",
        "[new branch] adam_fix-attendance-import-for-summer-courses-2024",
        "test_roughs_are_smoothed_before_the_end",
        "tests/test_task_live_responsibilities.py",
    ],
)
def test_everyday_lines_are_left_alone(line: str) -> None:
    assert Redactor([]).line(line) == line


VALUES = st.lists(st.text("abcxyz012 +/=\"'\\\n%äé☃", min_size=SHORTEST, max_size=20), max_size=4)


@given(VALUES, st.data())
def test_a_known_value_never_gets_through(values: list[str], data: st.DataObject) -> None:
    redactor = Redactor(values)
    noise = st.text("abcxyz012 +/=\"'\\%", max_size=10)
    line = "".join(
        data.draw(noise) + value.replace("\n", " ") + data.draw(noise) for value in values
    )
    shown = redactor.line(line)
    for value in values:
        assert "\n" in value or value not in shown


SPELLINGS: tuple[Callable[[str], str], ...] = (
    *(quote, quote_plus, html.escape),
    lambda value: json.dumps(value)[1:-1],
    lambda value: json.dumps(value, ensure_ascii=False)[1:-1],
    lambda value: repr(value)[1:-1],
    lambda value: quote(value, safe=""),
    lambda value: quote(value, safe="!'()*"),
    lambda value: ascii(value)[1:-1],
    lambda value: repr(value.encode())[2:-1],
    lambda value: json.dumps(json.dumps(value))[3:-3],
    lambda value: "'" + value.replace("'", r"'\''") + "'",
    lambda value: b64encode(value.encode()).decode(),
    lambda value: urlsafe_b64encode(value.encode()).decode().rstrip("="),
)
NOISE = st.text("abcxyz .,!", max_size=10)


@given(
    st.text("abcxyz012 +/=\"'\\%äé☃", min_size=SHORTEST, max_size=20),
    st.sampled_from(SPELLINGS),
    NOISE,
    NOISE,
)
def test_nor_does_it_in_any_spelling(
    value: str, spell: Callable[[str], str], before: str, after: str
) -> None:
    spelling = spell(value)
    shown = Redactor([value]).line(f"{before} {spelling} {after}")
    assert REDACTED in shown
    assert spelling not in shown


@given(st.text("abcxyz012:é", min_size=1, max_size=20), st.integers(16, 40))
def test_the_password_of_an_address_and_a_token_are_hidden_whatever_they_are(
    password: str, length: int
) -> None:
    told = quote(password, safe=":")
    shown = Redactor([]).line(f"fetching https://alice:{told}@example.com/site.git now")
    assert shown.endswith("@example.com/site.git now")
    assert f"alice:{told}@" not in shown
    token = f"ghp_{'a' * (length + 4)}"
    assert token not in Redactor([]).line(f"token {token} here")


@given(
    st.lists(st.text("abc =-", min_size=1, max_size=12)),
    st.lists(st.text("ABCxyz/+", min_size=1, max_size=20)),
)
def test_all_lines_of_a_private_key_are_hidden_and_no_others(
    around: list[str], key: list[str]
) -> None:
    begin, end = (f"-----{word} OPENSSH PRIVATE KEY-----" for word in ("BEGIN", "END"))
    text = "\n".join([*around, begin, *key, end, *around])
    count = len(text.splitlines()) - 2 * len(around)
    shown = Redactor([]).lines(text)
    assert shown[len(around) : len(around) + count] == [REDACTED] * count
    assert [line for line in shown if line != REDACTED] == around * 2


@given(st.from_regex(r"[A-Z_]{0,8}", fullmatch=True), st.text(min_size=1))
def test_what_is_named_a_secret_is_hidden_whole(beginning: str, value: str) -> None:
    name = f"{beginning}_PASSWORD"
    assert looks_secret(name)
    assert value in secrets_of(name, value)


@given(VALUES, st.text(max_size=200))
def test_hiding_twice_hides_no_more(values: list[str], line: str) -> None:
    redactor = Redactor(values)
    assume(REDACTED not in line)
    once = redactor.line(line)
    assert redactor.line(once) == once
