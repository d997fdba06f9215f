"""The site's one page."""

from django.db.models import Exists, OuterRef
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from .models import Presence, Student


def today(request: HttpRequest) -> HttpResponse:
    """All students, and whether they are here."""
    day = timezone.localdate()
    came = Presence.objects.filter(student=OuterRef("pk"), day=day)
    students = Student.objects.annotate(is_here=Exists(came))
    return render(request, "attendance/today.html", {"day": day, "students": students})
