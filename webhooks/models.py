"""What is remembered of GitHub's deliveries. Every write is a method here."""

import hashlib
from dataclasses import asdict
from typing import ClassVar

from django.db import models
from django.utils import timezone

from admin_management.audit import Kind
from admin_management.models import AuditEvent, Run

from .github import MAX_NAME, MAX_REF, Payload


class Outcome(models.TextChoices):
    """What a delivery led to."""

    PING = "ping"
    REQUESTED = "requested"
    IGNORED = "ignored"


def facts_of(payload: Payload, body: bytes) -> dict[str, str]:
    """What is kept of a delivery, by the names of its columns."""
    facts = asdict(payload)
    del facts["deleted"]
    return facts | {"body_sha256": hashlib.sha256(body).hexdigest()}


class DeliveryQuerySet(models.QuerySet["Delivery"]):
    """Deliveries, by GitHub's id of them."""

    def receive(self, *, delivery_id: str, reason: str, **facts: str) -> "Delivery":
        """The delivery of this id, locked until the transaction ends; a new one is ignored so far.

        Two that come at once are one: the second waits for the first and finds its row.
        """
        outcome = Outcome.PING if facts["event"] == "ping" else Outcome.IGNORED
        delivery, _ = self.select_for_update().get_or_create(
            delivery_id=delivery_id,
            defaults=facts | {"outcome": outcome.value, "reason": reason},
        )
        return delivery


class Delivery(models.Model):
    """One verified webhook request. Nothing else of it is kept, least of all its headers."""

    delivery_id = models.CharField(max_length=64, unique=True)
    event = models.CharField(max_length=64)
    action = models.CharField(max_length=MAX_NAME, blank=True)
    ref = models.CharField(max_length=MAX_REF, blank=True)
    before = models.CharField(max_length=64, blank=True)
    after = models.CharField(max_length=64, blank=True)
    repository = models.CharField(max_length=MAX_NAME, blank=True)
    sender = models.CharField(max_length=MAX_NAME, blank=True)
    body_sha256 = models.CharField(max_length=64)
    outcome = models.CharField(max_length=20, choices=Outcome)
    reason = models.CharField(max_length=500, blank=True)
    run = models.ForeignKey(
        Run, null=True, blank=True, on_delete=models.SET_NULL, related_name="deliveries"
    )
    received_at = models.DateTimeField(default=timezone.now)

    objects: ClassVar[DeliveryQuerySet] = DeliveryQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ("-received_at", "-id")
        indexes = (models.Index(fields=["-received_at", "-id"]),)
        verbose_name_plural = "deliveries"

    def __str__(self) -> str:
        return f"{self.delivery_id} {self.event}"

    @property
    def led_to_a_run(self) -> bool:
        """True even after that run was deleted."""
        return self.outcome == Outcome.REQUESTED

    def accept(self, run: Run, *, actor: str, **facts: str) -> None:
        """Write down that this delivery of ``actor``, saying ``facts``, led to ``run``.

        The actor of the run may be another: a request joins a run that already waits.
        """
        facts = facts | {"outcome": Outcome.REQUESTED.value, "reason": ""}
        Delivery.objects.filter(pk=self.pk).update(run=run, **facts)
        for name, value in facts.items():
            setattr(self, name, value)
        self.run = run
        AuditEvent.objects.append(
            Kind.DELIVERY_ACCEPTED,
            actor=actor,
            run=run,
            delivery=self.delivery_id,
            repository=self.repository,
            ref=self.ref,
            before=self.before,
            after=self.after,
            sender=self.sender,
            body_sha256=self.body_sha256,
        )
