"""Students and the days on which they came."""

from django.db import models


class Student(models.Model):
    name = models.CharField(max_length=100, unique=True)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class Presence(models.Model):
    """One student came on one day."""

    student = models.ForeignKey(Student, on_delete=models.CASCADE, related_name="presences")
    day = models.DateField()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["student", "day"], name="once_per_student_and_day"),
        )

    def __str__(self) -> str:
        return f"{self.student} on {self.day}"
