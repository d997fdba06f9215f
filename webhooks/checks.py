"""Every wrong setting is a system check with a stable id and a hint that says what to do."""

from collections.abc import Sequence

from django.apps import AppConfig
from django.core import checks

from admin_management.exceptions import SettingsError

from .conf import WebhooksSettings

SHORTEST_SECRET = 16

MAKE_ONE = 'Make one with python3 -c "import secrets; print(secrets.token_hex(32))".'


def check_settings(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: object
) -> list[checks.CheckMessage]:
    """E001: ``WEBHOOKS`` is wrong. W001-W003: its secret is missing, short or padded."""
    try:
        conf = WebhooksSettings.load()
    except SettingsError as error:
        return [checks.Error(str(error), hint=error.hint, id="github_webhooks.E001")]
    if not conf.is_enabled:
        problem = "is not set: webhooks are off and every delivery is answered 503"
        return [_warning("W001", problem, f"{MAKE_ONE} Give it to GitHub too.")]
    found = []
    if len(conf.secret) < SHORTEST_SECRET:
        found.append(_warning("W002", f"has fewer than {SHORTEST_SECRET} characters", MAKE_ONE))
    if conf.secret != conf.secret.strip():
        found.append(_warning("W003", "begins or ends with white space", "Strip it."))
    return found


def _warning(number: str, problem: str, hint: str) -> checks.CheckMessage:
    return checks.Warning(
        f'WEBHOOKS["SECRET"] {problem}.', hint=hint, id=f"github_webhooks.{number}"
    )
