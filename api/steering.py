"""Answering a wish to start, stop or restart processes. Nothing here touches a process: a row is written and watched."""

import time
from collections.abc import Sequence
from typing import Literal

from api.deps import Deps
from api.errors import nearest
from api.routes.route import Answer, AsksT, Call, Reply
from app.errors import Conflict, NotFound
from app.storage.processes import Action
from app.usecases.steer_fleet import settled, steer_fleet

# Nobody could start them again from here, or would see that they are gone.
KEPT = frozenset({"main-app", "broker", "process-guard"})
_LOOK_EVERY_S = 0.1
_WORDS: dict[Action, tuple[str, str, str]] = {
    "start": ("started", "starting", "already_running"),
    "stop": ("stopped", "stopping", "already_stopped"),
    "restart": ("restarted", "restarting", "restarting"),
}

Outcome = Literal[
    "started", "starting", "already_running", "stopped", "stopping", "already_stopped", "restarted", "restarting"
]


class Steering(Answer, frozen=True):
    """What a wish came to. ``...ing`` means that it is written down and being carried out."""

    status: Outcome
    message: str
    services: list[str]


def steer(call: Call[AsksT], names: Sequence[str], action: Action) -> Reply[Steering]:
    """Wish it, wait a moment for it, and say how far it got: 200 when it is so, 202 when it is on its way."""
    deps = call.deps
    steered = steer_fleet(deps.engine, names, action, call.asking)
    reached = settled(deps.engine, steered, names)
    done, doing, already = _WORDS[action]
    if reached and not steered.asked:
        return _reply(200, already, names)
    looks = round(deps.patience_s / _LOOK_EVERY_S)
    while not reached and looks > 0 and not deps.draining():
        time.sleep(_LOOK_EVERY_S)
        looks -= 1
        reached = settled(deps.engine, steered, names)
    return _reply(200, done, names) if reached else _reply(202, doing, names)


def known(deps: Deps, service: str) -> str:
    """Check the name of a process. Raises NotFound with the nearest name."""
    names = [spec.name for spec in deps.specs]
    if service not in names:
        raise NotFound(f"There is no process {service[:60]!r}.", cure=nearest(service, names))
    if service == "broker" and not deps.settings.embedded_broker:
        raise Conflict(
            "The broker is the Redis of redis.url; it is not run by Flotilla.", cure="Steer it where it runs."
        )
    if service in deps.settings.unneeded:
        raise Conflict(f"{service} does not run with these settings.", cure="Name demo in feed.exchanges to have it.")
    return service


def may_stop(service: str) -> None:
    """Raise Conflict for a process that must not be stopped from here."""
    if service in KEPT:
        raise Conflict(
            f"{service} cannot be stopped from here: nobody could start it again from here.",
            cure=f"At the machine: flotilla ctl stop {service}, or make stop for the whole fleet.",
        )


def _reply(status: int, word: str, names: Sequence[str]) -> Reply[Steering]:
    outcome: Outcome = word  # type: ignore[assignment]  # every word of _WORDS is one
    return Reply(Steering(outcome, f"{', '.join(names)}: {word.replace('_', ' ')}.", list(names)), status)
