"""Deliveries as GitHub sends them: the structure is GitHub's, the values are ours.

https://docs.github.com/en/webhooks/webhook-events-and-payloads#push
https://docs.github.com/en/webhooks/webhook-events-and-payloads#ping
https://docs.github.com/en/webhooks/webhook-events-and-payloads#delivery-headers
"""

import hashlib
import hmac
import json
from typing import Any
from urllib.parse import urlencode

SECRET = "It's a Secret to Everybody"
"""The secret of the tests' settings, and of GitHub's published test vector."""

NOTHING = "0" * 40
BEFORE = "6a1f0c4e" * 5
AFTER = "b7d2e935" * 5
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"

USER = {
    "login": "octocat",
    "id": 583231,
    "node_id": "MDQ6VXNlcjU4MzIzMQ==",
    "url": "https://api.github.com/users/octocat",
    "type": "User",
    "site_admin": False,
}
REPOSITORY = {
    "id": 1296269,
    "node_id": "MDEwOlJlcG9zaXRvcnkxMjk2MjY5",
    "name": "site",
    "full_name": "octocat/site",
    "private": True,
    "owner": {"name": "octocat", "email": "octocat@example.com", **USER},
    "html_url": "https://github.com/octocat/site",
    "description": None,
    "fork": False,
    "url": "https://github.com/octocat/site",
    "created_at": 1700000000,
    "updated_at": "2026-01-02T03:04:05Z",
    "pushed_at": 1700000600,
    "size": 0,
    "default_branch": "master",
    "master_branch": "master",
}
PERSON = {"name": "The Octocat", "email": "octocat@example.com", "username": "octocat"}


def commit() -> dict[str, Any]:
    return {
        "id": AFTER,
        "tree_id": "0d5c87f1" * 5,
        "distinct": True,
        "message": "Change the site\n\nAnd say why, with an é.",
        "timestamp": "2026-01-02T03:04:05+01:00",
        "url": f"https://github.com/octocat/site/commit/{AFTER}",
        "author": PERSON,
        "committer": PERSON,
        "added": ["new.txt"],
        "removed": [],
        "modified": ["version.txt"],
    }


def push(**changes: Any) -> dict[str, Any]:
    """A push of one commit to master."""
    return {
        "ref": "refs/heads/master",
        "before": BEFORE,
        "after": AFTER,
        "repository": REPOSITORY,
        "pusher": {"name": "octocat", "email": "octocat@example.com"},
        "sender": USER,
        "created": False,
        "deleted": False,
        "forced": False,
        "base_ref": None,
        "compare": "https://github.com/octocat/site/compare/6a1f0c4e6a1f...b7d2e935b7d2",
        "commits": [commit()],
        "head_commit": commit(),
    } | changes


def push_of_a_tag() -> dict[str, Any]:
    return push(ref="refs/tags/v1", before=NOTHING, created=True, commits=[])


def push_that_deletes(ref: str = "refs/heads/master") -> dict[str, Any]:
    return push(ref=ref, after=NOTHING, deleted=True, commits=[], head_commit=None)


def push_that_creates(ref: str = "refs/heads/master") -> dict[str, Any]:
    """Of a branch made from one that GitHub knows: nothing new in it."""
    return push(ref=ref, before=NOTHING, created=True, base_ref="refs/heads/dev", commits=[])


def ping() -> dict[str, Any]:
    """What GitHub sends when the webhook is made."""
    return {
        "zen": "Keep it logically awesome.",
        "hook_id": 1,
        "hook": {
            "type": "Repository",
            "id": 1,
            "name": "web",
            "active": True,
            "events": ["push"],
            "config": {
                "content_type": "json",
                "insecure_ssl": "0",
                "secret": "********",
                "url": "https://example.com/webhooks/github/",
            },
            "last_response": {"code": None, "status": "unused", "message": None},
        },
        "repository": REPOSITORY,
        "sender": USER,
    }


def as_json(payload: object) -> bytes:
    return json.dumps(payload, separators=(",", ":"), ensure_ascii=False).encode()


def as_form(payload: object) -> bytes:
    return urlencode({"payload": as_json(payload)}).encode()


def signature(body: bytes, secret: str = SECRET) -> str:
    """As in X-Hub-Signature-256, made without the code under test."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
