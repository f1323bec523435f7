"""Live settings: rows that change what the fleet does from its next look on, checked and audited."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from api.routes.route import Answer, Asks, Call, Nothing, Reply, Route
from app.errors import InvalidInput, NotFound, Unavailable
from app.usecases import live_settings
from app.usecases.live_settings import Shown

Name = Annotated[str, Meta(min_length=1, max_length=100, description="Such as maxLossAmount.")]


class SettingView(Answer, frozen=True):
    """One setting. Exact numbers are text."""

    name: str
    value: Any
    default: Any
    description: str
    changed_at: Annotated[datetime | None, Meta(description="null: never, so the default holds.")]
    broken: Annotated[bool, Meta(description="Somebody wrote a row that means nothing: the default holds.")]


class SettingList(Answer, frozen=True):
    """All settings."""

    settings: list[SettingView]


class SettingAsked(Asks, frozen=True):
    """Which setting."""

    name: Name


class SettingChange(Asks, frozen=True):
    """What a setting shall be."""

    name: Name
    value: Any


def read_all(call: Call[Nothing]) -> Reply[SettingList]:
    """Read every setting."""
    return Reply(SettingList([_view(one) for one in live_settings.shown(call.deps.engine)]))


def read_one(call: Call[SettingAsked]) -> Reply[SettingView]:
    """Read one setting."""
    return Reply(_view(live_settings.shown_one(call.deps.engine, call.asks.name)))


def change(call: Call[SettingChange]) -> Reply[SettingView]:
    """Set one. What runs sees it at its next look: trades at their next entry."""
    asked, deps = call.asks, call.deps
    return Reply(_view(live_settings.change_setting(deps.engine, deps.look_up, asked.name, asked.value, call.asking)))


def reset(call: Call[SettingAsked]) -> Reply[SettingView]:
    """Go back to the default."""
    deps = call.deps
    return Reply(_view(live_settings.reset_setting(deps.engine, deps.look_up, call.asks.name, call.asking)))


def _view(one: Shown) -> SettingView:
    return msgspec.convert(one, SettingView, from_attributes=True)


_ONE = SettingView(
    "maxLossAmount",
    "50",
    "100",
    "What a trade may lose at its stop, in USDT.",
    datetime.fromisoformat("2026-11-21T12:00:00+00:00"),
    broken=False,
)
_PATH = "/api/v1/settings/{name}"
_RAISES = (NotFound, Unavailable)

ROUTES = (
    Route(
        "GET",
        "/api/v1/settings",
        read_all,
        "settings",
        "Every live setting",
        Nothing,
        SettingList,
        raises=(Unavailable,),
        example=SettingList([_ONE]),
    ),
    Route(
        "GET", _PATH, read_one, "settings", "One live setting", SettingAsked, SettingView, raises=_RAISES, example=_ONE
    ),
    Route(
        "POST",
        _PATH,
        change,
        "settings",
        "Set a live setting",
        SettingChange,
        SettingView,
        raises=(InvalidInput, *_RAISES),
        asks_example=SettingChange("maxLossAmount", 50),
        example=_ONE,
    ),
    Route(
        "DELETE",
        _PATH,
        reset,
        "settings",
        "Go back to a setting's default",
        SettingAsked,
        SettingView,
        raises=(InvalidInput, *_RAISES),
        example=_ONE,
    ),
)
