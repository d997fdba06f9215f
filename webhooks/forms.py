"""The dashboard's form for webhook secrets."""

from datetime import timedelta

from django import forms

from .models import OVERLAP


def _from_hours(hours: str) -> timedelta:
    return timedelta(hours=int(hours))


class NewSecretForm(forms.Form):
    """Which source a new secret is for, and how long the one before it stays good."""

    source = forms.CharField(required=False, widget=forms.HiddenInput)
    overlap = forms.TypedChoiceField(
        required=False,
        coerce=_from_hours,
        empty_value=OVERLAP,  # type: ignore[arg-type] # what it is coerced to, too
        choices=(
            ("", "the old one stays good for a week"),
            *((24, "the old one stays good for a day"), (1, "the old one stays good for an hour")),
            (0, "the old one is retired at once"),
        ),
    )
