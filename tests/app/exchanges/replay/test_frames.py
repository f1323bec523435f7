import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from app.domain.market.values import Depth, Event
from app.errors import CorruptData, InvalidInput
from app.exchanges.exchange import RestCall
from app.exchanges.replay import frames
from app.exchanges.replay.frames import Frame, Moment, Played, answers_of, replay, through, together
from tests.app.exchanges.doors import PlayedSession, top


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.s = 0.0
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 6))
        self.s += seconds

    def monotonic(self) -> float:
        return self.s


def said(time_ms: int, message: str = "1") -> Frame:
    return Frame(time_ms, "said", "ws://played", message)


def play(moments: Iterable[Moment], **settings: Any) -> tuple[Played, list[Event], list[float]]:
    clock, events = Time(), list[Event]()
    session = PlayedSession("ws://played")
    settings = {"receive": session.receive, "sleep": clock.sleep, "monotonic": clock.monotonic, **settings}
    return asyncio.run(replay(moments, events.extend, **settings)), events, clock.slept


def test_frames_go_through_the_session_and_values_as_they_are():
    played, events, slept = play([said(1_000, "5"), top(6)])

    assert [event.bid for event in events] == [5, 6]
    assert events[0].received_ms == 1_000
    assert (played.moments, played.events, played.from_ms, played.to_ms) == (2, 2, 1_000, 0)
    assert slept == []


def test_at_a_speed_the_pauses_are_those_of_the_recording():
    assert play([said(1_000), said(1_500), said(3_500)], speed=1)[2] == [0.5, 2]
    assert play([said(1_000), said(1_500), said(3_500)], speed=10)[2] == [0.05, 0.2]


def test_a_long_silence_is_cut_short_and_what_follows_keeps_its_pace():
    assert play([said(1_000), said(10**9), said(10**9 + 1_000)], speed=1)[2] == [60, 1]


def test_garbage_is_counted_and_ends_nothing():
    played, events, _ = play([said(1, "garbage"), said(2, "2"), said(3, "refused")])

    assert (played.unreadable, played.events, played.example) == (2, 1, "This is no number.")
    assert [event.bid for event in events] == [2]


def test_what_was_asked_and_what_nobody_reads_is_skipped():
    played, _, _ = play(
        [Frame(1, "asked", "ws://played", "subscribe"), Frame(2, "opened", ""), Frame(3, "answered", "")]
    )

    assert (played.skipped, played.events) == (3, 0)


def test_the_event_loop_has_its_turn(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(frames, "AT_ONCE", 2)

    assert play([said(1)] * 5)[2] == [0, 0]


def test_of_several_sessions_the_one_that_understands_takes_it():
    class Picky(PlayedSession):
        def receive(self, message: str | bytes, received_ms: int) -> list[Event]:
            if message != "7":
                raise CorruptData("not mine")
            return [top(7, received_ms)]

    receive = through([Picky("ws://a"), PlayedSession("ws://b")])

    assert [receive(text, 0)[0].bid for text in ("1", "7", "7", "2")] == [1, 7, 7, 2]
    with pytest.raises(CorruptData):
        receive("garbage", 0)
    with pytest.raises(InvalidInput):
        through([])


def test_an_answer_with_a_book_is_read_by_the_exchange():
    class Exchange:
        def book(self, symbol: str) -> RestCall:
            def read(said: Any, at_ms: int) -> list[Depth]:
                return [
                    Depth("played", symbol, 0, at_ms, last_id=said["lastUpdateId"], bids=[], asks=[], snapshot=True)
                ]

            return RestCall("book", (), "spot", 1, read)

    answer = answers_of(Exchange())  # type: ignore[arg-type]
    url = "https://fapi.binance.com/fapi/v1/depth?symbol=BTCUSDT&limit=1000"
    [future] = answer(Frame(5, "answered", url, '{"lastUpdateId":7}'))
    [spot] = answer(Frame(5, "answered", "https://api.binance.com/api/v3/depth?symbol=NKNUSDT", '{"lastUpdateId":8}'))

    assert (future.symbol, future.last_id, future.received_ms) == ("BTC/USDT:USDT", 7, 5)
    assert spot.symbol == "NKN/USDT"
    with pytest.raises(CorruptData):
        answer(Frame(5, "answered", url, "<html>"))
    with pytest.raises(CorruptData):
        answer(Frame(5, "answered", "https://api.binance.com/api/v3/exchangeInfo", "{}"))


def test_several_recordings_become_one():
    merged = together([said(1, "a"), said(5, "b")], [said(3, "c")])

    assert [moment.message for moment in merged] == ["a", "c", "b"]  # type: ignore[union-attr]
