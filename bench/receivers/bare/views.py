"""Verify, insert, answer with a sentence."""

import hashlib
import hmac
import json
import os

from django.http import HttpRequest, HttpResponse, HttpResponseForbidden
from django.views.decorators.csrf import csrf_exempt

from .models import Delivery

SECRET = os.environ["BENCH_SECRET"].encode()


def _is_signed(request: HttpRequest) -> bool:
    digest = hmac.new(SECRET, request.body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(f"sha256={digest}", request.headers.get("X-Hub-Signature-256", ""))


@csrf_exempt
def verify_only(request: HttpRequest) -> HttpResponse:
    return _accepted() if _is_signed(request) else _refused()


def _accepted() -> HttpResponse:
    return HttpResponse("Accepted.", status=202)


def _refused() -> HttpResponse:
    return HttpResponseForbidden("The signature is wrong.")


@csrf_exempt
def insert(request: HttpRequest) -> HttpResponse:
    if not _is_signed(request):
        return _refused()
    payload = json.loads(request.body)
    Delivery.objects.create(
        delivery_id=request.headers["X-GitHub-Delivery"],
        event=request.headers["X-GitHub-Event"],
        ref=payload["ref"],
        after=payload["after"],
    )
    return _accepted()
