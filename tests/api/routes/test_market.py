"""What the market says: from Redis, else from rows; with its age by the market's time, and honest about what is old or unknown."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest
import redis
from flask.testing import FlaskClient

from api.deps import Deps
from api.main import create_app
from app.cache.market import MarketCache, cached
from app.domain.market.timeframes import MINUTE_MS
from app.domain.market.values import Candle
from app.host import feed_report, market_clock_file
from app.settings import Feed
from app.storage import flow, klines, open_interest, tickers
from app.storage.database import transaction
from app.storage.flow import Flow
from app.storage.open_interest import OpenInterestRow
from app.usecases import read_market
from tests.api.market import (
    BTC,
    EXCHANGES,
    MARKET_MS,
    NEWEST_MS,
    NOW_MS,
    cached_book,
    kline,
    market_lived_in,
    report,
    set_clock,
    ticker,
)

FLOW_FIGURES = (
    "open",
    "high",
    "low",
    "close",
    "buy_quote",
    "sell_quote",
    "trades",
    "largest_quote",
    "first_id",
    "last_id",
)


@pytest.fixture
def pairs(deps: Deps) -> dict[str, int]:
    """A market with rows; the ids of the first exchange's pairs."""
    return market_lived_in(deps)


@pytest.fixture
def cache(valkey_url: str) -> Iterator[MarketCache]:
    cache = MarketCache(valkey_url)
    yield cache
    cache.close()


def data(client: FlaskClient, path: str) -> Any:
    answer = client.get(f"/api/v1/{path}")
    assert answer.status_code == 200, answer.get_json()
    return answer.get_json()["data"]


@pytest.mark.usefixtures("pairs")
def test_a_ticker_comes_from_redis_with_its_age_by_the_markets_time(client: FlaskClient, cache: MarketCache):
    cache.put_tickers([ticker(price=43250.5, bid=43249.5)])

    found = data(client, "market/ticker?symbol=BTCUSDT")

    assert (found["exchange"], found["symbol"], found["status"]) == (EXCHANGES[0], BTC, "ok")
    assert (found["age_ms"], found["price"], found["bid"]) == (200, 43250.5, 43249.5)
    assert found["funding_rate"] is None
    assert data(client, "ticker/BTCUSDT") == found


@pytest.mark.usefixtures("pairs")
def test_without_redis_a_ticker_comes_from_its_row(client: FlaskClient):
    found = data(client, "market/ticker?symbol=BTCUSDT")

    assert (found["price"], found["funding_rate"], found["bid"]) == (100.0, 0.0001, None)
    assert found["status"] == "ok"


def test_of_many_tickers_only_those_are_read_from_rows_that_redis_does_not_hold(
    client: FlaskClient, pairs: dict[str, int], deps: Deps, cache: MarketCache, monkeypatch: pytest.MonkeyPatch
):
    asked: list[tuple[int, ...]] = []
    latest = tickers.latest
    monkeypatch.setattr(
        tickers, "latest", lambda db, *, pair_ids: asked.append(tuple(pair_ids)) or latest(db, pair_ids=pair_ids)
    )
    path = f"market/tickers?exchange={EXCHANGES[0]}"
    cache.put_tickers([ticker(price=43250.5)])
    one_missing = data(client, path)["tickers"]
    cache.put_tickers([ticker(symbol="ETH/USDT:USDT", price=2.5)])
    none_missing = data(client, path)["tickers"]

    assert asked == [(pairs["ETH/USDT:USDT"],)]
    assert [one["price"] for one in one_missing] == [43250.5, None]
    assert [one["price"] for one in none_missing] == [43250.5, 2.5]


@pytest.mark.usefixtures("pairs")
def test_no_more_rows_than_an_answer_may_have_are_looked_for(client: FlaskClient, monkeypatch: pytest.MonkeyPatch):
    assert data(client, "market/tickers")["tickers"][0]["price"] == 100.0
    monkeypatch.setattr(read_market, "MOST_ROWS", 0)

    assert {one["status"] for one in data(client, "market/tickers")["tickers"]} == {"warming"}


@pytest.mark.usefixtures("pairs")
def test_a_ticker_that_never_came_is_warming_and_has_no_numbers(client: FlaskClient):
    found = data(client, "market/ticker?symbol=ETHUSDT")

    assert (found["status"], found["age_ms"], found["price"]) == ("warming", None, None)


@pytest.mark.usefixtures("pairs")
def test_an_old_ticker_is_stale_and_one_of_a_fast_market_is_old_later(
    client: FlaskClient, deps: Deps, cache: MarketCache
):
    cache.put_tickers([ticker(age_ms=120_000, price=1.0)])

    assert data(client, "market/ticker?symbol=BTCUSDT")["status"] == "stale"
    set_clock(deps, speed=60)
    assert data(client, "market/ticker?symbol=BTCUSDT")["status"] == "ok"


@pytest.mark.usefixtures("pairs")
def test_while_nobody_knows_the_markets_time_nothing_is_fresh(client: FlaskClient, deps: Deps, cache: MarketCache):
    cache.put_tickers([ticker(price=1.0)])
    (deps.settings.state_dir / "demo" / "clock.json").unlink()

    found = data(client, "market/ticker?symbol=BTCUSDT")

    assert (found["status"], found["age_ms"], found["price"]) == ("stale", None, 1.0)


@pytest.mark.usefixtures("pairs")
def test_while_the_first_exchange_is_silent_the_next_one_says_the_price(client: FlaskClient, cache: MarketCache):
    cache.put_tickers([ticker(age_ms=61_000, price=1.0), ticker(EXCHANGES[2], price=3.0)])
    found = data(client, "market/ticker?symbol=BTCUSDT")
    assert (found["exchange"], found["price"], found["status"]) == (EXCHANGES[2], 3.0, "ok")

    named = data(client, f"market/ticker?symbol=BTCUSDT&exchange={EXCHANGES[0]}")
    assert (named["exchange"], named["price"]) == (EXCHANGES[0], 1.0)
    cache.put_tickers([ticker(price=1.5)])
    assert data(client, "market/ticker?symbol=BTCUSDT")["price"] == 1.5


@pytest.mark.usefixtures("pairs")
def test_while_all_are_silent_the_first_one_says_its_last_price_and_its_age(client: FlaskClient, cache: MarketCache):
    cache.put_tickers([ticker(age_ms=95_000, price=1.0), ticker(EXCHANGES[1], age_ms=94_000, price=2.0)])
    found = data(client, "market/ticker?symbol=BTCUSDT")

    assert (found["exchange"], found["price"], found["status"], found["age_ms"]) == (EXCHANGES[0], 1.0, "stale", 95_000)


@pytest.mark.usefixtures("pairs")
def test_tickers_are_those_of_every_pair_and_exchange(client: FlaskClient, cache: MarketCache):
    cache.put_tickers([ticker(EXCHANGES[1], price=2.0)])

    found = data(client, "market/tickers")["tickers"]
    of_one = data(client, "market/tickers?symbol=BTC-USDT&exchange=demo-okx")["tickers"]

    assert len(found) == 6
    assert [(one["exchange"], one["symbol"], one["price"]) for one in of_one] == [("demo-okx", BTC, 2.0)]


@pytest.mark.usefixtures("pairs")
def test_candles_come_from_rows_oldest_first_and_then_from_redis(client: FlaskClient, valkey_url: str):
    first = data(client, "market/klines?symbol=BTCUSDT&timeframe=1m&limit=5")
    with redis.Redis.from_url(valkey_url) as direct:
        filled = direct.llen(f"klines:{EXCHANGES[0]}:BTC/USDT%3AUSDT:1m")
    second = data(client, "klines/BTCUSDT?timeframe=1min&limit=5")

    assert [one["timestamp"] for one in first["klines"]] == [NEWEST_MS - back * MINUTE_MS for back in range(4, -1, -1)]
    assert (first["status"], first["klines"][0]["quote_volume"], first["klines"][0]["trades"]) == ("ok", None, 3)
    assert filled == 100
    assert second == first


def test_a_list_in_redis_that_misses_the_newest_candle_is_not_believed(
    client: FlaskClient, pairs: dict[str, int], deps: Deps, cache: MarketCache
):
    old = [
        Candle(
            EXCHANGES[0], BTC, NEWEST_MS - back * MINUTE_MS, 0, timeframe="1m", open=1, high=1, low=1, close=1, volume=1
        )
        for back in range(3, 103)
    ]
    cache.fill_candles(EXCHANGES[0], BTC, "1m", [cached(one) for one in old])
    with transaction(deps.engine) as db:
        klines.store(db, [kline(pairs[BTC], NEWEST_MS, close=101.0)])

    found = data(client, "market/klines?symbol=BTCUSDT&timeframe=1m&limit=3")

    assert (found["status"], found["klines"][-1]["close"]) == ("ok", 101.0)


@pytest.mark.usefixtures("pairs")
def test_more_candles_than_redis_holds_and_a_stretch_of_time_come_from_rows(client: FlaskClient):
    assert len(data(client, "market/klines?symbol=BTCUSDT&timeframe=1m&limit=150")["klines"]) == 150
    since, until = NEWEST_MS - 10 * MINUTE_MS, NEWEST_MS - 5 * MINUTE_MS
    found = data(client, f"market/klines?symbol=BTCUSDT&timeframe=1m&since={since}&until={until}")

    assert [one["timestamp"] for one in found["klines"]] == list(range(since, until, MINUTE_MS))
    assert found["status"] == "ok"


def test_a_hole_in_the_candles_is_said(client: FlaskClient, pairs: dict[str, int], deps: Deps):
    with transaction(deps.engine) as db:
        klines.store(db, [kline(pairs["ETH/USDT:USDT"], NEWEST_MS - back * MINUTE_MS) for back in (0, 1, 3)])

    assert data(client, "market/klines?symbol=ETHUSDT&timeframe=1m")["status"] == "gap"


@pytest.mark.usefixtures("pairs")
@pytest.mark.parametrize(
    ("since", "until", "status"),
    [
        (149, None, "ok"),
        (149.5, None, "ok"),
        (150, None, "gap"),
        (200, 100, "gap"),
        (149, 100, "ok"),
        (None, 140, "ok"),
        (10, -60, "ok"),
    ],
)
def test_a_stretch_whose_beginning_is_missing_has_a_gap(
    client: FlaskClient, since: float | None, until: float | None, status: str
):
    edges = {"since": since, "until": until}
    asked = "".join(f"&{n}={NEWEST_MS - int(back * MINUTE_MS)}" for n, back in edges.items() if back is not None)

    assert data(client, f"market/klines?symbol=BTCUSDT&timeframe=1m&limit=200{asked}")["status"] == status


def test_a_stretch_whose_end_is_missing_has_a_gap_and_one_that_the_limit_cut_has_not(
    client: FlaskClient, pairs: dict[str, int], deps: Deps
):
    with transaction(deps.engine) as db:
        klines.store(db, [kline(pairs["ETH/USDT:USDT"], NEWEST_MS - back * MINUTE_MS) for back in range(20, 10, -1)])
    path = f"market/klines?symbol=ETHUSDT&timeframe=1m&since={NEWEST_MS - 20 * MINUTE_MS}"

    assert data(client, f"{path}&until={NEWEST_MS - 10 * MINUTE_MS}")["status"] == "ok"
    assert data(client, f"{path}&until={NEWEST_MS - 9 * MINUTE_MS}")["status"] == "gap"
    assert data(client, f"{path}&until={NEWEST_MS}&limit=5")["status"] == "ok"


@pytest.mark.parametrize("edge", ["", f"&since={NEWEST_MS}"])
def test_a_timeframe_that_nobody_collects_is_refused_unless_it_was_imported(
    client: FlaskClient, pairs: dict[str, int], deps: Deps, edge: str
):
    path = f"/api/v1/market/klines?symbol=BTCUSDT&timeframe=30m{edge}"
    refused = client.get(path)
    with transaction(deps.engine) as db:
        old = replace(kline(pairs[BTC], NEWEST_MS - NEWEST_MS % (30 * MINUTE_MS)), timeframe="30m", source="import")
        klines.store(db, [old])

    assert refused.status_code == 400
    assert "1m, 5m, 15m, 1h, 4h, 1d" in refused.get_json()["error"]["what_to_do"]
    assert client.get(path).status_code == 200
    assert client.get("/api/v1/market/klines?symbol=BTCUSDT&timeframe=4h").status_code == 200


def test_candles_that_end_long_ago_are_stale_and_none_are_warming(
    client: FlaskClient, pairs: dict[str, int], deps: Deps
):
    assert data(client, "market/klines?symbol=ETHUSDT&timeframe=1m")["status"] == "warming"
    with transaction(deps.engine) as db:
        klines.store(db, [kline(pairs["ETH/USDT:USDT"], NEWEST_MS - 5 * MINUTE_MS)])

    found = data(client, "market/klines?symbol=ETHUSDT&timeframe=1m")

    assert found["status"] == "stale"
    assert found["age_ms"] == MARKET_MS - (NEWEST_MS - 4 * MINUTE_MS)


@pytest.mark.usefixtures("pairs")
def test_a_book_comes_from_redis_and_says_whether_it_can_be_trusted(client: FlaskClient, cache: MarketCache):
    cache.put_books([cached_book(), cached_book(EXCHANGES[1], status="gap")])

    found = data(client, "market/orderbook?symbol=BTCUSDT&limit=2")

    assert (found["status"], found["age_ms"]) == ("ok", 90)
    assert (found["bids"], found["asks"]) == ([[100.0, 1.0], [99.0, 1.0]], [[101.0, 2.0], [102.0, 2.0]])
    assert found["spread_percent"] == pytest.approx(100 / 100.5)
    assert data(client, "orderbook/BTCUSDT?exchange=demo-okx")["status"] == "gap"


@pytest.mark.usefixtures("pairs")
def test_a_book_that_was_well_when_it_was_written_is_stale_soon_after(client: FlaskClient, cache: MarketCache):
    cache.put_books([cached_book(age_ms=5_001), cached_book(EXCHANGES[1], age_ms=5_000)])

    assert data(client, "orderbook/BTCUSDT")["status"] == "stale"
    assert data(client, "orderbook/BTCUSDT?exchange=demo-okx")["status"] == "ok"


@pytest.mark.usefixtures("pairs")
def test_a_book_that_redis_does_not_hold_is_stale_and_has_only_its_stored_top(client: FlaskClient):
    found = data(client, "market/orderbook?symbol=BTCUSDT")

    assert (found["status"], found["bid"], found["ask"], found["bids"]) == ("stale", 99.0, 101.0, [])
    assert data(client, "market/orderbook?symbol=ETHUSDT")["status"] == "warming"


@pytest.mark.usefixtures("pairs")
def test_funding_is_the_present_rate_and_those_that_were_settled(client: FlaskClient):
    found = data(client, "market/funding?symbol=BTCUSDT")

    assert (found["rate"], found["status"], found["history"][0]["rate"]) == (0.0001, "ok", 0.0002)
    nothing = data(client, "market/funding?symbol=ETHUSDT")
    assert (nothing["rate"], nothing["status"], nothing["history"]) == (None, "warming", [])


@pytest.mark.usefixtures("pairs")
def test_open_interest_has_a_change_only_where_there_was_something_to_compare_with(client: FlaskClient):
    found = data(client, "market/open-interest?symbol=BTCUSDT")

    assert (found["quantity"], found["change_percent"], found["status"]) == (55.0, 10.0, "ok")
    assert [(point["change_percent"], point["status"]) for point in found["history"]] == [
        (10.0, "ok"),
        (None, "warming"),
    ]
    assert (found["change_15m_percent"], found["change_15m_status"]) == (None, "warming")
    assert data(client, "market/open-interest?symbol=ETHUSDT")["change_percent"] is None


@pytest.mark.parametrize(
    ("minutes", "change", "status"),
    [
        ([(15, 50.0), (1, 54.0), (0, 55.0)], 10.0, "ok"),
        ([(17, 50.0), (16, 44.0), (0, 55.0)], 25.0, "ok"),
        ([(30, 50.0), (1, 54.0), (0, 55.0)], None, "gap"),
        ([(14, 50.0), (0, 55.0)], 10.0, "ok"),
        ([(10, 50.0), (0, 55.0)], None, "warming"),
        ([(25, 50.0), (10, 55.0)], 10.0, "stale"),
    ],
)
def test_open_interest_has_its_change_over_a_quarter_of_an_hour_by_any_timeframe(
    client: FlaskClient,
    pairs: dict[str, int],
    deps: Deps,
    minutes: list[tuple[int, float]],
    change: float | None,
    status: str,
):
    rows = [OpenInterestRow(pairs["ETH/USDT:USDT"], "1m", NEWEST_MS - ago * MINUTE_MS, value) for ago, value in minutes]
    with transaction(deps.engine) as db:
        open_interest.store(db, rows)

    for timeframe in ("1m", "1h"):
        found = data(client, f"market/open-interest?symbol=ETHUSDT&timeframe={timeframe}&limit=1")

        assert found["change_15m_percent"] == (None if change is None else pytest.approx(change))
        assert found["change_15m_status"] == status


@pytest.mark.usefixtures("pairs")
def test_open_interest_is_refused_by_a_timeframe_in_which_nobody_writes_it(client: FlaskClient):
    answer = client.get("/api/v1/market/open-interest?symbol=BTCUSDT&timeframe=5m")

    assert answer.status_code == 400
    assert "1m or 1h" in answer.get_json()["error"]["what_to_do"]


def stored_flow(deps: Deps, pair_id: int, *minutes: tuple[int, float, float, str]) -> None:
    """Minutes as the feed stores them: how long before the newest closed one, bought, sold, status."""
    with transaction(deps.engine) as db:
        for back, buy, sell, status in minutes:
            figures = dict.fromkeys(FLOW_FIGURES) | {"buy_volume": buy, "sell_volume": sell}
            row = Flow(pair_id, "1m", NEWEST_MS - back * MINUTE_MS, **figures, status=status)  # type: ignore[arg-type]
            flow.store(db, [row])


def test_cvd_is_what_takers_bought_less_what_they_sold_minute_by_minute(
    client: FlaskClient, pairs: dict[str, int], deps: Deps
):
    stored_flow(deps, pairs[BTC], *((back, 3.0, 1.0, "ok") for back in range(20, 2, -1)), (2, 1.0, 4.0, "repaired"))
    stored_flow(deps, pairs[BTC], (1, 1.0, 0.0, "ok"), (0, 2.0, 1.5, "ok"))

    found = data(client, "market/cvd?symbol=BTCUSDT&window_minutes=5&limit=3")

    assert (found["status"], found["value"], found["window_minutes"]) == ("ok", 2 - 3 + 1 + 0.5, 5)
    assert found["age_ms"] == MARKET_MS - NEWEST_MS
    assert [(one["delta"], one["cumulative"], one["status"]) for one in found["series"]] == [
        (-3.0, -1.0, "ok"),
        (1.0, 0.0, "ok"),
        (0.5, 0.5, "ok"),
    ]
    assert [one["open_time"] for one in found["series"]] == [NEWEST_MS - back * MINUTE_MS for back in (2, 1, 0)]


def test_a_minute_without_a_trade_is_known_by_its_candle_and_one_that_nobody_saw_is_a_gap(
    client: FlaskClient, pairs: dict[str, int], deps: Deps
):
    eth = pairs["ETH/USDT:USDT"]
    stored_flow(deps, eth, *((back, 2.0, 1.0, "ok") for back in range(20, -1, -1) if back != 2))
    before = data(client, "market/cvd?symbol=ETHUSDT&window_minutes=5")
    with transaction(deps.engine) as db:
        klines.store(db, [replace(kline(eth, NEWEST_MS - 2 * MINUTE_MS), volume=0.0)])

    after = data(client, "market/cvd?symbol=ETHUSDT&window_minutes=5")

    assert (before["status"], before["value"], after["status"], after["value"]) == ("gap", 3.0, "ok", 3.0)
    assert [one["status"] for one in before["series"]] == ["ok", "gap", "ok", "ok"]
    assert (before["series"][1]["buy"], after["series"][1]["buy"]) == (None, 0.0)


def test_a_quiet_market_is_not_old_while_its_candles_come(client: FlaskClient, pairs: dict[str, int], deps: Deps):
    eth = pairs["ETH/USDT:USDT"]
    stored_flow(deps, eth, *((back, 2.0, 1.0, "ok") for back in range(60, 30, -1)))
    assert data(client, "market/cvd?symbol=ETHUSDT")["status"] == "stale"
    with transaction(deps.engine) as db:
        klines.store(db, [replace(kline(eth, NEWEST_MS - back * MINUTE_MS), volume=0.0) for back in range(31)])

    assert data(client, "market/cvd?symbol=ETHUSDT&window_minutes=10")["status"] == "ok"
    assert data(client, "market/cvd?symbol=ETHUSDT&window_minutes=40")["value"] == 8.0


def test_lost_trades_a_young_series_and_an_old_one_are_said(client: FlaskClient, pairs: dict[str, int], deps: Deps):
    assert data(client, "market/cvd?symbol=ETHUSDT")["status"] == "warming"
    stored_flow(deps, pairs[BTC], (2, 2.0, 1.0, "ok"), (1, 2.0, 1.0, "gap"), (0, 2.0, 1.0, "ok"))
    lost = data(client, "market/cvd?symbol=BTCUSDT&window_minutes=3")
    stored_flow(deps, pairs[BTC], (1, 2.0, 1.0, "ok"))
    young = data(client, "market/cvd?symbol=BTCUSDT")
    stored_flow(deps, pairs["ETH/USDT:USDT"], *((back, 2.0, 1.0, "ok") for back in range(300, 100, -1)))
    old = data(client, "market/cvd?symbol=ETHUSDT")

    assert (lost["status"], [one["status"] for one in lost["series"]]) == ("gap", ["gap", "ok"])
    assert (young["status"], young["value"]) == ("warming", 3.0)
    assert (old["status"], old["age_ms"]) == ("stale", MARKET_MS - NEWEST_MS + 101 * MINUTE_MS)


def test_cvd_is_never_well_while_nobody_knows_what_time_it_is_and_a_fast_market_is_old_later(
    client: FlaskClient, pairs: dict[str, int], deps: Deps
):
    stored_flow(deps, pairs[BTC], *((back, 3.0, 1.0, "ok") for back in range(40, 9, -1)))
    path = "market/cvd?symbol=BTCUSDT&window_minutes=5"
    slow = data(client, path)["status"]
    set_clock(deps, speed=60)
    fast = data(client, path)
    market_clock_file.path_in(deps.settings.state_dir).unlink()
    unknown = data(client, path)

    assert (slow, fast["status"], unknown["status"]) == ("stale", "ok", "stale")
    assert unknown["age_ms"] is None


@pytest.mark.usefixtures("pairs")
def test_exchanges_show_what_the_feed_says_of_them(client: FlaskClient):
    found = data(client, "market/exchanges")

    assert (found["feed"], found["age_ms"]) == ("ok", 400)
    assert [one["name"] for one in found["exchanges"]] == list(EXCHANGES)
    first, second, _ = found["exchanges"]
    assert (first["state"], first["connections"], first["latency_ms_p50"]) == ("running", 1, 12.0)
    assert first["symbols"] == [BTC, "ETH/USDT:USDT"]
    budget = first["budgets"][0]
    assert (budget["used"], budget["limit"], budget["banned_until_ms"]) == (120, 2_400, NOW_MS - 400 + 60_000)
    assert (second["state"], second["connections"], second["budgets"]) == ("unknown", None, [])


def test_a_feed_that_is_silent_or_never_spoke_is_said_to_be(client: FlaskClient, deps: Deps):
    assert data(client, "market/exchanges")["feed"] == "unknown"
    feed_report.write(deps.run_dir, report(at_ms=NOW_MS - 60_000))

    found = data(client, "market/exchanges")

    assert (found["feed"], found["age_ms"]) == ("stale", 60_000)


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("market/ticker?symbol=BTCUSDT&exchange=binance", 400, "demo-binance, demo-okx, demo-htx"),
        ("market/ticker?symbol=SOLUSDT", 404, ""),
        ("market/ticker", 400, ""),
        ("market/klines?symbol=BTCUSDT&timeframe=7m", 400, "1m"),
        ("market/klines?symbol=BTCUSDT&limit=0", 400, ""),
        ("market/orderbook?symbol=BTCUSDT&limit=101", 400, ""),
        ("market/stream?topics=weather", 400, "ticker"),
        ("market/stream?symbols=!!", 400, "BTCUSDT"),
        ("market/stream?exchange=okx", 400, "demo-okx"),
    ],
)
def test_what_cannot_be_answered_says_what_can(deps: Deps, client: FlaskClient, path: str, status: int, said: str):
    market_lived_in(deps)

    answer = client.get(f"/api/v1/{path}")

    assert answer.status_code == status
    assert said in answer.get_json()["error"]["what_to_do"]


@pytest.mark.parametrize(
    "path", ["market/ticker?symbol=", "klines/", "market/open-interest?symbol=", "market/cvd?symbol="]
)
def test_an_exchange_that_was_never_reached_is_unavailable_and_has_no_wrong_names(
    deps: Deps, client: FlaskClient, path: str
):
    set_clock(deps)
    (one,) = report().collectors
    failing = msgspec.structs.replace(one, state="failing", note="no answer", symbols=())
    feed_report.write(deps.run_dir, msgspec.structs.replace(report(), collectors=(failing,)))

    answer = client.get(f"/api/v1/{path}BTCUSDT")

    assert answer.status_code == 503
    assert answer.get_json()["error"]["message"] == "demo-binance has not been reached yet: no answer."


def test_a_live_source_has_its_own_exchanges_and_the_first_is_meant(deps: Deps):
    settings = msgspec.structs.replace(deps.settings, feed=Feed(exchanges=("okx", "binance")))
    client = create_app(replace(deps, settings=settings)).test_client()

    found = data(client, "market/exchanges")["exchanges"]

    assert [one["name"] for one in found] == ["okx", "binance"]
    assert client.get("/api/v1/market/ticker?symbol=BTCUSDT&exchange=demo-okx").status_code == 400
    nobody = msgspec.structs.replace(deps.settings, feed=Feed(exchanges=()))
    assert create_app(replace(deps, settings=nobody)).test_client().get("/api/v1/ticker/BTCUSDT").status_code == 400
