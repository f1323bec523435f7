"""What waits to be written: replaced by what is newer, taken back under it, halved down to one row, let go in order of worth."""

from datetime import UTC, datetime

from app.domain.market.timeframes import MINUTE_MS
from app.storage.refused import RefusedMessage
from app.storage.symbols import MarketNote
from app.storage.tickers import TickerRow
from app.usecases.harvest import MOST_INSPECTED, MOST_REFUSED, Harvest, Inspected, Key, kline
from tests.app.usecases.market_values import EXCHANGE, NOON_MS, candle

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def tickers(*minutes: int, price: float = 1.0) -> dict[Key, TickerRow]:
    rows = [TickerRow(7, "1m", NOON_MS + minute * MINUTE_MS, price=price) for minute in minutes]
    return {(row.pair_id, row.timeframe, row.open_time): row for row in rows}


def refused(count: int) -> list[RefusedMessage]:
    return [RefusedMessage(NOW, EXCHANGE, "trades", "price", None, str(number)) for number in range(count)]


def test_what_is_newer_stands_over_what_comes_back_and_the_oldest_stand_first():
    newer = Harvest(tickers=tickers(1, 2, price=2.0))
    lost = newer.put_under(Harvest(tickers=tickers(0, 1)), 100, {})

    assert lost == 0
    assert [(key[2] - NOON_MS, row.price) for key, row in newer.tickers.items()] == [
        (0, 1.0), (MINUTE_MS, 2.0), (2 * MINUTE_MS, 2.0),
    ]  # fmt: skip


def test_the_oldest_of_what_is_worth_least_go_first():
    first = kline(7, candle(), "stream", ())
    harvest = Harvest(tickers=tickers(0, 1, 2), klines={(7, "1m", NOON_MS): first})
    lost = harvest.put_under(Harvest(), 2, {})

    assert (lost, len(harvest.klines), list(harvest.tickers)) == (2, 1, [(7, "1m", NOON_MS + 2 * MINUTE_MS)])


def test_messages_for_inspection_are_bounded_and_the_newest_stay():
    harvest = Harvest()
    for message in refused(MOST_REFUSED + 5):
        harvest.refuse(message)
    full = len(harvest.refused)
    harvest.put_under(Harvest(refused=refused(3)), 10_000, {})

    assert (full, len(harvest.refused)) == (MOST_REFUSED, MOST_REFUSED)
    assert harvest.refused[-1].detail == str(MOST_REFUSED - 1)


def test_of_each_kind_of_refused_messages_some_a_minute_are_kept_however_many_writes_there_are():
    inspected = Inspected()

    def kept(exchange: str, reason: str, at_ms: int) -> int:
        return sum(inspected.allows(exchange, reason, at_ms + number) for number in range(1_000))

    assert kept(EXCHANGE, "price", NOON_MS) == MOST_INSPECTED
    assert kept(EXCHANGE, "price", NOON_MS + 30_000) == 0
    assert kept(EXCHANGE, "crossed", NOON_MS) == MOST_INSPECTED
    assert kept("okx", "price", NOON_MS) == MOST_INSPECTED
    assert kept(EXCHANGE, "price", NOON_MS + MINUTE_MS) == MOST_INSPECTED


def test_halves_are_the_whole_and_one_row_has_none():
    harvest = Harvest(tickers=tickers(*range(7)), refused=refused(4), notes={"BTC/USDT": MarketNote("BTC/USDT")})
    parts, singles = [harvest], 0
    while parts:
        halves = parts.pop().halves()
        if halves is None:
            singles += 1
        else:
            parts += [half for half in halves if len(half) + len(half.notes)]

    assert singles == 7 + 4 + 1
