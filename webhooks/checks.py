"""Every wrong setting is a system check with a stable id and a hint that says what to do."""

from collections.abc import Sequence

from django.apps import AppConfig
from django.core import checks
from django.db import Error as DatabaseFailure

from admin_management.checks import misplaced
from admin_management.exceptions import SettingsError

from .conf import WebhooksSettings
from .github import SHORTEST_SECRET, is_usable
from .models import Secret
from .sources import Source

MAKE_ONE = 'Make one with python3 -c "import secrets; print(secrets.token_hex(32))".'


def check_settings(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: object
) -> list[checks.CheckMessage]:
    """E001-E003: a setting is wrong, a stored secret cannot be read, the secret is too short.

    W001: there is no secret. W003: it is padded. W004: GitHub still signs with the older one.
    W005: a stored secret is of no source.
    """
    try:
        conf = WebhooksSettings.load()
    except SettingsError as error:
        return [checks.Error(str(error), hint=error.hint, id="github_webhooks.E001")]
    stored = [] if all(source.has_secret for source in conf.sources) else _stored()
    found: list[checks.CheckMessage] = []
    for source in conf.sources:
        own = [secret for secret in stored if secret.source == source.name]
        found += _of_the_setting(source) if source.has_secret else _of_the_stored(source, own)
    names = {source.name for source in conf.sources}
    return found + [_of_no_source(secret) for secret in stored if secret.source not in names]


def check_router(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: object
) -> list[checks.CheckMessage]:
    """E004: a router puts the tables elsewhere, or lets them be read from a replica."""
    return misplaced("github_webhooks", id="github_webhooks.E004")


def _of_no_source(secret: Secret) -> checks.Warning:
    return checks.Warning(
        f"The webhook secret {secret} is not accepted: WEBHOOKS names no source {secret.source!r}.",
        hint=f"Retire it: manage.py webhook_secret retire {secret}.",
        id="github_webhooks.W005",
    )


def _of_the_setting(source: Source) -> list[checks.CheckMessage]:
    setting = source.secret_setting
    if not is_usable(source.secret):
        return [
            checks.Error(
                f"{setting} has fewer than {SHORTEST_SECRET} characters: no delivery that is "
                "signed with it is accepted.",
                hint=MAKE_ONE,
                id="github_webhooks.E003",
            )
        ]
    if source.secret == source.secret.strip():
        return []
    problem = f"{setting} begins or ends with white space."
    return [checks.Warning(problem, hint="Strip it.", id="github_webhooks.W003")]


def _of_the_stored(source: Source, secrets: list[Secret]) -> list[checks.CheckMessage]:
    if not secrets:
        return [_missing(source)]
    found: list[checks.CheckMessage] = [
        checks.Error(
            f"The webhook secret {secret} cannot be decrypted: what is signed with it is refused.",
            hint=(
                "Put the key that it was encrypted with back: the old SECRET_KEY into "
                'SECRET_KEY_FALLBACKS, or WEBHOOKS["ENCRYPTION_KEY"]. Else retire it with '
                f"manage.py webhook_secret retire {secret}, and make another."
            ),
            id="github_webhooks.E002",
        )
        for secret in secrets
        if not secret.is_readable
    ]
    if Secret.is_changeover_unfinished(secrets):
        found.append(
            checks.Warning(
                f"GitHub still signs with the older webhook secret, {secrets[-1]}, though a newer "
                f"one was made, {secrets[0]}.",
                hint="Give the newer one to GitHub, before the older one retires.",
                id="github_webhooks.W004",
            )
        )
    return found


def _missing(source: Source) -> checks.Warning:
    problem = "There is no secret: webhooks are off and every delivery is answered 503."
    if source.name:
        problem = (
            f"The source {source.name} has no secret: no delivery of {source.repository} is "
            "accepted."
        )
    hint = f"Make one with {source.secret_command}, and give it to GitHub too."
    return checks.Warning(problem, hint=hint, id="github_webhooks.W001")


def _stored() -> list[Secret]:
    """None where the tables are not there yet: these checks run before migrate makes them."""
    try:
        return list(Secret.objects.active())
    except DatabaseFailure:
        return []
