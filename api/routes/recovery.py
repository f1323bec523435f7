"""What the fleet does by itself when something fails: the remedies, and each one that was tried, with its reason and outcome."""

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from api.routes.route import Answer, AnyRoute, Asks, Call, Nothing, Reply, Route
from app.domain.recovery import BY_FAULT, REMEDIES, Action, Outcome
from app.domain.recovery import Recovery as Tried
from app.errors import InvalidInput, Unavailable
from app.host import posture_file
from app.storage import recoveries
from app.storage.database import reading

_BASE = "/api/architecture/fault-recovery"


class RemedyView(Answer, frozen=True):
    """What is done about one kind of fault."""

    fault: str
    action: Action
    done_by: str
    does: str
    gives_up: str


class PostureView(Answer, frozen=True):
    """What the fleet holds back at this moment, and why."""

    strained: Annotated[bool, Meta(description="What waits without harm is paused; exchanges are asked half as often.")]
    why_strained: str
    scarce: Annotated[bool, Meta(description="Depths and refused messages are not stored.")]
    why_scarce: str


class Remedies(Answer, frozen=True):
    """Every remedy, and what is held back."""

    posture: PostureView
    strategies: list[RemedyView]


class RecoveryView(Answer, frozen=True):
    """One remedy that was tried."""

    at: datetime
    fault: str
    subject: str
    action: Action
    done_by: str
    reason: str
    outcome: Annotated[Outcome, Meta(description="unknown: who began it has died over it, or was stopped.")]
    note: str
    ended_at: datetime | None


class Recoveries(Answer, frozen=True):
    """What was tried, newest first."""

    actions: list[RecoveryView]


class RecoveriesAsked(Asks, frozen=True):
    """Which of them."""

    fault: Annotated[str, Meta(max_length=50)] | None = None
    outcome: Outcome | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


def read_remedies(call: Call[Nothing]) -> Reply[Remedies]:
    """Read what is done about which fault."""
    posture = posture_file.read(call.deps.settings.run_dir, call.now)
    return Reply(
        Remedies(
            msgspec.convert(posture, PostureView, from_attributes=True),
            [RemedyView(one.fault, one.action, one.by, one.does, one.gives_up) for one in REMEDIES],
        )
    )


def read_recoveries(call: Call[RecoveriesAsked]) -> Reply[Recoveries]:
    """Read what was tried."""
    asked = call.asks
    if asked.fault is not None and asked.fault not in BY_FAULT:
        raise InvalidInput(f"{asked.fault!r} is no fault that is known.", cure=f"Use one of {', '.join(BY_FAULT)}.")
    with reading(call.deps.engine) as db:
        found = recoveries.recent(db, limit=asked.limit, fault=asked.fault, outcome=asked.outcome)
    return Reply(Recoveries([_view(one) for one in found]))


def _view(one: Tried) -> RecoveryView:
    remedy = BY_FAULT[one.fault]
    return RecoveryView(
        one.at, one.fault, one.subject, remedy.action, remedy.by, one.reason, one.outcome, one.note, one.ended_at
    )


_AT = datetime(2026, 11, 21, 5, 24, tzinfo=UTC)
ROUTES: tuple[AnyRoute, ...] = (
    Route(
        "GET",
        f"{_BASE}/strategies",
        read_remedies,
        "architecture",
        "What is done about which fault, and what is held back now",
        Nothing,
        Remedies,
        example=Remedies(
            PostureView(strained=False, why_strained="", scarce=True, why_scarce="the disk is 91 % full"),
            [RemedyView("process_ended", "restart", "process-guard", "supervisord starts it again", "after 6 ends")],
        ),
    ),
    Route(
        "GET",
        f"{_BASE}/actions",
        read_recoveries,
        "architecture",
        "What the fleet did by itself, why, and what became of it",
        RecoveriesAsked,
        Recoveries,
        raises=(InvalidInput, Unavailable),
        example=Recoveries(
            [
                RecoveryView(
                    at=_AT,
                    fault="process_silent",
                    subject="strategy-worker",
                    action="restart",
                    done_by="process-guard",
                    reason="strategy-worker has done no work for 21 s; it promises some every 10 s",
                    outcome="recovered",
                    note="it works again after 3.1 s",
                    ended_at=_AT,
                )
            ]
        ),
    ),
)
