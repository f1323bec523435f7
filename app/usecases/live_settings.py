"""Settings that change while the fleet runs: rows of ``system_config``, checked when they are written and audited.

To add one: a field of ``LiveSettings``, and a line in ``SPECS``.
"""

import contextlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final, Literal

from sqlalchemy import Connection, Engine

from app.domain.market import symbols as spelling
from app.domain.market.venue import venue_of
from app.domain.strategies.v3.coins import KINDS, Kind
from app.domain.trading.fills import Costs
from app.domain.trading.money import exact
from app.domain.trading.sizing import MAX_LOSS, MAX_LOSSES
from app.errors import InvalidInput, NotFound
from app.storage import config
from app.storage.database import reading, transaction
from app.usecases.asking import Asking
from app.usecases.look_up import LookUp

MOST_SYMBOLS: Final = 1_000
MOST_COINS: Final = 400  # more might not fit the column
MOST_EXCHANGES: Final = 100
_MOST_NAME: Final = 20
_SHOWN: Final = 60
_MOST_FEE: Final = Decimal("0.05")
_USUAL: Final = Costs()


@dataclass(frozen=True, slots=True)
class LiveSettings:
    """All of them, as they are now. ``broken`` names rows that somebody wrote by hand and that mean nothing: defaults hold."""

    max_loss_amount: Decimal = MAX_LOSS
    starting_equity: Decimal = Decimal(10_000)
    taker_fee: Decimal = _USUAL.taker_fee
    maker_fee: Decimal = _USUAL.maker_fee
    slippage_bps: Decimal = _USUAL.slippage_bps
    cooldown_minutes: int = 5
    judged_symbols: int = 50
    coin_classes: Mapping[str, Kind] = field(default_factory=dict)
    exchange_fees: Mapping[str, Mapping[str, Decimal]] = field(default_factory=dict)
    broken: tuple[str, ...] = ()

    def costs(self, exchange: str) -> Costs:
        """What trading costs there. A simulated exchange costs what the real one does, unless it is named itself."""
        own = self.exchange_fees.get(exchange) or self.exchange_fees.get(venue_of(exchange), {})
        return Costs(own.get("taker", self.taker_fee), own.get("maker", self.maker_fee), self.slippage_bps)


@dataclass(frozen=True, slots=True)
class Spec:
    """One setting: its name for people, its field, and how a value is read. ``kind`` is that of its row."""

    name: str
    field: str
    kind: Literal["NUMBER", "JSON"]
    description: str
    read: Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Shown:
    """One setting as it is now. ``value`` and ``default`` are in JSON's words; ``changed_at`` is None while the default holds."""

    name: str
    value: Any
    default: Any
    description: str
    changed_at: datetime | None
    broken: bool = False


def _number(least: Decimal, most: Decimal) -> Callable[[Any], Decimal]:
    def read(value: Any) -> Decimal:
        number = _decimal(value)
        if not least <= number <= most:
            raise InvalidInput(f"{number} is not from {least} to {most}.")
        return number

    return read


def _whole(least: int, most: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        number = _decimal(value)
        if number != number.to_integral_value() or not least <= number <= most:
            raise InvalidInput(f"{number} is not a whole number from {least} to {most}.")
        return int(number)

    return read


def _max_loss(value: Any) -> Decimal:
    number = _decimal(value)
    if number not in MAX_LOSSES:
        raise InvalidInput(f"{number} is not one of {', '.join(map(str, MAX_LOSSES))} USDT.")
    return number


def _coin_classes(value: Any) -> dict[str, Kind]:
    if not _is_named(value, MOST_COINS):
        raise InvalidInput(f'The classes of coins are an object of at most {MOST_COINS}, such as {{"WIF": "small"}}.')
    known: dict[str, Kind] = {kind: kind for kind in KINDS}
    if wrong := [kind for kind in value.values() if not isinstance(kind, str) or kind not in known]:
        raise InvalidInput(f"{_cut(wrong[0])} is not a class of coins: use {', '.join(known)}.")
    return {_coin(name): known[kind] for name, kind in value.items()}


def _coin(name: str) -> str:
    """A coin as ``kind_of`` looks it up, by its own name or by that of one of its pairs."""
    coin = name.strip().upper()
    if not re.fullmatch(r"[\w/:-]+", coin):  # there are coins with Chinese names
        raise InvalidInput(f"{_cut(name)} is not the name of a coin, such as BTC.")
    with contextlib.suppress(InvalidInput):
        coin = spelling.taken_apart(spelling.parse(coin)).base
    return coin.removeprefix("1000")


def _exchange_fees(value: Any) -> dict[str, dict[str, Decimal]]:
    shape = 'Fees are an object by exchange, such as {"okx": {"taker": "0.0005", "maker": "0.0002"}}.'
    if not _is_named(value, MOST_EXCHANGES) or not all(isinstance(fees, dict) for fees in value.values()):
        raise InvalidInput(shape)
    if not all(set(fees) <= {"taker", "maker"} for fees in value.values()):
        raise InvalidInput(shape)
    if wrong := [name for name in value if not re.fullmatch(r"[A-Za-z0-9_-]{1,50}", name)]:
        raise InvalidInput(f"{_cut(wrong[0])} is not the name of an exchange. {shape}")
    fee = _number(-_MOST_FEE, _MOST_FEE)
    found = {exchange.lower(): {side: fee(one) for side, one in fees.items()} for exchange, fees in value.items()}
    if any(fees.get("taker", 0) < 0 for fees in found.values()):
        raise InvalidInput("A taker's fee is never below 0: only makers are paid.")
    return found


SPECS: Final = (
    Spec(
        "maxLossAmount",
        "max_loss_amount",
        "NUMBER",
        "What a trade may lose at its stop, in USDT: 20, 50, 100 or 200. Of price alone: what trading costs comes on top.",
        _max_loss,
    ),
    Spec(
        "startingEquity",
        "starting_equity",
        "NUMBER",
        "What each account that is opened from now on begins with, in USDT.",
        _number(Decimal(1), Decimal(1_000_000_000)),
    ),
    Spec("takerFee", "taker_fee", "NUMBER", "A share of the traded value.", _number(Decimal(0), _MOST_FEE)),
    Spec("makerFee", "maker_fee", "NUMBER", "Likewise, for resting orders.", _number(-_MOST_FEE, _MOST_FEE)),
    Spec("exchangeFees", "exchange_fees", "JSON", "Fees of single exchanges, in place of these.", _exchange_fees),
    Spec(
        "slippageBps",
        "slippage_bps",
        "NUMBER",
        "What a market order costs where no book was recorded, in basis points.",
        _number(Decimal(0), Decimal(1_000)),
    ),
    Spec(
        "cooldownMinutes",
        "cooldown_minutes",
        "NUMBER",
        "How long an account waits after an entry.",
        _whole(0, 1_440),
    ),
    Spec("judgedSymbols", "judged_symbols", "NUMBER", "The most symbols that are judged.", _whole(1, MOST_SYMBOLS)),
    Spec("coinClasses", "coin_classes", "JSON", "V3's class of single coins, in place of its table.", _coin_classes),
)
_BY_NAME: Final = {spec.name: spec for spec in SPECS}
_DEFAULTS: Final = LiveSettings()


def live_settings(db: Connection) -> LiveSettings:
    """Read all of them. A row that cannot be read gives the default: a worker must not die of it."""
    values: dict[str, Any] = {}
    broken = []
    for entry in config.listed(db):
        spec = _BY_NAME.get(entry.config_key)
        if spec is None:
            continue
        try:
            values[spec.field] = spec.read(_said(entry.config_value))
        except InvalidInput:
            broken.append(spec.name)
    return LiveSettings(**values, broken=tuple(broken))


def shown(engine: Engine) -> list[Shown]:
    """All of them, for people."""
    with reading(engine) as db:
        now, rows = live_settings(db), {entry.config_key: entry for entry in config.listed(db)}
    return [_shown(spec, now, rows.get(spec.name)) for spec in SPECS]


def shown_one(engine: Engine, name: str) -> Shown:
    """One of them, for people. Raises NotFound."""
    spec = _spec(name)
    with reading(engine) as db:
        return _shown(spec, live_settings(db), config.get(db, name))


def change_setting(engine: Engine, look_up: LookUp, name: str, value: Any, asking: Asking) -> Shown:
    """Set one. The same value again changes nothing. Raises NotFound, InvalidInput."""
    spec = _spec(name)
    try:
        said = _spoken(spec.read(value))
    except InvalidInput as error:
        raise InvalidInput(f"{name}: {error}", cure=spec.description) from error
    with transaction(engine) as db:
        before = live_settings(db)
        if config.get(db, name) is None or _spoken(getattr(before, spec.field)) != said or name in before.broken:
            text = said if spec.kind == "NUMBER" else json.dumps(said, sort_keys=True)
            config.put(db, name, str(text), now=asking.now, config_type=spec.kind, description=spec.description)
            was = {"value": _spoken(getattr(before, spec.field))}
            asking.record(db, "change_setting", name, before=was, after={"value": said})
        after, row = live_settings(db), config.get(db, name)
    look_up.config_changed(name)
    return _shown(spec, after, row)


def reset_setting(engine: Engine, look_up: LookUp, name: str, asking: Asking) -> Shown:
    """Go back to the default. Raises NotFound for a name that is none."""
    spec = _spec(name)
    with transaction(engine) as db:
        before = live_settings(db)
        if config.remove(db, name):
            default = _spoken(getattr(_DEFAULTS, spec.field))
            was = {"value": _spoken(getattr(before, spec.field))}
            asking.record(db, "reset_setting", name, before=was, after={"value": default})
    look_up.config_changed(name)
    return _shown(spec, _DEFAULTS, None)


def _spec(name: str) -> Spec:
    spec = _BY_NAME.get(name)
    if spec is None:
        raise NotFound(f"There is no setting {name!r}.", cure=f"There are {', '.join(_BY_NAME)}.")
    return spec


def _shown(spec: Spec, now: LiveSettings, row: config.ConfigEntry | None) -> Shown:
    return Shown(
        spec.name,
        _spoken(getattr(now, spec.field)),
        _spoken(getattr(_DEFAULTS, spec.field)),
        spec.description,
        None if row is None else row.updated_at,
        spec.name in now.broken,
    )


def _is_named(value: Any, most: int) -> bool:
    return isinstance(value, dict) and len(value) <= most and all(0 < len(name) <= _MOST_NAME for name in value)


def _decimal(value: Any) -> Decimal:
    """A number of at most eight decimals: with more it could be as long as it likes when it is written out."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
        raise InvalidInput(f"{_cut(value)} is not a number.")
    try:
        number = Decimal(str(value))
    except InvalidOperation as error:
        raise InvalidInput(f"{_cut(value)} is not a number.") from error
    if not number.is_finite():
        raise InvalidInput(f"{_cut(value)} is not a number.")
    if exact(number) != number:
        raise InvalidInput(f"{_cut(value)} has more than eight decimals.")
    return number


def _cut(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _said(text: str) -> Any:
    """A row's text: JSON, or a number that reads as one."""
    try:
        return json.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError):  # nested without end: it is no setting either
        return text


def _spoken(value: Any) -> Any:
    """A value in JSON's words: exact numbers are text."""
    if isinstance(value, Decimal):
        return format(value.normalize(), "f")
    if isinstance(value, Mapping):
        return {key: _spoken(one) for key, one in value.items()}
    return value
