"""The REST of OKX, as far as it is public, over the generated market."""

from collections.abc import Callable
from itertools import chain
from typing import Any

import msgspec

from app.domain.market.timeframes import length_ms, open_of
from app.errors import InvalidInput
from app.exchanges.demo.answers import Answer, Body, Query, Refused, Route, listed, whole
from app.exchanges.demo.limits import Budget, LimitReport, Refusal
from app.exchanges.demo.scene import Scene
from app.exchanges.demo.values import DemoCandle, DemoInstrument, DemoTicker, DemoTrade, Level, Venue
from app.exchanges.demo.written import Written, plain

BARS = {
    "1m": "1m", "3m": "3m", "5m": "5m", "15m": "15m", "30m": "30m", "1H": "1h", "2H": "2h", "4H": "4h",
    "6Hutc": "6h", "12Hutc": "12h", "1Dutc": "1d",
}  # fmt: skip
"""Those of Hong Kong's days (6H, 12H, 1D) are not generated."""
_PERIODS = {"5m": "5m", "15m": "15m", "30m": "30m", "1H": "1h", "2H": "2h", "4H": "4h", "6Hutc": "6h", "12Hutc": "12h",
            "1Dutc": "1d", "1D": "1d"}  # fmt: skip
_FUNDING_MS = 8 * 3_600_000
_WINDOW_MS = 2_000
_NEWEST_BARS = 1_440
encode = msgspec.json.encode


class OkxNames:
    """How OKX calls what it trades."""

    def __init__(self, scene: Scene) -> None:
        self.instruments = {
            f"{item.base}-{item.quote}" + ("-SWAP" if item.is_perpetual else ""): item
            for item in scene.market.instruments("okx")
        }
        self.ids = {item.symbol: name for name, item in self.instruments.items()}

    def symbol(self, name: str) -> str | None:
        """Our symbol, or None for one that is not traded."""
        found = self.instruments.get(name)
        return found.symbol if found else None


class OkxRest:
    """All public REST. Each address has a limit of its own, in two seconds."""

    venue: Venue = "okx"

    def __init__(self, scene: Scene, real_ms: Callable[[], int]) -> None:
        self._scene, self._market, self._real_ms = scene, scene.market, real_ms
        self.names = OkxNames(scene)
        self._routes = self._all_routes()
        self._budgets = {
            path: Budget(route.weight({}), real_ms, _WINDOW_MS, bans=False) for path, route in self._routes.items()
        }

    def answer(self, path: str, query: Query) -> Answer:
        """What it says to a GET below its prefix."""
        route = self._routes.get(path)
        if route is None:
            return Answer(404, encode({"code": "404", "data": [], "msg": "Not Found"}))
        refusal = self._refusal(path)
        if refusal is not None:
            body = encode({"code": "50011", "data": [], "msg": "Too Many Requests"})
            return Answer(429, body, {"Retry-After": str(refusal.retry_after_s)})
        try:
            said = route.body(query)
            head, tail = b'{"code":"0","data":', b',"msg":""}'
            return Answer(200, head + said + tail if isinstance(said, bytes) else chain((head,), said, (tail,)))
        except Refused as refused:
            return Answer(refused.status, encode({"code": refused.code, "data": [], "msg": refused.message}))
        except (ValueError, InvalidInput):
            return Answer(400, encode({"code": "51000", "data": [], "msg": "Parameter error"}))

    def limits(self) -> dict[str, LimitReport]:
        """How much of its limits is used; only those that were touched."""
        reports = {path: budget.report() for path, budget in self._budgets.items()}
        return {path: report for path, report in reports.items() if report.used or report.refused}

    def pardon(self) -> None:
        """Forget bans."""
        for budget in self._budgets.values():
            budget.pardon()

    def _refusal(self, path: str) -> Refusal | None:
        fault = self._scene.faults.living("429", "okx") or self._scene.faults.living("418", "okx")
        if fault is not None:
            fault.count("refused")
            return self._budgets[path].refuse(429, self._scene.faults.ban_s(fault))
        return self._budgets[path].spend(1)

    def _all_routes(self) -> dict[str, Route]:
        bodies: dict[str, tuple[Callable[[Query], Body], int]] = {
            "public/time": (self._time, 10),
            "public/instruments": (self._instruments, 20),
            "public/funding-rate": (self._funding_rate, 20),
            "public/funding-rate-history": (self._funding_history, 10),
            "public/mark-price": (self._marks, 10),
            "public/open-interest": (self._open_interests, 20),
            "market/ticker": (self._ticker, 20),
            "market/tickers": (self._tickers, 20),
            "market/index-tickers": (self._index_tickers, 20),
            "market/books": (self._books, 40),
            "market/books-full": (self._books, 10),
            "market/trades": (self._trades, 100),
            "market/history-trades": (self._history_trades, 20),
            "market/candles": (self._candles, 40),
            "market/history-candles": (self._history_candles, 20),
            "rubik/stat/contracts/open-interest-history": (self._open_interest_history, 10),
        }
        return {f"/api/v5/{path}": Route(body, _always(limit)) for path, (body, limit) in bodies.items()}

    def _symbol(self, query: Query) -> str:
        name = query.get("instId", "")
        if not name:
            raise Refused(400, "50014", "Parameter instId can not be empty")
        symbol = self.names.symbol(name)
        if symbol is None:
            raise Refused(400, "51001", "Instrument ID, Instrument ID code, or Spread ID doesn't exist.")
        return symbol

    def _of_type(self, query: Query) -> list[str]:
        kind = query.get("instType", "")
        if kind not in ("SPOT", "SWAP", "FUTURES", "OPTION", "MARGIN"):
            raise Refused(400, "51000", "Parameter instType  error")
        found = [
            symbol for symbol, name in self.names.ids.items() if kind == ("SWAP" if name.endswith("-SWAP") else "SPOT")
        ]
        return [self._symbol(query)] if query.get("instId") else found

    def _now(self, symbol: str | None = None) -> int:
        return self._scene.now_ms("okx", symbol)

    def _said(self, time_ms: int) -> str:
        return str(self._scene.said_ms("okx", time_ms))

    def _time(self, _query: Query) -> bytes:
        return encode([{"ts": self._said(self._now())}])

    def _instruments(self, query: Query) -> bytes:
        return encode(
            [_instrument(self.names.ids[symbol], self._scene.written("okx", symbol)) for symbol in self._of_type(query)]
        )

    def _funding_rate(self, query: Query) -> bytes:
        return encode([funding_row(self._scene, self.names, self._perpetual(query))])

    def _perpetual(self, query: Query) -> str:
        symbol = self._symbol(query)
        if not self._market.instrument("okx", symbol).is_perpetual:
            raise Refused(400, "51000", "Parameter instId error")
        return symbol

    def _funding_history(self, query: Query) -> bytes:
        symbol = self._perpetual(query)
        limit = _limit(query, 400, 400)
        before, after = whole(query, "before"), whole(query, "after")
        until = min(self._now(symbol) + 1, self._now(symbol) + 1 if after is None else after)
        since = (
            until - (limit + 1) * _FUNDING_MS if before is None else max(before + 1, until - (limit + 2) * _FUNDING_MS)
        )
        rows = [
            {
                "formulaType": "noRate",
                "fundingRate": plain(item.rate, 12),
                "fundingTime": str(item.time_ms),
                "instId": query["instId"],
                "instType": "SWAP",
                "method": "current_period",
                "realizedRate": plain(item.rate, 12),
            }
            for item in self._market.funding("okx", symbol, since, until)
        ]
        return encode(rows[-limit:][::-1])

    def _marks(self, query: Query) -> Body:
        return listed(encode(mark_row(self._scene, self.names, symbol)) for symbol in self._of_type(query))

    def _open_interests(self, query: Query) -> Body:
        return listed(encode(open_interest_row(self._scene, self.names, symbol)) for symbol in self._of_type(query))

    def _ticker(self, query: Query) -> bytes:
        return encode([ticker_row(self._scene, self.names, self._symbol(query))])

    def _tickers(self, query: Query) -> Body:
        return listed(encode(ticker_row(self._scene, self.names, symbol)) for symbol in self._of_type(query))

    def _index_tickers(self, query: Query) -> bytes:
        quote, name = query.get("quoteCcy"), query.get("instId")
        rows = [
            index_row(self._scene, self.names, symbol)
            for symbol, own in self.names.ids.items()
            if own.endswith("-SWAP")
            and (name in (None, own.removesuffix("-SWAP")))
            and (quote in (None, own.split("-")[1]))
        ]
        if not rows:
            raise Refused(400, "51001", "Instrument ID, Instrument ID code, or Spread ID doesn't exist.")
        return encode(rows)

    def _books(self, query: Query) -> bytes:
        symbol = self._symbol(query)
        depth = min(whole(query, "sz", 1) or 1, 5000)
        book = self._market.book("okx", symbol, self._now(symbol))
        written = self._scene.written("okx", symbol)
        row = {
            "asks": level_rows(written, book.asks[:depth]),
            "bids": level_rows(written, book.bids[:depth]),
            "ts": self._said(book.time_ms),
            "seqId": book.last_id,
        }
        return encode([row])

    def _trades(self, query: Query) -> bytes:
        symbol = self._symbol(query)
        found = self._scene.recent_trades("okx", symbol, _limit(query, 100, 500), self._now(symbol))
        return encode([self._trade_row(symbol, trade) for trade in reversed(found)])

    def _history_trades(self, query: Query) -> bytes:
        symbol = self._symbol(query)
        limit, now = _limit(query, 100, 100), self._now(symbol)
        before, after = whole(query, "before"), whole(query, "after")
        if query.get("type") == "2":
            until = now if after is None else min(after, now)
            span_ms = limit * 60_000 * 2 // max(1, self._market.instrument("okx", symbol).trades_a_minute) + 60_000
            found = self._scene.trades("okx", symbol, until - span_ms, until)
        elif after is not None:
            found = self._scene.trades_from("okx", symbol, max(0, after - limit), limit, now)
            found = [trade for trade in found if trade.id < after]
        else:
            found = self._scene.recent_trades("okx", symbol, limit, now)
        if before is not None and query.get("type") != "2":
            found = [trade for trade in found if trade.id > before]
        return encode([self._trade_row(symbol, trade) for trade in reversed(found[-limit:])])

    def _trade_row(self, symbol: str, trade: DemoTrade) -> dict[str, str]:
        return trade_row(self._scene, self._scene.written("okx", symbol), self.names.ids[symbol], trade)

    def _candles(self, query: Query) -> bytes:
        return self._candle_rows(query, _NEWEST_BARS)

    def _history_candles(self, query: Query) -> bytes:
        return self._candle_rows(query, None)

    def _candle_rows(self, query: Query, newest: int | None) -> bytes:
        symbol = self._symbol(query)
        timeframe = BARS.get(query.get("bar", "1m"))
        if timeframe is None:
            raise Refused(400, "51000", "Parameter bar error")
        length, now = length_ms(timeframe), self._now(symbol)
        limit = _limit(query, 100, 300)
        before, after = whole(query, "before"), whole(query, "after")
        last = open_of(now, timeframe)
        if newest is None:
            last -= length  # history has only what is over
        least = 0 if newest is None else last - (newest - 1) * length
        if after is not None:
            last = min(last, -(-after // length) * length - length)
        if before is not None:
            least = max(least, before - before % length + length)
        first = max(least, last - (limit - 1) * length)
        count = (last - first) // length + 1
        found = self._market.candles("okx", symbol, timeframe, first, count, now) if count > 0 else []
        written = self._scene.written("okx", symbol)
        return encode([candle_row(written, candle) for candle in reversed(found)])

    def _open_interest_history(self, query: Query) -> bytes:
        symbol = self._perpetual(query)
        period = _PERIODS.get(query.get("period", "5m"))
        if period is None:
            raise Refused(400, "51000", "Parameter period error")
        limit, length, now = _limit(query, 100, 100), length_ms(period), self._now(symbol)
        begin, end = whole(query, "begin"), whole(query, "end")
        last = open_of(now if end is None else min(now, end - 1), period)
        first = last - (limit - 1) * length
        if begin is not None:
            first = max(first, begin - begin % length + length)
        count = (last - first) // length + 1
        found = self._market.open_interest_history("okx", symbol, period, first, count, now) if count > 0 else []
        written = self._scene.written("okx", symbol)
        rows = [
            [str(item.time_ms), written.size(item.quantity), written.coins(item.quantity), plain(item.value)]
            for item in found
        ]
        return encode(rows[::-1])


def level_rows(written: Written, levels: list[Level]) -> list[list[str]]:
    """Price, size, a field without meaning, number of orders."""
    return [[written.price(price), written.size(quantity), "0", "1"] for price, quantity in levels]


def trade_row(scene: Scene, written: Written, name: str, trade: DemoTrade) -> dict[str, str]:
    """One trade."""
    return {
        "instId": name,
        "tradeId": str(trade.id),
        "px": written.price(trade.price),
        "sz": written.part(trade.quantity),
        "side": trade.side,
        "ts": str(scene.said_ms("okx", trade.time_ms)),
        "source": "0",
    }


def candle_row(written: Written, candle: DemoCandle) -> list[str]:
    """Open time, prices, volume in contracts (spot: coins), in coins (spot: quote coins), in quote coins, whether it is over."""
    prices = [written.price(price) for price in (candle.open, candle.high, candle.low, candle.close)]
    quote = plain(candle.quote_volume)
    coins = written.coins(candle.volume)
    volumes = [written.size(candle.volume), coins, quote] if written.instrument.is_perpetual else [coins, quote, quote]
    return [str(candle.open_ms), *prices, *volumes, "1" if candle.closed else "0"]


def ticker_row(scene: Scene, names: OkxNames, symbol: str) -> dict[str, str]:
    """The rolling 24 hours."""
    written = scene.written("okx", symbol)
    ticker: DemoTicker = scene.market.ticker("okx", symbol, scene.now_ms("okx", symbol))
    swap, top = written.instrument.is_perpetual, ticker.top
    return {
        "instType": "SWAP" if swap else "SPOT",
        "instId": names.ids[symbol],
        "last": written.price(ticker.last),
        "lastSz": written.size(ticker.last_quantity),
        "askPx": written.price(top.ask),
        "askSz": written.size(top.ask_quantity),
        "bidPx": written.price(top.bid),
        "bidSz": written.size(top.bid_quantity),
        "open24h": written.price(ticker.open),
        "high24h": written.price(ticker.high),
        "low24h": written.price(ticker.low),
        "volCcy24h": written.coins(ticker.volume) if swap else plain(ticker.quote_volume),
        "vol24h": written.size(ticker.volume),
        "ts": str(scene.said_ms("okx", ticker.time_ms)),
        "sodUtc0": written.price(ticker.open),
        "sodUtc8": written.price(ticker.open),
    }


def mark_row(scene: Scene, names: OkxNames, symbol: str) -> dict[str, str]:
    """The mark price of a perpetual; of spot, its last."""
    now = scene.now_ms("okx", symbol)
    written = scene.written("okx", symbol)
    swap = written.instrument.is_perpetual
    price = scene.market.mark("okx", symbol, now).mark if swap else scene.market.top("okx", symbol, now).bid
    kind = "SWAP" if swap else "MARGIN"
    ts = str(scene.said_ms("okx", now))
    return {"instType": kind, "instId": names.ids[symbol], "markPx": plain(price), "ts": ts}


def index_row(scene: Scene, names: OkxNames, symbol: str) -> dict[str, str]:
    """The index behind a perpetual."""
    now = scene.now_ms("okx", symbol)
    price = plain(scene.market.mark("okx", symbol, now).index)
    ticker = scene.market.ticker("okx", symbol, now)
    written = scene.written("okx", symbol)
    return {
        "instId": names.ids[symbol].removesuffix("-SWAP"),
        "idxPx": price,
        "high24h": written.price(ticker.high),
        "low24h": written.price(ticker.low),
        "open24h": written.price(ticker.open),
        "sodUtc0": written.price(ticker.open),
        "sodUtc8": written.price(ticker.open),
        "ts": str(scene.said_ms("okx", now)),
    }


def funding_row(scene: Scene, names: OkxNames, symbol: str) -> dict[str, str]:
    """The funding that is settled next, at ``fundingTime``."""
    mark = scene.market.mark("okx", symbol, scene.now_ms("okx", symbol))
    rate = plain(mark.funding_rate, 12)
    return {
        "formulaType": "noRate",
        "fundingRate": rate,
        "fundingTime": str(mark.next_funding_ms),
        "impactValue": "",
        "instId": names.ids[symbol],
        "instType": "SWAP",
        "interestRate": "0.0001",
        "maxFundingRate": "0.00375",
        "method": "current_period",
        "minFundingRate": "-0.00375",
        "nextFundingRate": "",
        "nextFundingTime": str(mark.next_funding_ms + _FUNDING_MS),
        "premium": plain(mark.mark / mark.index - 1, 12),
        "settFundingRate": rate,
        "settState": "settled",
        "ts": str(scene.said_ms("okx", mark.time_ms)),
    }


def open_interest_row(scene: Scene, names: OkxNames, symbol: str) -> dict[str, str]:
    """Open interest in contracts, coins and USD."""
    found = scene.market.open_interest("okx", symbol, scene.now_ms("okx", symbol))
    written = scene.written("okx", symbol)
    return {
        "instType": "SWAP",
        "instId": names.ids[symbol],
        "oi": written.size(found.quantity),
        "oiCcy": written.coins(found.quantity),
        "oiUsd": plain(found.value),
        "ts": str(scene.said_ms("okx", found.time_ms)),
    }


def _instrument(name: str, written: Written) -> dict[str, Any]:
    item: DemoInstrument = written.instrument
    swap = item.is_perpetual
    pair = f"{item.base}-{item.quote}"
    lot = plain(written.lot, 10)
    return {
        "alias": "",
        "auctionEndTime": "",
        "baseCcy": "" if swap else item.base,
        "category": "1",
        "contTdSwTime": "",
        "ctMult": "1" if swap else "",
        "ctType": "linear" if swap else "",
        "ctVal": plain(item.contract_size, 10) if swap else "",
        "ctValCcy": item.base if swap else "",
        "expTime": "",
        "instFamily": pair if swap else "",
        "instId": name,
        "instType": "SWAP" if swap else "SPOT",
        "lever": "50",
        "listTime": str(item.listed_ms),
        "lotSz": lot,
        "maxIcebergSz": "100000000",
        "maxLmtAmt": "20000000",
        "maxLmtSz": "100000000",
        "maxMktAmt": "",
        "maxMktSz": "1000000",
        "maxStopSz": "1000000",
        "maxTriggerSz": "100000000",
        "maxTwapSz": "100000000",
        "minSz": lot,
        "optType": "",
        "quoteCcy": "" if swap else item.quote,
        "ruleType": "normal",
        "settleCcy": item.settle or "",
        "state": "live",
        "stk": "",
        "tickSz": plain(item.price_step, 10),
        "uly": pair if swap else "",
    }


def _limit(query: Query, default: int, most: int) -> int:
    limit = whole(query, "limit", default) or default
    return max(1, min(limit, most))


def _always(weight: int) -> Callable[[Query], int]:
    return lambda _query: weight
