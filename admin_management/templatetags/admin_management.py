"""How the dashboard writes times, revisions and steps. ``{% load admin_management %}``."""

from datetime import datetime

from django import template
from django.utils import timezone
from django.utils.formats import date_format

from admin_management.runner.render import label

register = template.Library()

MINUTE, HOUR, DAY = 60, 3600, 86_400

SHOWN = 64 * 1024
"""Characters of a step's output on a page."""

ICONS = {
    "queued": "○",
    "running": "●",
    "succeeded": "✓",
    "skipped": "\N{EN DASH}",
    "interrupted": "!",
    "cancelled": "\N{EN DASH}",
    "rolled_back": "↩",
}

register.filter("label", label)


@register.filter
def icon(status: str) -> str:
    """A sign for a status; the word always stands beside it."""
    return ICONS.get(status, "✕")


@register.filter
def words(status: str) -> str:
    return status.replace("_", " ")


@register.filter
def short(revision: str) -> str:
    """A commit as people write it."""
    return revision[:7]


@register.filter
def duration(seconds: float | None) -> str:
    """``0.42 s``, ``7.3 s``, ``12 s``, ``1 min 12 s``, ``3 h 5 min``, ``2 d 4 h``.

    As dashboard.js does.
    """
    if seconds is None:
        return ""
    if seconds < 10:
        return f"{max(seconds, 0):.{2 if seconds < 1 else 1}f} s"
    whole = int(seconds)
    if whole < MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return f"{whole // MINUTE} min {whole % MINUTE} s"
    if whole < DAY:
        return f"{whole // HOUR} h {whole % HOUR // MINUTE} min"
    return f"{whole // DAY} d {whole % DAY // HOUR} h"


@register.filter
def ago(moment: datetime) -> str:
    """``just now``, ``5 min ago``, ``3 h ago``, ``2 days ago``, and from a month on the date."""
    seconds = int((timezone.now() - moment).total_seconds())
    if seconds < MINUTE:
        return "just now"
    if seconds < HOUR:
        return f"{seconds // MINUTE} min ago"
    if seconds < DAY:
        return f"{seconds // HOUR} h ago"
    days = seconds // DAY
    if days <= 30:
        return f"{days} day{'' if days == 1 else 's'} ago"
    return date_format(timezone.localtime(moment), "DATE_FORMAT")


@register.filter
def tail(output: str) -> str:
    """The end of an output, from the beginning of a line on unless the last line is too long."""
    if len(output) <= SHOWN:
        return output
    end = output[-SHOWN:]
    return end.partition("\n")[2] or end
