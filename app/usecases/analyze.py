"""What the strategies say of some symbols now, at the last close of 15m. Nothing is written: rows are the judging cycle's."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Engine

from app.domain.market.market_time import MarketTime
from app.domain.market.readings import Status
from app.domain.market.timeframes import open_of
from app.domain.strategies.market import Market
from app.domain.strategies.strategy import Strategy
from app.errors import NotFound, Unavailable
from app.storage.database import reading
from app.usecases.judge import STEP, Judged, judge_all, market_for
from app.usecases.live_settings import live_settings
from app.usecases.strategy_market import pair_ids

AT_ONCE = 10
"""Symbols whose candles are in memory at one time: who answers questions has little of it."""


@dataclass(frozen=True, slots=True)
class Analysis:
    """One symbol by one strategy. ``judged`` is None where its newest candles are not all there; ``candles`` say which."""

    symbol: str
    strategy: Strategy
    candles: Mapping[str, Status]
    judged: Judged | None


def last_step(time: MarketTime) -> int:
    """The close that is judged now. Raises Unavailable while nobody knows what time it is there."""
    if time.now_ms is None:
        raise Unavailable("Nobody knows what time it is on the market.", cure="Start the fleet: make run")
    return open_of(time.now_ms, STEP)


def not_watched(symbol: str) -> NotFound:
    """What to say of a symbol that no exchange of the present source has."""
    return NotFound(f"{symbol} is not watched.", cure="GET /api/v1/symbols lists what is.")


def analyze(
    engine: Engine,
    symbols: Sequence[str],
    strategies: Sequence[Strategy],
    *,
    exchanges: Sequence[str],
    as_of_ms: int,
    judge: Callable[[Strategy, Market], list[Judged]] = judge_all,
) -> list[Analysis]:
    """By symbol, then by strategy. What is not watched is not among them."""
    with reading(engine) as db:
        ids = pair_ids(db, set(symbols), exchanges)
    watched = [symbol for symbol in symbols if symbol in ids]
    found = {
        (one.symbol, one.strategy.name): one
        for begin in range(0, len(watched), AT_ONCE)
        for strategy in strategies
        for one in _some(
            engine, {symbol: ids[symbol] for symbol in watched[begin : begin + AT_ONCE]}, strategy, as_of_ms, judge
        )
    }
    return [found[symbol, strategy.name] for symbol in watched for strategy in strategies]


def _some(
    engine: Engine,
    ids: Mapping[str, int],
    strategy: Strategy,
    as_of_ms: int,
    judge: Callable[[Strategy, Market], list[Judged]],
) -> Iterator[Analysis]:
    with reading(engine) as db:
        market = market_for(db, strategy, ids, as_of_ms, live_settings(db).coin_classes)
    judged = {one.symbol: one for one in judge(strategy, market)}
    for place, symbol in enumerate(market.symbols):
        candles = {timeframe: market.frames[timeframe].statuses[place] for timeframe in strategy.needs}
        yield Analysis(symbol, strategy, candles, judged.get(symbol))
