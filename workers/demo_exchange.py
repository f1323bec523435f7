"""The process "demo-exchange": a generated market behind the protocols of Binance, OKX and HTX, on this machine alone."""

import asyncio
import contextlib
import gc
import logging
import os
import time

from app.domain.market import market_clock
from app.domain.market.market_clock import MarketClock
from app.errors import Misconfigured
from app.exchanges.demo.labels_file import NAME, LabelsFile
from app.exchanges.demo.market import Market
from app.exchanges.demo.server import HOST, DemoServer
from app.host import lifecycle, market_clock_file
from app.settings import Settings, load

log = logging.getLogger(__name__)
_TURN_S = 1.0


def now_ms() -> int:
    """Our clock."""
    return time.time_ns() // 1_000_000


def wound_clock(settings: Settings, real_ms: int) -> MarketClock:
    """The market's clock as it runs on from the last start, written where the whole fleet reads it."""
    path = market_clock_file.path_in(settings.state_dir)
    clock = market_clock.resumed(market_clock_file.read(path), settings.demo.speed, real_ms)
    market_clock_file.write(path, clock)
    return clock


async def serve(life: lifecycle.Life, settings: Settings) -> None:
    """Serve until asked to drain. Each turn of this loop is the heartbeat, so a loop that feeds block is seen."""
    clock = wound_clock(settings, now_ms())
    market = Market(settings.demo.seed, settings.demo.symbols)
    labels = LabelsFile(settings.state_dir / "demo" / NAME, market, clock.now_ms(now_ms()))
    server = DemoServer(market, lambda: clock.now_ms(now_ms()), now_ms, lambda: clock.speed)
    try:
        port = await server.start(settings.demo.port)
    except OSError as error:
        raise Misconfigured(
            f"The demo exchange cannot listen on port {settings.demo.port}: {error.strerror}.",
            cure="Stop what listens there, or set demo.port to a free one.",
        ) from error
    log.info("listening", extra={"host": HOST, "port": port, "seed": market.seed, "speed": clock.speed})
    gc.collect()
    gc.freeze()
    try:
        while not life.draining.is_set():
            labels.tell(clock.now_ms(now_ms()))
            life.beat(f"{len(server.hub.clients)} clients, {len(server.hub.streams)} streams")
            await asyncio.sleep(_TURN_S)
    finally:
        await server.stop()


def main() -> None:
    """Read the settings and serve."""
    settings = load(os.environ)
    life = lifecycle.begin("demo-exchange", settings.run_dir, level=settings.log.level)
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(serve(life, settings))


if __name__ == "__main__":
    main()
