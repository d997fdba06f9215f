"""The Django app ``attendance``."""

from django.apps import AppConfig


class AttendanceConfig(AppConfig):
    name = "attendance"
