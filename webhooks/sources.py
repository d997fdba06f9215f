"""Where pushes may come from: each source has a secret of its own and speaks for nothing else."""

from dataclasses import dataclass, field

from .github import Payload


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A repository and its branch on GitHub. No ``repository`` means any that knows the secret.

    ``name`` is empty if the settings name no sources: there is only one then.
    """

    name: str = ""
    secret: str = field(default="", repr=False)
    repository: str | None = None
    branch: str

    @property
    def setting(self) -> str:
        return setting_of(self.name)

    @property
    def secret_setting(self) -> str:
        return f'{self.setting}["SECRET"]'

    @property
    def secret_command(self) -> str:
        """What stores a secret of it."""
        return f"manage.py webhook_secret new{f' --source {self.name}' if self.name else ''}"

    @property
    def has_secret(self) -> bool:
        """Whether a secret is set here. It is then the only one, however good it is."""
        return bool(self.secret.strip())

    def why_ignored(self, payload: Payload) -> str:
        """Why a delivery of this source asks for no update; empty if it does ask for one.

        The sentence names nothing that is configured: it is part of the answer.
        """
        if payload.event != "push":
            return f"{payload.event} asks for no update"
        if payload.deleted:
            return f"{payload.ref} was deleted"
        # GitHub's names of owners and repositories do not tell upper from lower case.
        if self.repository and self.repository.lower() != payload.repository.lower():
            return "a push to another repository"
        if payload.ref != f"refs/heads/{self.branch}":
            return f"{payload.ref} is not the branch that is live"
        return ""


def setting_of(name: str) -> str:
    """Where the settings of a source are, for people."""
    return f'WEBHOOKS["SOURCES"]["{name}"]' if name else "WEBHOOKS"
