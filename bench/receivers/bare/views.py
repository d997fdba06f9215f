"""Verify, insert, answer."""

import hashlib
import hmac
import json
import os

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from .models import Delivery

SECRET = os.environ["BENCH_SECRET"].encode()


def _is_signed(request: HttpRequest) -> bool:
    digest = hmac.new(SECRET, request.body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(f"sha256={digest}", request.headers.get("X-Hub-Signature-256", ""))


@csrf_exempt
def verify_only(request: HttpRequest) -> HttpResponse:
    return HttpResponse(status=202 if _is_signed(request) else 403)


@csrf_exempt
def insert(request: HttpRequest) -> HttpResponse:
    if not _is_signed(request):
        return HttpResponse(status=403)
    payload = json.loads(request.body)
    Delivery.objects.create(
        delivery_id=request.headers["X-GitHub-Delivery"],
        event=request.headers["X-GitHub-Event"],
        ref=payload["ref"],
        after=payload["after"],
    )
    return HttpResponse(status=202)
