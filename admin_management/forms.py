"""The dashboard's forms."""

from typing import Any

from django import forms

from .exceptions import ReasonMissingError
from .models import LONGEST_REASON, ApiToken


def _text_input(placeholder: str) -> forms.TextInput:
    return forms.TextInput(attrs={"placeholder": placeholder, "autocomplete": "off"})


def _reason(placeholder: str, *, required: bool = True) -> forms.CharField:
    widget = _text_input(placeholder)
    return forms.CharField(required=required, max_length=LONGEST_REASON, widget=widget)


class UpdateForm(forms.Form):
    """The Update button and what may be said with it."""

    reason = _reason("Why? (optional)", required=False)
    force = forms.BooleanField(required=False)
    accept_rewritten = forms.BooleanField(required=False)
    override_hold = forms.BooleanField(required=False)

    def clean(self) -> dict[str, Any]:
        if self.cleaned_data.get("override_hold") and not self.cleaned_data.get("reason"):
            self.add_error("reason", str(ReasonMissingError()))
        return self.cleaned_data


class CancelForm(forms.Form):
    """Why an update is cancelled."""

    reason = _reason("Why? (optional)", required=False)


class RollbackForm(forms.Form):
    """Why the site goes back."""

    reason = _reason("Why?")


class HoldForm(forms.Form):
    """Why updates are held, and for how many hours; none is until somebody releases them."""

    reason = _reason("The reason")
    hours = forms.TypedChoiceField(
        required=False,
        coerce=int,
        empty_value=None,
        choices=(
            ("", "until released"),
            *((1, "for an hour"), (4, "for 4 hours"), (24, "for a day"), (168, "for a week")),
        ),
    )


class ApiTokenForm(forms.ModelForm):  # type: ignore[type-arg]
    """A new token, of whoever fills this in."""

    days = forms.IntegerField(
        min_value=1,
        max_value=ApiToken.LONGEST_DAYS,
        initial=ApiToken.DAYS,
        help_text="How long it is good.",
    )

    class Meta:
        model = ApiToken
        fields = ("name", "scope")

    def clean_name(self) -> str:
        # It becomes a part of the actor's name, which is a part of lines in logs.
        name = str(self.cleaned_data["name"])
        if not name.isprintable():
            raise forms.ValidationError("Write one line of printable characters.")
        return name
