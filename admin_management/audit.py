"""The audit log's text: how an event is written down, alike on every database.

No I/O. The rows are ``models.AuditEvent``.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """What can happen that is worth remembering for good."""

    REQUESTED = "requested"
    COALESCED = "coalesced"
    STARTED = "started"
    STEP_FINISHED = "step_finished"
    FINISHED = "finished"
    DELIVERY_ACCEPTED = "delivery_accepted"
    REFUSED = "refused"
    HELD = "held"
    RELEASED = "released"
    HOLD_OVERRIDDEN = "hold_overridden"
    CANCEL_REQUESTED = "cancel_requested"
    TOKEN_ISSUED = "token_issued"  # noqa: S105 - a word, not a password
    TOKEN_REVOKED = "token_revoked"  # noqa: S105
    SECRET_MADE = "secret_made"  # noqa: S105 - it is a word, not a secret
    SECRET_RETIRED = "secret_retired"  # noqa: S105


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def canonical_text(*, seq: int, at: datetime, kind: Kind, actor: str, facts: object) -> str:
    """One event as canonical JSON: sorted keys, no spaces, ASCII, UTC time.

    The same event always gives the same text, on every database and Python. Raises TypeError or
    ValueError for facts that JSON cannot hold.
    """
    event = {"seq": seq, "at": at.isoformat(), "kind": kind, "actor": actor, "facts": facts}
    return _ENCODER.encode(event)


class Happening(NamedTuple):
    """What is worth an event, before the log gives it a number. Without ``at`` it is of now."""

    kind: Kind
    actor: str = ""
    at: datetime | None = None
    facts: Mapping[str, object] = {}

    def numbered(self, seq: int, *, run_id: object, now: datetime) -> dict[str, object]:
        """The columns of its event. Its facts name the run too, if it is about one."""
        at = (self.at or now).astimezone(UTC)
        facts = dict(self.facts) | ({"run": str(run_id)} if run_id else {})
        text = canonical_text(seq=seq, at=at, kind=self.kind, actor=self.actor, facts=facts)
        return {"seq": seq, "at": at, "kind": self.kind, "run_id": run_id, "text": text}
