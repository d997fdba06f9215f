"""The API: ask for an update, follow it, and see how the site stands."""

from typing import Any
from uuid import UUID

from django.shortcuts import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from .asking import ask, bring_up_to_date, log_piece, settle
from .models import Run, RunQuerySet, Trigger
from .rest import RunPages, StaffViewSet
from .serializers import (
    AcceptedRunSerializer,
    LogQuerySerializer,
    LogSerializer,
    RunFilterSerializer,
    RunSerializer,
    RunWithStepsSerializer,
    StatusQuerySerializer,
    StatusSerializer,
    StrictSerializer,
    UpdateRequestSerializer,
)
from .status import read_status


class UpdateViewSet(StaffViewSet):
    """Updates of this site from git. POST asks for one; the answer says where to follow it."""

    queryset = Run.objects.all()
    pagination_class = RunPages
    serializer_class = RunSerializer

    def get_serializer_class(self) -> type[BaseSerializer[Any]]:
        return UpdateRequestSerializer if self.action == "create" else RunSerializer

    def list(self, request: Request) -> Response:
        """The runs, newest first."""
        settle()
        page = self.paginate_queryset(_filtered(request))
        return self.get_paginated_response(RunSerializer(page, many=True).data)

    def create(self, request: Request) -> Response:
        """Ask for an update. Answers at once, with the run that serves the request."""
        wanted = UpdateRequestSerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        run, is_new = ask(request, Trigger.API, **wanted.validated_data)
        answer = AcceptedRunSerializer(run, context={"coalesced": not is_new}).data
        return Response(answer, status=202, headers={"Location": answer["url"]})

    def retrieve(self, request: Request, pk: UUID) -> Response:
        """One run with its steps."""
        settle()
        run = get_object_or_404(Run, pk=pk)
        steps = bring_up_to_date(run)
        return Response(RunWithStepsSerializer(run, context={"steps": steps}).data)


class LogViewSet(StaffViewSet):
    """What a run said."""

    serializer_class = LogSerializer

    def retrieve(self, request: Request, pk: UUID) -> Response:
        """The log from an offset on. Ask ``next`` until it is null."""
        offset = _checked(LogQuerySerializer, request)["offset"]
        settle()
        run = get_object_or_404(Run, pk=pk)
        piece = log_piece(run, bring_up_to_date(run), offset)
        return Response(LogSerializer(piece).data)


class StatusViewSet(StaffViewSet):
    """How the site stands: git, PM2, runs, versions."""

    serializer_class = StatusSerializer

    def retrieve(self, request: Request) -> Response:
        """Asks no network, unless ``?fetch=1``. A part that cannot be read says why."""
        fetch = _checked(StatusQuerySerializer, request)["fetch"]
        settle()
        return Response(StatusSerializer(read_status(fetch=fetch)).data)


def _filtered(request: Request) -> RunQuerySet:
    query = _checked(RunFilterSerializer, request)
    if "since" in query:
        query["requested_at__gte"] = query.pop("since")
    return Run.objects.filter(**query)


def _checked(serializer: type[StrictSerializer], request: Request) -> dict[str, Any]:
    """The query's values; raises ValidationError, which names the parameter."""
    query = serializer(data=request.query_params)
    query.is_valid(raise_exception=True)
    return dict(query.validated_data)
