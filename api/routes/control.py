"""Steering single processes. The paths say systemd, as in the documents; here it is supervisord that runs them."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated

from msgspec import Meta

from api import steering
from api.routes.route import Answer, Asks, Call, Nothing, Reply, Route
from api.steering import Outcome, Steering
from app.errors import Conflict, NotFound, Unavailable
from app.storage import processes
from app.storage.database import reading


class OneService(Asks, frozen=True):
    """Which process."""

    service: Annotated[str, Meta(min_length=1, max_length=50, description="The name of a process.")]


class ServiceView(Answer, frozen=True):
    """What a process should do and what it does, as last reported."""

    service: str
    desired: Annotated[str | None, Meta(description="running or stopped; null before anything was wished.")]
    actual: Annotated[str | None, Meta(description="supervisord's word; null until reported.")]
    pid: int | None
    applied: Annotated[bool, Meta(description="Whether the last wish was carried out.")]
    wanted_by: str | None
    wanted_at: datetime | None
    reported_at: datetime | None
    note: Annotated[str | None, Meta(description="Why the last wish could not be carried out.")]


class Services(Answer, frozen=True):
    """Every process of supervisord.conf."""

    services: list[ServiceView]


def status(call: Call[Nothing]) -> Reply[Services]:
    """Desired and actual state of every process."""
    with reading(call.deps.engine) as db:
        rows = {row.name: row for row in processes.rows(db)}
    views = []
    for spec in call.deps.specs:
        row = rows.get(spec.name)
        if row is None:
            views.append(ServiceView(spec.name, None, None, None, True, None, None, None, None))
            continue
        views.append(
            ServiceView(
                service=row.name,
                desired=row.desired,
                actual=row.actual,
                pid=row.pid,
                applied=row.applied_revision == row.revision,
                wanted_by=row.wanted_by,
                wanted_at=row.wanted_at,
                reported_at=row.reported_at,
                note=row.note,
            )
        )
    return Reply(Services(views))


def start(call: Call[OneService]) -> Reply[Steering]:
    """Start one process."""
    return steering.steer(call, [steering.known(call.deps, call.asks.service)], "start")


def stop(call: Call[OneService]) -> Reply[Steering]:
    """Stop one process."""
    service = steering.known(call.deps, call.asks.service)
    steering.may_stop(service)
    return steering.steer(call, [service], "stop")


def restart(call: Call[OneService]) -> Reply[Steering]:
    """Drain and replace one process."""
    return steering.steer(call, [steering.known(call.deps, call.asks.service)], "restart")


def _steered(
    verb: str, handler: Callable[[Call[OneService]], Reply[Steering]], outcome: Outcome, summary: str
) -> Route[OneService, Steering]:
    return Route(
        "POST",
        f"/api/control/systemd/{verb}",
        handler,
        "control",
        summary,
        OneService,
        Steering,
        statuses=(200, 202),
        raises=(NotFound, Conflict, Unavailable),
        asks_example=OneService("market-feed"),
        example=Steering(outcome, f"market-feed: {outcome}.", ["market-feed"]),
    )


_AT = datetime.fromisoformat("2026-11-21T12:00:00+00:00")
_FEED = ServiceView("market-feed", "running", "RUNNING", 4712, True, "api", _AT, _AT, None)

ROUTES = (
    Route(
        "GET",
        "/api/control/systemd/status",
        status,
        "control",
        "Desired and actual state of every process",
        Nothing,
        Services,
        raises=(Unavailable,),
        example=Services([_FEED]),
    ),
    _steered("start", start, "started", "Start one process"),
    _steered("stop", stop, "stopped", "Stop one process"),
    _steered("restart", restart, "restarted", "Drain and replace one process"),
)
