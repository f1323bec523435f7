"""The process "strategy-worker": takes work from the queue ``strategy``, which more hosts may take too."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from app.cache.market import MarketCache
from app.cache.redis import RedisCache
from app.domain.market.market_time import MarketTime, ms_of
from app.host import logs
from app.usecases.begin_judging import begin_cycle
from app.usecases.market_source import Source
from app.usecases.refresh_judgments import begin_refresh
from app.usecases.tell_judged import Teller
from app.usecases.trade import Event
from app.usecases.trade import trade as bring_forward
from workers.celery_app import serve
from workers.parts import Parts, open_parts


def judge(parts: Parts) -> None:
    """Ask for a judging cycle when candles have closed by the market's clock, and for a fresh look five minutes after."""
    now = parts.now()
    exchanges, time = _market(parts, now)
    for begin in (begin_cycle, begin_refresh):
        begin(parts.engine, parts.bell, exchanges=exchanges, time=time, trace_id=logs.trace_id.get(), now=now)


def trade(parts: Parts) -> None:
    """Bring the paper accounts forward to what is known of the market by now."""
    now = parts.now()
    exchanges, time = _market(parts, now)

    def tell(events: Sequence[Event]) -> None:
        parts.life.beat("trading on paper")
        if parts.teller is not None:
            parts.teller.traded(events)

    bring_forward(parts.engine, exchanges=exchanges, time=time, now=now, tell=tell)


def _market(parts: Parts, now: datetime) -> tuple[tuple[str, ...], MarketTime]:
    settings = parts.settings
    source = Source(settings.simulated, tuple(settings.feed.exchanges), settings.state_dir)
    return source.exchanges, source.time(ms_of(now))


def main() -> None:
    """Take work until asked to drain."""
    parts = open_parts("strategy-worker")
    redis_url = parts.settings.redis_url
    serve(replace(parts, teller=Teller(RedisCache(redis_url), MarketCache(redis_url))), "strategy")


if __name__ == "__main__":
    main()
