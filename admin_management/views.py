"""The API: ask for an update, follow it, and see how the site stands."""

from typing import Any
from uuid import UUID

from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from .asking import (
    ask,
    ask_once,
    bring_up_to_date,
    go_back,
    log_piece,
    requester_of,
    require_fetch,
    settle,
    settled_run,
)
from .authentication import seen_in
from .cancelling import cancel_update
from .going_back import find_way_back
from .launcher import hold_updates, release_updates
from .models import Hold, Run, RunQuerySet, Trigger
from .rest import RunPages, StaffViewSet
from .serializers import (
    AcceptedRunSerializer,
    CancelRequestSerializer,
    HoldRequestSerializer,
    HoldSerializer,
    LogQuerySerializer,
    LogSerializer,
    OriginSerializer,
    RollbackRequestSerializer,
    RunFilterSerializer,
    RunSerializer,
    RunWithStepsSerializer,
    StatusQuerySerializer,
    StatusSerializer,
    StrictSerializer,
    UpdateRequestSerializer,
    WayBackSerializer,
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
        """Ask for an update. Answers at once, with the run that serves the request.

        With an ``Idempotency-Key`` it can be sent again, for a day, and the run is the same.
        """
        wanted = _checked(UpdateRequestSerializer, request.data)
        key = _idempotency_key(request)
        if key is None:
            run, is_new = ask(request, Trigger.API, **wanted)
        else:
            run, is_new = ask_once(request, Trigger.API, key, **wanted)
        answer = AcceptedRunSerializer(run, context={"coalesced": not is_new}).data
        return Response(answer, status=202, headers={"Location": answer["url"]})

    def retrieve(self, request: Request, pk: UUID) -> Response:
        """One run with its steps."""
        run = settled_run(pk)
        steps = bring_up_to_date(run)
        return Response(RunWithStepsSerializer(run, context={"steps": steps}).data)


class HoldViewSet(StaffViewSet):
    """Updates of this site are held, or not."""

    queryset = Hold.objects.all()
    serializer_class = HoldRequestSerializer

    def retrieve(self, request: Request) -> Response:
        """The hold in force; 404 if there is none."""
        settle()
        return Response(HoldSerializer(_hold_in_force()).data)

    def create(self, request: Request) -> Response:
        """Hold updates: what is asked for meanwhile waits. 409 if they are held already."""
        wanted = _checked(HoldRequestSerializer, request.data)
        hold = hold_updates(requester=requester_of(request), **wanted)
        return Response(HoldSerializer(hold).data, status=201)

    def destroy(self, request: Request) -> Response:
        """Let updates go on, and start the one that waits; 404 if they are not held."""
        _hold_in_force()
        release_updates(requester=requester_of(request))
        return Response(status=204)


class CancelViewSet(StaffViewSet):
    """Cancel an update that waits or goes on."""

    queryset = Run.objects.all()
    serializer_class = CancelRequestSerializer

    def create(self, request: Request, pk: UUID) -> Response:
        """A waiting run ends at once; a running one puts everything back first. 409: too late."""
        wanted = _checked(CancelRequestSerializer, request.data)
        run = settled_run(pk)
        cancel_update(run, requester=requester_of(request), **wanted)
        return Response(RunSerializer(run).data, status=202)


class RollbackViewSet(StaffViewSet):
    """Go back to the revision that an update has proved."""

    queryset = Run.objects.all()
    serializer_class = RollbackRequestSerializer

    def retrieve(self, request: Request, pk: UUID) -> Response:
        """What it means: only code, these migrations too, or why it is not possible."""
        run = settled_run(pk)
        return Response(WayBackSerializer(find_way_back(run)).data)

    def create(self, request: Request, pk: UUID) -> Response:
        """Go back, and hold updates so that the next push does not undo it. 409: not possible."""
        wanted = _checked(RollbackRequestSerializer, request.data)
        run = settled_run(pk)
        rollback = go_back(request, run, **wanted)
        answer = RunSerializer(rollback).data
        return Response(answer, status=202, headers={"Location": answer["url"]})


class LogViewSet(StaffViewSet):
    """What a run said."""

    serializer_class = LogSerializer

    def retrieve(self, request: Request, pk: UUID) -> Response:
        """The log from an offset on. Ask ``next`` until it is null."""
        offset = _checked(LogQuerySerializer, request.query_params.dict())["offset"]
        run = settled_run(pk)
        piece = log_piece(run, bring_up_to_date(run), offset)
        return Response(LogSerializer(piece).data)


class StatusViewSet(StaffViewSet):
    """How the site stands: git, PM2, runs, versions."""

    serializer_class = StatusSerializer

    def retrieve(self, request: Request) -> Response:
        """Asks no network, unless ``?fetch=1``. A part that cannot be read says why."""
        fetch = _checked(StatusQuerySerializer, request.query_params.dict())["fetch"]
        if fetch:
            require_fetch(request)
        settle()
        return Response(StatusSerializer(read_status(fetch=fetch)).data)


class OriginViewSet(StaffViewSet):
    """Whether a proxy removes what tells a page of this site from a page of another one.

    The dashboard asks it by POST, because a browser sends no ``Origin`` when it reads.
    """

    serializer_class = OriginSerializer
    # Nothing is changed.
    throttle_classes = ()

    def create(self, request: Request) -> Response:
        """The headers that were seen. None: let the proxy pass them on."""
        return Response(OriginSerializer({"seen": seen_in(request)}).data)


def _hold_in_force() -> Hold:
    hold = Hold.objects.in_force()
    if hold is None:
        raise NotFound("Updates are not held.")
    return hold


def _filtered(request: Request) -> RunQuerySet:
    query = _checked(RunFilterSerializer, request.query_params.dict())
    if "since" in query:
        query["requested_at__gte"] = query.pop("since")
    return Run.objects.filter(**query)


def _idempotency_key(request: Request) -> str | None:
    """What the client has sent, None if nothing. Raises ValidationError if it cannot be one."""
    key = request.META.get("HTTP_IDEMPOTENCY_KEY")
    if key is None or (0 < len(key) <= 255 and key.isascii() and key.isprintable()):
        return key
    raise ValidationError({"Idempotency-Key": ["Write 1 to 255 printable ASCII characters."]})


def _checked(serializer: type[StrictSerializer], given: Any) -> dict[str, Any]:
    """The values of a body or a query; raises ValidationError, which names the field."""
    checked = serializer(data=given)
    checked.is_valid(raise_exception=True)
    return dict(checked.validated_data)
