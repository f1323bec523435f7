"""The adapter, the connection and the REST door together, over real sockets, with the demo's Binance at the other end."""

import asyncio
import time
from pathlib import Path

from app.domain.market.values import BookTop, Candle, Depth, Event, Mark, Ticker, Trade
from app.exchanges.binance.exchange import Binance
from app.exchanges.binance.places import Urls
from app.exchanges.connection import Connection
from app.exchanges.demo.addresses import urls_for
from app.exchanges.demo.market import Market
from app.exchanges.demo.server import DemoServer
from app.exchanges.exchange import CHANNELS, Wanted
from app.exchanges.rest import Rest
from app.exchanges.throttle import Throttle
from tests.app.exchanges.binance.wire import PERPETUAL, SPOT, every_call

PATIENCE_S = 60
SPOKEN = {(kind, symbol) for kind in (Trade, Candle, Depth, BookTop, Ticker) for symbol in (PERPETUAL, SPOT)}


def now_ms() -> int:
    return int(time.time() * 1000)


async def talk(folder: Path) -> tuple[list[int], list[Event], list[int]]:
    """How many values each call brought, what was heard until every kind was, and how many messages were unreadable."""
    server = DemoServer(Market(1), now_ms, now_ms)
    demo = Binance("demo-binance", Urls(**urls_for(await server.start(0))["binance"]))
    rest = Rest(demo, Throttle(demo.name, demo.limits, folder, now_ms), now_ms=now_ms)
    heard: list[Event] = []
    try:
        counts = [len(await rest.call(call)) for call in every_call(demo, now_ms() - 3_600_000)]
        wanted = [Wanted(what, symbol, "1m") for what in CHANNELS for symbol in (PERPETUAL, SPOT)]
        connections = [Connection(session, heard.extend, now_ms=now_ms) for session in demo.sessions(wanted)]
        listening = [asyncio.create_task(connection.run()) for connection in connections]
        async with asyncio.timeout(PATIENCE_S):
            while not {*SPOKEN, (Mark, PERPETUAL)} <= {(type(event), event.symbol) for event in heard}:
                await asyncio.sleep(0.02)
        for task in listening:
            task.cancel()
        await asyncio.gather(*listening, return_exceptions=True)
    finally:
        await rest.close()
        await server.stop()
    return counts, heard, [connection.state().unreadable for connection in connections]


def test_all_that_is_asked_of_the_demo_is_answered_and_all_that_it_says_is_understood(tmp_path: Path):
    counts, heard, unreadable = asyncio.run(talk(tmp_path))
    assert sum(count > 0 for count in counts) >= len(counts) - 1, "in an hour no funding may have been settled"
    assert {event.exchange for event in heard} == {"demo-binance"}
    assert unreadable == [0, 0, 0]
    followed: dict[str, int] = {}
    for event in heard:
        if isinstance(event, Depth) and event.symbol == PERPETUAL:
            assert event.previous_id == followed.get(event.symbol, event.previous_id)
            followed[event.symbol] = event.last_id
