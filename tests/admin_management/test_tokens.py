"""Tokens: made once, never stored, good for exactly what they say and no longer."""

import hashlib
import io
import json
import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection
from django.test import Client
from django.utils import timezone

from admin_management.audit import Kind
from admin_management.headers import content_security_policy
from admin_management.models import ApiToken, AuditEvent, Run
from admin_management.permissions import Permission
from admin_management.runner.redact import REDACTED, Redactor
from tests.conftest import permit

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_runner")]

UPDATE = "/admin/update/"
ADMIN = "/admin/admin_management/apitoken/"


def issue(user: User, scope: str = "update", days: int = 90, name: str = "ci") -> ApiToken:
    token = ApiToken(user=user, name=name, scope=scope)
    token.issue(by="root", days=days)
    return token


def get(value: str, scheme: str = "Bearer", client: Client | None = None) -> Any:
    return (client or Client()).get(UPDATE, headers={"Authorization": f"{scheme} {value}"})


def post(value: str, **headers: str) -> Any:
    sent = {"Authorization": f"Bearer {value}", **headers}
    return Client(enforce_csrf_checks=True).post(
        UPDATE, "{}", content_type="application/json", headers=sent
    )


def expire(token: ApiToken) -> None:
    ApiToken.objects.filter(pk=token.pk).update(expires_at=timezone.now())


def events(kind: Kind) -> list[dict[str, Any]]:
    return [json.loads(event.text) for event in AuditEvent.objects.filter(kind=kind)]


class TestWhatIsStored:
    def test_is_the_hash_of_it_and_nothing_else(self, alice: User) -> None:
        token = issue(alice)
        assert re.fullmatch(r"dam_[\w-]{43}", token.value)
        token.refresh_from_db()
        assert token.digest == hashlib.sha256(token.value.encode()).hexdigest()
        with connection.cursor() as cursor:
            for table in connection.introspection.table_names(cursor):
                cursor.execute(f'SELECT * FROM "{table}"')
                assert token.value not in repr(cursor.fetchall())

    def test_it_is_forgotten_by_all_but_who_has_made_it(self, alice: User) -> None:
        assert ApiToken.objects.get(pk=issue(alice).pk).value == ""

    def test_making_and_revoking_are_in_the_audit_log(self, alice: User) -> None:
        token = issue(alice)
        token.revoke(by="alice")
        [made], [revoked] = events(Kind.TOKEN_ISSUED), events(Kind.TOKEN_REVOKED)
        assert (made["actor"], revoked["actor"]) == ("root", "alice")
        assert made["facts"] == {
            "token": token.pk,
            "name": "ci",
            "user": "alice",
            "scope": "update",
            "expires_at": token.expires_at.isoformat(),
        }

    def test_its_shape_is_hidden_in_output(self, alice: User) -> None:
        assert Redactor([]).line(f"token: {issue(alice).value}") == f"token: {REDACTED}"


class TestWhatItOpens:
    def test_a_token_is_its_user(self, alice: User) -> None:
        answer = post(issue(alice).value)
        run = Run.objects.get()
        assert answer.status_code == 202
        assert (run.actor, run.actor_name, run.trigger) == (alice, "alice (token ci)", "api")

    def test_the_scheme_may_be_written_small(self, alice: User) -> None:
        assert get(issue(alice).value, "bearer").status_code == 200

    def test_it_needs_no_cross_origin_check(self, alice: User) -> None:
        assert post(issue(alice).value, Origin="https://ci.example").status_code == 202

    def test_a_reading_token_only_reads(self, alice: User) -> None:
        token = issue(alice, "read")
        assert get(token.value).status_code == 200
        answer = post(token.value)
        assert answer.status_code == 403
        assert answer.json()["detail"] == "This token may only read."
        assert not Run.objects.exists()
        assert len(events(Kind.REFUSED)) == 1

    def test_it_can_do_no_more_than_its_user_can_at_that_moment(self, carol: User) -> None:
        token = issue(carol)
        assert post(token.value).status_code == 403
        permit(carol, Permission.REQUEST)
        assert post(token.value).status_code == 202
        carol.user_permissions.clear()
        assert post(token.value).status_code == 403
        User.objects.filter(pk=carol.pk).update(is_staff=False)
        assert get(token.value).status_code == 403
        User.objects.filter(pk=carol.pk).update(is_staff=True, is_active=False)
        assert get(token.value).status_code == 401

    def test_it_opens_no_page(self, alice: User) -> None:
        token = issue(alice)
        sent = {"Authorization": f"Bearer {token.value}"}
        for path in ("/admin/dashboard/", ADMIN):
            assert Client().get(path, headers=sent).status_code == 302


class TestWhatIsRefused:
    def check(self, answer: Any) -> None:
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="admin_management"'
        assert "unknown, expired or revoked" in answer.json()["detail"]

    def test_an_expired_token(self, alice: User) -> None:
        token = issue(alice)
        expire(token)
        self.check(get(token.value))

    def test_a_revoked_token_at_once(self, alice: User) -> None:
        token = issue(alice)
        assert get(token.value).status_code == 200
        assert token.revoke(by="alice")
        self.check(get(token.value))
        assert not token.revoke(by="alice")

    def test_an_unknown_token(self) -> None:
        self.check(get("dam_" + "x" * 43))

    @pytest.mark.parametrize(
        "value",
        [
            *("", " ", "dam_", "x", "dam_" + "x" * 42, "dam_" + "x" * 44, "dam_" + "é" * 43),
            *("dam_" + "\0" * 43, "\0", "ÿ", "Dam_" + "x" * 43, "dam_" + "x" * 43 + "\n"),
            *(" dam_" + "x" * 43, "dam_" + "x" * 43 + " ", "x" * 1_000_000, "dam_" * 250_000),
        ],
        ids=lambda value: repr(value[:12]),
    )
    def test_what_is_no_token(self, value: str) -> None:
        self.check(Client(HTTP_AUTHORIZATION=f"Bearer {value}").get(UPDATE))

    def test_a_good_session_does_not_help_a_wrong_token(self, client: Client, alice: User) -> None:
        client.force_login(alice)
        self.check(get("dam_x", client=client))

    def test_the_digest_is_no_token(self, alice: User) -> None:
        self.check(get(issue(alice).digest))

    @pytest.mark.parametrize("scheme", ["Basic", "Token", ""])
    def test_other_schemes_are_not_looked_at(
        self, client: Client, alice: User, scheme: str
    ) -> None:
        value = issue(alice).value
        assert get(value, scheme).status_code == 401
        client.force_login(alice)
        assert get(value, scheme, client).status_code == 200


class TestItsUse:
    def test_is_remembered_at_most_once_a_minute(self, alice: User) -> None:
        token = issue(alice)
        for seconds, is_told in ((None, True), (59, False), (61, True)):
            before = seconds and timezone.now() - timedelta(seconds=seconds)
            ApiToken.objects.filter(pk=token.pk).update(last_used_at=before)
            get(token.value)
            token.refresh_from_db()
            assert (token.last_used_at != before) is is_told

    def test_that_cannot_be_remembered_is_still_a_use(
        self, alice: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail(self: ApiToken) -> None:
            raise DatabaseError("the disk is full")

        token = issue(alice)
        monkeypatch.setattr(ApiToken, "touch", fail)
        assert get(token.value).status_code == 200
        assert "could not be recorded" in caplog.text


class TestTheCommand:
    def run(self, *arguments: str) -> str:
        out = io.StringIO()
        call_command("api_token", *arguments, stdout=out, stderr=io.StringIO())
        return out.getvalue()

    def test_prints_the_new_token_alone(self, alice: User) -> None:
        value = self.run("new", "alice", "ci").strip()
        token = ApiToken.objects.get()
        assert (token.user, token.name, token.scope) == (alice, "ci", "read")
        assert timedelta(days=89) < token.expires_at - timezone.now() <= timedelta(days=90)
        assert get(value).status_code == 200

    def test_takes_a_scope_and_a_time(self, alice: User) -> None:
        value = self.run("new", "alice", "ci", "--scope", "update", "--days", "1").strip()
        assert ApiToken.objects.get().expires_at - timezone.now() <= timedelta(days=1)
        assert post(value).status_code == 202

    @pytest.mark.parametrize(
        "arguments",
        [
            ["bob", "ci"],
            ["nobody", "ci"],
            ["alice", ""],
            ["alice", "x" * 101],
            ["alice", "a\0b"],
            ["alice", "ci", "--days", "0"],
            ["alice", "ci", "--days", "99999999"],
            ["alice", "ci", "--scope", "all"],
        ],
    )
    def test_refuses_what_makes_no_sense(
        self, alice: User, bob: User, arguments: list[str]
    ) -> None:
        with pytest.raises(CommandError):
            self.run("new", *arguments)
        assert not ApiToken.objects.exists()

    def test_lists_and_revokes(self, alice: User) -> None:
        token, old = issue(alice), issue(alice, name="old")
        expire(old)
        assert self.run("list") == (
            f"{token.pk}  ci (update) of alice, until {token.expires_at:%Y-%m-%d}, unused\n"
        )
        assert "is revoked" in self.run("revoke", str(token.pk))
        assert self.run("list") == ""
        assert len(self.run("list", "--all").splitlines()) == 2
        assert get(token.value).status_code == 401
        for gone in (str(token.pk), "4711"):
            with pytest.raises(CommandError, match="no such token"):
                self.run("revoke", gone)


class TestTheAdmin:
    @pytest.fixture
    def carols(self, client: Client, carol: User) -> Client:
        permit(carol, "add_apitoken")
        client.force_login(carol)
        return client

    def test_shows_the_new_token_once(self, carols: Client, carol: User) -> None:
        form = {"name": "ci", "scope": "update", "days": "30", "user": "1"}
        answer = carols.post(f"{ADMIN}add/", form)
        token = ApiToken.objects.get()
        assert (token.user, token.name, token.scope) == (carol, "ci", "update")
        [value] = re.findall(r"dam_[\w-]{43}", answer.content.decode())
        assert "no-store" in answer.headers["Cache-Control"]
        assert answer.headers["Content-Security-Policy"] == content_security_policy()
        assert get(value).status_code == 200
        for path in (ADMIN, f"{ADMIN}{token.pk}/change/", f"{ADMIN}add/"):
            assert "dam_" not in carols.get(path).content.decode()
        [event] = events(Kind.TOKEN_ISSUED)
        assert event["actor"] == "carol"

    @pytest.mark.parametrize(
        "wrong", [{"days": "99999999"}, {"days": "0"}, {"name": "a\nb"}, {"scope": "all"}]
    )
    def test_refuses_what_makes_no_sense(self, carols: Client, wrong: dict[str, str]) -> None:
        form = {"name": "ci", "scope": "update", "days": "1"}
        assert carols.post(f"{ADMIN}add/", form | wrong).status_code == 200
        assert not ApiToken.objects.exists()

    def test_shows_and_revokes_ones_own(self, carols: Client, carol: User, alice: User) -> None:
        own, other = issue(carol, name="my own"), issue(alice, name="of another")
        listing = carols.get(ADMIN).content.decode()
        assert "my own" in listing
        assert "of another" not in listing
        assert carols.get(f"{ADMIN}{other.pk}/change/").status_code == 302
        chosen = {"action": "revoke", "_selected_action": [own.pk, other.pk]}
        carols.post(ADMIN, chosen)
        assert get(own.value).status_code == 401
        assert get(other.value).status_code == 200

    def test_who_may_revokes_everybodys(self, carols: Client, carol: User, alice: User) -> None:
        permit(carol, "revoke_apitoken")
        other = issue(alice)
        carols.post(ADMIN, {"action": "revoke", "_selected_action": [other.pk]})
        assert get(other.value).status_code == 401
        assert events(Kind.TOKEN_REVOKED)[0]["actor"] == "carol"

    def test_is_closed_to_others(self, client: Client, alice: User) -> None:
        client.force_login(alice)
        assert client.get(ADMIN).status_code == 403
        assert client.get(f"{ADMIN}add/").status_code == 403

    def test_changes_and_deletes_nothing(self, client: Client, alice: User) -> None:
        User.objects.filter(pk=alice.pk).update(is_superuser=True)
        client.force_login(alice)
        token = issue(alice)
        assert client.post(f"{ADMIN}{token.pk}/change/", {"name": "x"}).status_code == 403
        assert client.post(f"{ADMIN}{token.pk}/delete/", {"post": "yes"}).status_code == 403

    def test_lets_a_user_be_deleted_with_their_tokens(self, client: Client, carol: User) -> None:
        client.force_login(User.objects.create_superuser("root"))
        issue(carol)
        client.post(f"/admin/auth/user/{carol.pk}/delete/", {"post": "yes"})
        assert not User.objects.filter(pk=carol.pk).exists()
        assert not ApiToken.objects.exists()
