"""One row for each delivery."""

from typing import ClassVar

from django.db import models


class Delivery(models.Model):
    """What GitHub said."""

    delivery_id = models.CharField(max_length=64)
    event = models.CharField(max_length=64)
    ref = models.CharField(max_length=255)
    after = models.CharField(max_length=64)
    received_at = models.DateTimeField(auto_now_add=True)

    objects: ClassVar[models.Manager["Delivery"]] = models.Manager()

    class Meta:
        app_label = "bare"

    def __str__(self) -> str:
        return self.delivery_id
