"""Is it signed, and what does it say? No test here needs a database."""

import json
import sys
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from webhooks import github
from webhooks.exceptions import ParseError, RefusedError, UnverifiedError
from webhooks.github import (
    MAX_CONTENT_TYPE,
    MAX_NAME,
    MAX_REF,
    Payload,
    Verifier,
    is_usable,
    parse,
    read_signature,
    verify_signature,
)

from . import payloads
from .payloads import AFTER, BEFORE, FORM, JSON, SECRET, as_form, as_json, push, signature

VECTOR = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
ANY_CHARACTER = st.characters(min_codepoint=0, max_codepoint=sys.maxunicode)
ANY_TEXT = st.text(ANY_CHARACTER)
BLANKS = st.text(" \t\r\n", max_size=40)
LONG_ENOUGH = st.text(min_size=16, max_size=80).filter(is_usable)


def parsed(payload: object, event: str = "push") -> Payload:
    return parse(event=event, content_type=JSON, body=as_json(payload))


def refusal(body: bytes, content_type: str = JSON) -> str:
    with pytest.raises(ParseError) as refused:
        parse(event="push", content_type=content_type, body=body)
    return str(refused.value)


def test_githubs_published_test_vector_verifies() -> None:
    assert verify_signature(body=b"Hello, World!", signature=VECTOR, secret=SECRET)


def test_upper_case_hex_verifies_too() -> None:
    upper = "sha256=" + VECTOR.removeprefix("sha256=").upper()
    assert verify_signature(body=b"Hello, World!", signature=upper, secret=SECRET)


def test_every_flipped_bit_of_a_signature_is_refused() -> None:
    right = bytes.fromhex(VECTOR.removeprefix("sha256="))
    for bit in range(256):
        wrong = bytearray(right)
        wrong[bit // 8] ^= 1 << bit % 8
        assert not verify_signature(
            body=b"Hello, World!", signature=f"sha256={wrong.hex()}", secret=SECRET
        )


def test_a_thousand_flipped_bits_of_a_body_are_refused() -> None:
    body = as_json(push())
    right = signature(body)
    for bit in range(1000):
        wrong = bytearray(body)
        wrong[bit // 8] ^= 1 << bit % 8
        assert not verify_signature(body=bytes(wrong), signature=right, secret=SECRET)


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "sha256=",
        VECTOR.removeprefix("sha256="),
        VECTOR.replace("sha256", "sha1"),
        VECTOR.replace("sha256", "SHA256"),
        VECTOR[:-1],
        VECTOR[:-2],
        VECTOR + "0",
        VECTOR + "\n",
        " " + VECTOR,
        f"{VECTOR}, {VECTOR}",
        VECTOR.replace("7", "\N{FULLWIDTH DIGIT SEVEN}"),
        VECTOR.replace("7", "\N{ARABIC-INDIC DIGIT SEVEN}"),
        VECTOR.replace("=75", "= 75"),
        "sha256=" + "\N{LATIN SMALL LETTER E WITH ACUTE}" * 64,
        "sha256=" + "\udc80" * 64,
    ],
)
def test_any_other_shape_of_a_signature_is_refused(wrong: str) -> None:
    assert not verify_signature(body=b"Hello, World!", signature=wrong, secret=SECRET)


@pytest.mark.parametrize(
    "bad", ["", " ", "\t\n", "\N{NO-BREAK SPACE}", " " * 64, "x" * 15, " " * 32 + "x" * 15 + "\n"]
)
def test_an_empty_blank_or_short_secret_verifies_nothing(bad: str) -> None:
    body = b"Hello, World!"
    assert not verify_signature(body=body, signature=signature(body, bad), secret=bad)
    verifier = Verifier(signature=read_signature(signature(body, bad)), secrets=[bad, SECRET])
    verifier.update(body)
    with pytest.raises(UnverifiedError):
        verifier.verify()


@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_body_may_be_signed_with_any_of_the_secrets(position: int) -> None:
    secrets = ["the first of three", "the second of three", "the third of three"]
    body = b"Hello, World!"
    verifier = Verifier(
        signature=read_signature(signature(body, secrets[position])), secrets=secrets
    )
    verifier.update(body)
    assert verifier.verify() == position


def test_all_secrets_are_compared_whichever_is_the_right_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared: list[bool] = []

    def counted(left: bytes, right: bytes) -> bool:
        compared.append(left == right)
        return compared[-1]

    monkeypatch.setattr(github, "bytes_eq", counted)
    for secrets in ([SECRET, "another secret of ours"], ["another secret of ours", SECRET]):
        verifier = Verifier(signature=read_signature(VECTOR), secrets=secrets)
        verifier.update(b"Hello, World!")
        verifier.verify()
    assert compared == [True, False, False, True]


def test_a_hopeless_signature_is_refused_before_a_byte_is_read() -> None:
    with pytest.raises(UnverifiedError):
        read_signature("sha256=0")


@given(body=st.binary(), secret=LONG_ENOUGH)
def test_what_was_signed_verifies(body: bytes, secret: str) -> None:
    assert verify_signature(body=body, signature=signature(body, secret), secret=secret)


@given(body=st.binary(), secret=LONG_ENOUGH, other=LONG_ENOUGH)
def test_another_secret_does_not_verify(body: bytes, secret: str, other: str) -> None:
    same = (other + "\0" * 64)[:64] == (secret + "\0" * 64)[:64]  # HMAC pads keys with zeros
    right = verify_signature(body=body, signature=signature(body, secret), secret=other)
    assert right == (secret == other) or same


@given(body=st.binary(), text=ANY_TEXT, secret=ANY_TEXT)
@example(body=b"", text="sha256=" + "0" * 64, secret="\ud800")
def test_verifying_never_raises(body: bytes, text: str, secret: str) -> None:
    assert not verify_signature(body=body, signature=text, secret=secret)


@given(pieces=st.lists(st.binary()))
def test_a_body_in_pieces_verifies_like_the_whole(pieces: list[bytes]) -> None:
    verifier = Verifier(signature=read_signature(signature(b"".join(pieces))), secrets=[SECRET])
    for piece in pieces:
        verifier.update(piece)
    verifier.verify()


@given(secret=st.text(max_size=40), before=BLANKS, after=BLANKS)
def test_blanks_around_a_secret_make_it_no_better(secret: str, before: str, after: str) -> None:
    assert is_usable(before + secret + after) == is_usable(secret)
    assert not is_usable(before + secret.strip()[:15] + after)


def test_a_push_says_what_was_pushed_where_and_by_whom() -> None:
    assert parsed(push()) == Payload(
        event="push",
        repository="octocat/site",
        sender="octocat",
        ref="refs/heads/master",
        before=BEFORE,
        after=AFTER,
        deleted=False,
    )


@pytest.mark.parametrize(
    "payload",
    [
        push(),
        payloads.push_of_a_tag(),
        payloads.push_that_deletes(),
        payloads.push_that_creates(),
        push(sender=None),
        push(after="0123abcd" * 8),
    ],
    ids=["push", "tag", "deletion", "new branch", "without a sender", "sha256 repository"],
)
def test_json_and_form_say_the_same(payload: object) -> None:
    form = parse(event="push", content_type=FORM, body=as_form(payload))
    assert form == parsed(payload)


def test_a_deletion_is_one() -> None:
    assert parsed(payloads.push_that_deletes()).deleted


def test_a_content_type_may_have_parameters_and_any_case() -> None:
    body = as_json(push())
    assert parse(event="push", content_type="Application/JSON; charset=utf-8", body=body)


def test_other_events_say_who_did_what_and_no_more() -> None:
    payload = {"action": "opened", "ref": 5, "repository": payloads.REPOSITORY, "sender": None}
    assert parsed(payload, "issues") == Payload(
        event="issues", action="opened", repository="octocat/site"
    )


def test_an_event_of_an_organization_has_no_repository() -> None:
    assert parsed({"zen": "Design for failure."}, "ping") == Payload(event="ping")


@pytest.mark.parametrize("name", ["ref", "before", "after", "deleted", "repository"])
@pytest.mark.parametrize("wrong", [None, 1, 1.5, [], ["refs/heads/master"], {"full_name": 1}])
def test_a_push_with_a_field_of_the_wrong_type_is_refused(name: str, wrong: Any) -> None:
    assert name in refusal(as_json(push(**{name: wrong}))) or name == "repository"


@pytest.mark.parametrize("name", ["ref", "before", "after", "deleted", "repository"])
def test_a_push_without_a_field_that_decides_is_refused(name: str) -> None:
    payload = push()
    del payload[name]
    refusal(as_json(payload))


@pytest.mark.parametrize(
    "changes",
    [
        {"action": 1},
        {"action": ["opened"]},
        {"sender": "octocat"},
        {"sender": {"login": 1}},
        {"deleted": "false"},
        {"deleted": 0},
    ],
)
def test_a_wrong_type_is_refused_wherever_it_is(changes: dict[str, Any]) -> None:
    refusal(as_json(push(**changes)))


@pytest.mark.parametrize(
    "wrong", ["", "master", AFTER[:39], AFTER + "0", AFTER.upper(), "g" * 40, AFTER + "\n"]
)
def test_a_revision_is_a_full_commit_id(wrong: str) -> None:
    assert refusal(as_json(push(after=wrong))) == "after is not a commit."
    assert refusal(as_json(push(before=wrong))) == "before is not a commit."


@pytest.mark.parametrize("wrong", ["", "master", "heads/master", " refs/heads/master"])
def test_a_ref_is_a_full_one(wrong: str) -> None:
    assert refusal(as_json(push(ref=wrong))) == "ref is not a full ref."


def test_text_that_is_too_long_is_refused() -> None:
    longest = "refs/heads/".ljust(MAX_REF, "x")
    assert parsed(push(ref=longest)).ref == longest
    assert refusal(as_json(push(ref=longest + "x"))) == "ref is too long."
    assert parsed(push(sender={"login": "n" * MAX_NAME})).sender == "n" * MAX_NAME
    assert refusal(as_json(push(sender={"login": "n" * 1_000_000}))) == "login is too long."


@pytest.mark.parametrize(
    "hostile",
    ["\0", "\r\n", "\x1b[2J", "\u202e", "\u2028", "\x7f", "\x85", "\u200d"],
)
def test_characters_that_a_database_log_or_page_would_obey_are_replaced(hostile: str) -> None:
    body = json.dumps(push(ref=f"refs/heads/a{hostile}b", action=hostile)).encode()
    payload = parse(event="push", content_type=JSON, body=body)
    assert payload.ref.isprintable()
    assert payload.action.isprintable()
    assert len(payload.ref) == len(f"refs/heads/a{hostile}b")
    assert payload.ref.startswith("refs/heads/a\N{REPLACEMENT CHARACTER}")


@pytest.mark.parametrize("half", ["\ud800", "\udc00\ud800"])
def test_half_of_a_character_is_refused(half: str) -> None:
    for body in (push(ref=f"refs/heads/{half}"), push(sender={"login": half})):
        assert "half of a character" in refusal(json.dumps(body).encode())
    whole = json.dumps(push(ref="refs/heads/\U0001f680")).encode()
    assert b"\\ud83d" in whole
    parse(event="push", content_type=JSON, body=whole)


def test_a_ping_says_how_the_webhook_is_set_up() -> None:
    said = parsed(payloads.ping(), "ping")
    assert (said.content_type, said.insecure_ssl, said.sends_pushes) == ("json", False, True)
    config = {"content_type": "form", "insecure_ssl": "1"}
    said = parsed({"hook": {"events": ["issues"], "config": config}}, "ping")
    assert (said.content_type, said.insecure_ssl, said.sends_pushes) == ("form", True, False)
    assert parsed({"hook": {"events": ["*"]}}, "ping").sends_pushes


@pytest.mark.parametrize(
    "hook",
    [
        "hook",
        {"events": "push"},
        {"config": []},
        {"config": {"insecure_ssl": "2"}},
        {"config": {"insecure_ssl": True}},
        {"config": {"insecure_ssl": []}},
        {"config": {"content_type": 1}},
        {"config": {"content_type": "x" * 11}},
    ],
)
def test_a_ping_with_a_field_of_the_wrong_type_is_refused(hook: Any) -> None:
    with pytest.raises(ParseError):
        parsed({"hook": hook}, "ping")


def test_text_in_any_language_is_kept() -> None:
    assert parsed(push(ref="refs/heads/größe-支店-🚀")).ref == "refs/heads/größe-支店-🚀"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"{}{}", "not JSON"),
        (b"[]", "not an object"),
        (b"null", "not an object"),
        (b'"push"', "not an object"),
        (b'{"ref": NaN}', "not JSON"),
        (b'{"ref": -Infinity}', "not JSON"),
        (b'{"ref": "a", "ref": "b"}', "not JSON"),
        (b'{"a": {"ref": 1, "ref": 1}}', "not JSON"),
        (b'{"ref": ' + b"9" * 5000 + b"}", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"a":' * 100_000, "not JSON"),
        (b"[" * 100_000 + b"]" * 100_000, "not JSON"),
        (b'{"ref": "\xff"}', "not UTF-8"),
        (b'{"ref": "\xed\xa0\x80"}', "not UTF-8"),
        (b'{"ref": "\xc0\x80"}', "not UTF-8"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        ('{"ref": "a"}'.encode("utf-16"), "not UTF-8"),
        ('{"ref": "a"}'.encode("utf-16-le"), "not JSON"),
        ('{"ref": "a"}'.encode("utf-32-be"), "not JSON"),
    ],
)
def test_what_is_not_strict_json_in_utf_8_is_refused(body: bytes, reason: str) -> None:
    assert reason in refusal(body)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "one field"),
        (b"payload", "not a form"),
        (b"payload=%ff", "not a form"),
        (b"payload=\xc3\xa9", "not a form"),
        (b"&".join([b"a=1"] * 9), "not a form"),
        (b"other=%7B%7D", "one field"),
        (b"payload=%7B%7D&payload=%7B%7D", "one field"),
        (b"payload=%EF%BB%BF%7B%7D", "not JSON"),
        (b"payload=%5B%5D", "not an object"),
    ],
)
def test_what_is_not_one_payload_in_a_form_is_refused(body: bytes, reason: str) -> None:
    assert reason in refusal(body, FORM)


@pytest.mark.parametrize(
    "content_type",
    ["", "text/json", "text/plain", "multipart/form-data; boundary=x", "application/jsonp"],
)
def test_any_other_content_type_is_refused(content_type: str) -> None:
    assert "content type" in refusal(as_json(push()), content_type)


def test_a_refusal_is_a_400() -> None:
    assert issubclass(ParseError, RefusedError)
    assert ParseError.status == 400


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(ANY_TEXT, inner),
    max_leaves=10,
)
REVISIONS = st.text("0123456789abcdef", min_size=40, max_size=40)
LIKE_A_PUSH = st.fixed_dictionaries(
    {
        "ref": ANY_TEXT.map("refs/heads/".__add__) | VALUES,
        "before": REVISIONS | VALUES,
        "after": REVISIONS | VALUES,
        "deleted": st.booleans() | VALUES,
        "repository": st.fixed_dictionaries({"full_name": ANY_TEXT}) | VALUES,
    },
    optional={
        "action": ANY_TEXT | VALUES,
        "sender": st.fixed_dictionaries({"login": ANY_TEXT}) | VALUES,
    },
)


def check_that_it_is_refused_or_fit_to_be_stored(content_type: str, body: bytes) -> None:
    try:
        payload = parse(event="push", content_type=content_type, body=body)
    except ParseError:
        return
    texts = (payload.ref, payload.action, payload.repository, payload.sender)
    assert all(text.isprintable() and len(text.encode()) <= 4 * MAX_REF for text in texts)
    assert all(len(text) <= MAX_NAME for text in texts[1:])
    assert {len(payload.before), len(payload.after)} <= {40, 64}


@given(body=st.binary(), content_type=st.sampled_from([JSON, FORM]) | ANY_TEXT)
def test_any_bytes_are_refused_or_fit_to_be_stored(body: bytes, content_type: str) -> None:
    check_that_it_is_refused_or_fit_to_be_stored(content_type, body)


@given(payload=LIKE_A_PUSH)
def test_anything_like_a_push_is_refused_or_fit_to_be_stored(payload: object) -> None:
    check_that_it_is_refused_or_fit_to_be_stored(JSON, json.dumps(payload).encode())


HOOKS = st.fixed_dictionaries(
    {
        "config": st.fixed_dictionaries(
            {},
            optional={"content_type": ANY_TEXT, "insecure_ssl": st.sampled_from(["0", "1", 0, 1])},
        ),
        "events": st.lists(st.sampled_from(["push", "*", "issues"])),
    }
)


@given(hook=HOOKS | st.dictionaries(st.sampled_from(["config", "events"]), VALUES))
def test_anything_like_a_ping_is_refused_or_told_as_github_sent_it(hook: Any) -> None:
    try:
        payload = parse(event="ping", content_type=JSON, body=json.dumps({"hook": hook}).encode())
    except ParseError:
        return
    config = hook.get("config") or {}
    insecure = config.get("insecure_ssl")
    assert payload.insecure_ssl is (None if insecure is None else str(insecure) == "1")
    events = hook.get("events")
    sends = None if events is None else any(each in ("push", "*") for each in events)
    assert payload.sends_pushes is sends
    assert payload.content_type.isprintable()
    assert len(payload.content_type) <= MAX_CONTENT_TYPE
