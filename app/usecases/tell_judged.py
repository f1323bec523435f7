"""Telling what was judged and traded, once it is written: into the cache that all processes share, and to whoever listens."""

import logging
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Literal

from app.cache import keys
from app.cache.market import JudgmentNews, LiveVerdict, MarketCache, TradeNews
from app.cache.redis import RedisCache
from app.domain.market.market_time import ms_of
from app.domain.trading.money import text
from app.domain.trading.simulation import Trade
from app.storage.judgments import Judgment
from app.usecases.trade import Event

_log = logging.getLogger(__name__)


class Teller:
    """Where the news of the strategies go. Redis may be away: then nobody hears them, and readers ask the database."""

    def __init__(self, cache: RedisCache, market: MarketCache) -> None:
        self._cache, self._market = cache, market

    def judged(self, news: Sequence[Any]) -> None:
        """Tell of judgments, their rows, and of what would be judged now."""
        rows = [one for one in news if isinstance(one, Judgment)]
        live = [one for one in news if isinstance(one, LiveVerdict)]
        self._cache.put_all(
            keys.LIVE_VERDICT, (({"symbol": one.symbol, "strategy_type": one.strategy}, one) for one in live)
        )
        self._cache.put_all(keys.JUDGMENT, ((_place(one), one) for one in rows))
        self._market.tell([judgment_news(one) for one in rows])

    def traded(self, events: Sequence[Event]) -> None:
        """Tell of trades."""
        for event in events:
            _log.info("%s", _said(event))
            if event.what == "closed":
                self._cache.forget(keys.STATISTICS, symbol=event.symbol, strategy_type=event.strategy)
        self._market.tell([trade_news(event) for event in events])

    def close(self) -> None:
        """Let go of the connections."""
        self._cache.close()
        self._market.close()


def judgment_news(one: Judgment) -> JudgmentNews:
    """A judgment as it is pushed."""
    data = one.indicators_data or {}
    return JudgmentNews(
        symbol=one.symbol,
        strategy=one.strategy_type,
        timeframe=one.timeframe,
        timestamp=ms_of(one.created_at),
        id=one.id,
        trend=one.trend_direction,
        score=None if one.score is None else str(one.score),
        confidence=one.confidence_level,
        total=data.get("total"),
        signal=data.get("signal"),
        strength=data.get("strength"),
    )


def trade_news(event: Event) -> TradeNews:
    """A trade as it is pushed."""
    what: Literal["opened", "changed", "closed", "refused"] = event.what
    if event.trade is None:
        refusal = event.refusal
        at_ms, note = (refusal.at_ms, refusal.message) if refusal else (0, None)
        return TradeNews(what=what, symbol=event.symbol, strategy=event.strategy, timestamp=at_ms, note=note)
    trade = event.trade
    return TradeNews(
        what=what,
        symbol=trade.symbol,
        strategy=trade.strategy,
        timestamp=trade.bookings[-1].at_ms,
        id=event.trade_id,
        direction=trade.direction,
        entry_price=text(trade.entry_price),
        stop_loss=text(trade.stop_loss),
        take_profit=text(trade.take_profit),
        quantity=text(trade.quantity),
        exit_price=_text(trade.exit_price),
        exit_reason=trade.exit_reason,
        pnl=None if trade.active else text(trade.pnl),
    )


def _said(event: Event) -> str:
    of = f"{event.strategy} on {event.symbol}"
    if event.trade is None:
        return f"an order of {of} was refused: {event.refusal.message if event.refusal else 'nobody knows why'}"
    trade: Trade = event.trade
    if event.what == "closed":
        return f"trade {event.trade_id} of {of} was closed by {trade.exit_reason}: {text(trade.pnl)}"
    price, size = text(trade.entry_price), text(trade.quantity)
    return f"trade {event.trade_id} of {of} was {event.what}: {trade.direction} {size} at {price}"


def _place(one: Judgment) -> dict[str, str]:
    return {"symbol": one.symbol, "strategy_type": one.strategy_type, "timeframe": one.timeframe}


def _text(value: Decimal | None) -> str | None:
    return None if value is None else text(value)
