"""Where teachers enter who came."""

from django.contrib import admin

from .models import Presence, Student

admin.site.register([Student, Presence])
