"""What is typed on the dashboard."""

from hypothesis import given
from hypothesis import strategies as st

from admin_management.forms import HoldForm, UpdateForm


@given(
    reason=st.text(max_size=600),
    flags=st.sets(st.sampled_from(["force", "accept_rewritten", "override_hold"])),
)
def test_a_wish_is_what_was_ticked_and_a_reason_fits_the_database(
    reason: str, flags: set[str]
) -> None:
    form = UpdateForm({"reason": reason} | dict.fromkeys(flags, "on"))
    if form.is_valid():
        said = form.cleaned_data.pop("reason")
        assert form.cleaned_data == {
            name: name in flags for name in ("force", "accept_rewritten", "override_hold")
        }
        assert len(said) <= 500
        assert "\0" not in said
        assert said or "override_hold" not in flags
    else:
        assert list(form.errors) == ["reason"]


@given(hours=st.sampled_from(["", "1", "4", "24", "168", "0", "2"]) | st.text())
def test_a_hold_is_for_the_hours_that_were_offered_and_no_others(hours: str) -> None:
    form = HoldForm({"reason": "exams", "hours": hours})
    assert form.is_valid() == (hours in ("", "1", "4", "24", "168"))
    assert not form.is_valid() or form.cleaned_data["hours"] == (int(hours) if hours else None)
