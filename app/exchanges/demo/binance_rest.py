"""The REST of Binance, USDT-M futures or spot, over the generated market."""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from app.domain.market.timeframes import length_ms, open_of
from app.errors import InvalidInput
from app.exchanges.demo.answers import Answer, Body, Query, Refused, Route, listed, whole
from app.exchanges.demo.limits import MINUTE_MS, Budget, LimitReport, Refusal
from app.exchanges.demo.scene import Scene
from app.exchanges.demo.values import DemoCandle, DemoInstrument, DemoTrade, Venue
from app.exchanges.demo.written import plain

INTERVALS = frozenset(("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "12h", "1d"))
_PERIODS = frozenset(("5m", "15m", "30m", "1h", "2h", "4h", "6h", "12h", "1d"))
_FUNDING_MS = 8 * 3_600_000
_NEVER_DELIVERED_MS = 4_133_404_800_000
_FUTURES_WEIGHT, _SPOT_WEIGHT = 2400, 6000
_APART = {"/fapi/v1/fundingRate": 500, "/fapi/v1/fundingInfo": 500, "/futures/data/openInterestHist": 1000}
"""Counted in calls within five minutes, beside the weights."""
_HISTORY_MS = 30 * 86_400_000
_MANDATORY = "Mandatory parameter '%s' was not sent, was empty/null, or malformed."
encode = msgspec.json.encode


class BinanceNames:
    """How one of Binance's markets calls what it trades."""

    def __init__(self, scene: Scene, *, perpetual: bool) -> None:
        self.instruments = {
            item.base + item.quote: item
            for item in scene.market.instruments("binance")
            if item.is_perpetual == perpetual
        }
        self.ids = {item.symbol: name for name, item in self.instruments.items()}

    def symbol(self, name: str) -> str | None:
        """Our symbol, or None for one that is not traded."""
        found = self.instruments.get(name)
        return found.symbol if found else None


class BinanceRest:
    """One market's REST. Weights are Binance's."""

    venue: Venue = "binance"

    def __init__(self, scene: Scene, real_ms: Callable[[], int], *, perpetual: bool) -> None:
        self._scene, self._market, self._perpetual = scene, scene.market, perpetual
        self.names = BinanceNames(scene, perpetual=perpetual)
        self._budget = Budget(_FUTURES_WEIGHT if perpetual else _SPOT_WEIGHT, real_ms)
        self._apart = {path: Budget(calls, real_ms, 5 * MINUTE_MS) for path, calls in _APART.items() if perpetual}
        self._info = self._exchange_info_head()
        self._routes = self._futures_routes() if perpetual else self._spot_routes()

    def answer(self, path: str, query: Query) -> Answer:
        """What it says to a GET below its prefix."""
        route = self._routes.get(path)
        if route is None:
            if not self._perpetual:
                return Answer(404, b"<html><body><h2>404 Not found</h2></body></html>", {"Content-Type": "text/html"})
            return _error(404, -5000, f"Path {path}, Method GET is invalid")
        refusal = self._refusal(path, route, query)
        used = {"X-MBX-USED-WEIGHT-1M": str(self._budget.used), "X-MBX-USED-WEIGHT": str(self._budget.used)}
        if refusal is not None:
            text = f"Too many requests; current limit of IP is {self._budget.allowed} requests per minute."
            if refusal.status == 418:
                text = "Way too many requests; IP banned. Please use the websocket for live updates to avoid bans."
            body = encode({"code": -1003, "msg": text})
            return Answer(refusal.status, body, {**used, "Retry-After": str(refusal.retry_after_s)})
        try:
            return Answer(200, route.body(query), used)
        except Refused as refused:
            return _error(refused.status, refused.code, refused.message, used)
        except (ValueError, InvalidInput):
            return _error(400, -1100, "Illegal characters found in a parameter.", used)

    def limits(self) -> dict[str, LimitReport]:
        """How much of its limit is used."""
        apart = {path: budget.report() for path, budget in self._apart.items()}
        return {"futures" if self._perpetual else "spot": self._budget.report(), **apart}

    def pardon(self) -> None:
        """Forget bans."""
        for budget in (self._budget, *self._apart.values()):
            budget.pardon()

    def _refusal(self, path: str, route: Route, query: Query) -> Refusal | None:
        for status in (418, 429):
            fault = self._scene.faults.living("418" if status == 418 else "429", "binance")
            if fault is not None:
                fault.count("refused")
                return self._budget.refuse(status, self._scene.faults.ban_s(fault))
        if path in self._apart:
            return self._apart[path].spend(1)
        try:
            return self._budget.spend(route.weight(query))
        except ValueError:
            return self._budget.spend(1)

    def _spot_routes(self) -> dict[str, Route]:
        return {
            f"/api/v3/{path}": route
            for path, route in {
                "ping": Route(lambda _: b"{}", _always(1)),
                "time": Route(self._time, _always(1)),
                "exchangeInfo": Route(self._exchange_info, _always(20)),
                "depth": Route(self._depth, _stepped(100, ((100, 5), (500, 25), (1000, 50), (5000, 250)))),
                "trades": Route(self._trades, _always(25)),
                "aggTrades": Route(self._agg_trades, _always(4)),
                "klines": Route(self._klines, _always(2)),
                "uiKlines": Route(self._klines, _always(2)),
                "avgPrice": Route(self._average_price, _always(2)),
                "ticker/24hr": Route(self._tickers, self._weight_of_symbols(2, 80)),
                "ticker/price": Route(self._prices, self._weight_of_symbols(2, 4)),
                "ticker/bookTicker": Route(self._tops, self._weight_of_symbols(2, 4)),
            }.items()
        }

    def _futures_routes(self) -> dict[str, Route]:
        depth = ((50, 2), (100, 5), (500, 10), (1000, 20))
        klines = ((99, 1), (499, 2), (1000, 5), (1500, 10))
        routes = {
            f"/fapi/v1/{path}": route
            for path, route in {
                "ping": Route(lambda _: b"{}", _always(1)),
                "time": Route(self._time, _always(1)),
                "exchangeInfo": Route(self._exchange_info, _always(1)),
                "depth": Route(self._depth, _stepped(500, depth)),
                "trades": Route(self._trades, _always(5)),
                "aggTrades": Route(self._agg_trades, _always(20)),
                "klines": Route(self._klines, _stepped(500, klines)),
                "premiumIndex": Route(self._premium_index, self._weight_of_symbols(1, 10)),
                "fundingRate": Route(self._funding, _always(0)),
                "fundingInfo": Route(lambda _: b"[]", _always(0)),
                "openInterest": Route(self._open_interest, _always(1)),
                "ticker/24hr": Route(self._tickers, self._weight_of_symbols(1, 40)),
                "ticker/price": Route(self._prices, self._weight_of_symbols(1, 2)),
                "ticker/bookTicker": Route(self._tops, self._weight_of_symbols(2, 5)),
            }.items()
        }
        return {**routes, "/futures/data/openInterestHist": Route(self._open_interest_history, _always(0))}

    def _weight_of_symbols(self, one: int, every: int) -> Callable[[Query], int]:
        return lambda query: one if "symbol" in query or len(query.get("symbols", "")) > 2 else every

    def _symbol(self, query: Query) -> str:
        name = query.get("symbol", "")
        if not name:
            raise Refused(400, -1102, _MANDATORY % "symbol")
        symbol = self.names.symbol(name)
        if symbol is None:
            raise Refused(400, -1121, "Invalid symbol.")
        return symbol

    def _symbols(self, query: Query) -> tuple[list[str], bool]:
        """Those asked for, and whether only one was (which is answered without a list)."""
        if "symbol" in query:
            return [self._symbol(query)], True
        if query.get("symbols"):
            try:
                names = msgspec.json.decode(query["symbols"], type=list[str])
            except msgspec.DecodeError:
                raise Refused(400, -1100, "Illegal characters found in parameter 'symbols'.") from None
            return [self._symbol({"symbol": name}) for name in names], False
        return list(self.names.ids), False

    def _for_each(self, query: Query, say: Callable[[str], dict[str, Any]]) -> Body:
        symbols, one = self._symbols(query)
        return encode(say(symbols[0])) if one else listed(encode(say(symbol)) for symbol in symbols)

    def _time(self, _query: Query) -> bytes:
        return encode({"serverTime": self._said_now()})

    def _said_now(self, symbol: str | None = None) -> int:
        return self._scene.said_ms("binance", self._scene.now_ms("binance", symbol))

    def _exchange_info_head(self) -> bytes:
        limits = [
            {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": self._budget.allowed}
        ]
        made = _futures_symbol if self._perpetual else _spot_symbol
        said: dict[str, Any] = {
            "timezone": "UTC",
            "rateLimits": limits,
            "exchangeFilters": [],
            "symbols": [made(name, item) for name, item in self.names.instruments.items()],
        }
        if self._perpetual:
            said["futuresType"] = "U_MARGINED"
            said["assets"] = [{"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "-10000"}]
        return encode(said)[:-1]

    def _exchange_info(self, query: Query) -> bytes:
        if "symbol" in query:
            item = self._market.instrument("binance", self._symbol(query))
            made = _futures_symbol if self._perpetual else _spot_symbol
            return encode({"timezone": "UTC", "serverTime": self._said_now(), "symbols": [made(query["symbol"], item)]})
        return b'%s,"serverTime":%d}' % (self._info, self._said_now())

    def _depth(self, query: Query) -> bytes:
        symbol = self._symbol(query)
        limit = _limit(query, 500 if self._perpetual else 100, 1000 if self._perpetual else 5000)
        if self._perpetual and limit not in (5, 10, 20, 50, 100, 500, 1000):
            raise Refused(400, -4021, f"'{limit}' is not valid depth limit.")
        book = self._scene.book("binance", symbol)
        written = self._scene.written("binance", symbol)
        said_ms = self._scene.said_ms("binance", book.time_ms)
        times = f'"E":{self._said_now(symbol)},"T":{said_ms},' if self._perpetual else ""
        return (
            f'{{"lastUpdateId":{book.last_id},{times}"bids":{written.levels(book.bids[:limit])},'
            f'"asks":{written.levels(book.asks[:limit])}}}'
        ).encode()

    def _trades(self, query: Query) -> bytes:
        symbol = self._symbol(query)
        found = self._scene.recent_trades(
            "binance", symbol, _limit(query, 500, 1000), self._scene.now_ms("binance", symbol)
        )
        written, said = self._scene.written("binance", symbol), []
        for trade in found:
            row = {
                "id": trade.id,
                "price": written.price(trade.price),
                "qty": written.part(trade.quantity),
                "quoteQty": plain(trade.price * trade.quantity),
                "time": self._scene.said_ms("binance", trade.time_ms),
                "isBuyerMaker": trade.side == "sell",
            }
            said.append(row if self._perpetual else {**row, "isBestMatch": True})
        return encode(said)

    def _agg_trades(self, query: Query) -> bytes:
        symbol = self._symbol(query)
        now = self._scene.now_ms("binance", symbol)
        limit = _limit(query, 500, 1000)
        first, start, end = whole(query, "fromId"), whole(query, "startTime"), whole(query, "endTime")
        if first is not None:
            found = self._scene.trades_from("binance", symbol, first, limit, now)
        elif start is not None or end is not None:
            until = now if end is None else min(end + 1, now)
            since = until - 3_600_000 if start is None else start
            found = self._scene.trades("binance", symbol, since, min(until, since + 3_600_000))[:limit]
        else:
            found = self._scene.recent_trades("binance", symbol, limit, now)
        return b"[" + b",".join(self._agg_rows(symbol, found)) + b"]"

    def _agg_rows(self, symbol: str, trades: Iterable[DemoTrade]) -> list[bytes]:
        written = self._scene.written("binance", symbol)
        skew = self._scene.said_ms("binance", 0)
        tail = "" if self._perpetual else ',"M":true'
        return [
            (
                f'{{"a":{trade.id},"p":"{written.price(trade.price)}","q":"{written.part(trade.quantity)}","f":{trade.id},'
                f'"l":{trade.id},"T":{trade.time_ms + skew},"m":{"true" if trade.side == "sell" else "false"}{tail}}}'
            ).encode()
            for trade in trades
        ]

    def _klines(self, query: Query) -> bytes:
        symbol = self._symbol(query)
        interval = query.get("interval", "")
        if interval not in INTERVALS:
            raise Refused(400, -1120, "Invalid interval.")
        limit = _limit(query, 500, 1500 if self._perpetual else 1000)
        now = self._scene.now_ms("binance", symbol)
        start, end = whole(query, "startTime"), whole(query, "endTime")
        found = candles_between(self._scene, "binance", symbol, interval, start, end, limit, now)
        return encode([self._kline_row(symbol, candle) for candle in found])

    def _kline_row(self, symbol: str, candle: DemoCandle) -> list[Any]:
        written = self._scene.written("binance", symbol)
        candle = self._scene.multiplied(candle)
        prices = [written.price(price) for price in (candle.open, candle.high, candle.low, candle.close)]
        return [
            candle.open_ms, *prices, written.coins(candle.volume), candle.close_ms, plain(candle.quote_volume),
            candle.trades, written.coins(candle.taker_buy_volume), plain(candle.taker_buy_quote_volume), "0",
        ]  # fmt: skip

    def _premium_index(self, query: Query) -> Body:
        return self._for_each(query, self._premium_of)

    def _premium_of(self, symbol: str) -> dict[str, Any]:
        mark = self._market.mark("binance", symbol, self._scene.now_ms("binance", symbol))
        return {
            "symbol": self.names.ids[symbol],
            "markPrice": plain(mark.mark),
            "indexPrice": plain(mark.index),
            "estimatedSettlePrice": plain(mark.index),
            "lastFundingRate": plain(mark.funding_rate),
            "interestRate": "0.00010000",
            "nextFundingTime": mark.next_funding_ms,
            "time": self._scene.said_ms("binance", mark.time_ms),
        }

    def _funding(self, query: Query) -> bytes:
        limit = _limit(query, 100, 1000)
        symbols, _ = self._symbols(query)
        said = []
        for symbol in symbols:
            now = self._scene.now_ms("binance", symbol)
            start, end = whole(query, "startTime"), whole(query, "endTime")
            until = now + 1 if end is None else min(end, now) + 1
            since = until - (limit + 1) * _FUNDING_MS if start is None else start
            found = self._market.funding("binance", symbol, since, min(until, since + (limit + 2) * _FUNDING_MS))
            for item in found[-limit:] if start is None else found[:limit]:
                said.append(  # noqa: PERF401 - two loops in one list say less
                    {
                        "symbol": self.names.ids[symbol],
                        "fundingTime": item.time_ms,
                        "fundingRate": f"{item.rate:.8f}",
                        "markPrice": plain(item.mark),
                    }
                )
        return encode(said)

    def _open_interest(self, query: Query) -> bytes:
        symbol = self._symbol(query)
        found = self._market.open_interest("binance", symbol, self._scene.now_ms("binance", symbol))
        return encode(
            {
                "symbol": query["symbol"],
                "openInterest": self._scene.written("binance", symbol).coins(found.quantity),
                "time": self._scene.said_ms("binance", found.time_ms),
            }
        )

    def _open_interest_history(self, query: Query) -> bytes:
        symbol = self._symbol(query)
        period = query.get("period", "")
        if period not in _PERIODS:
            raise Refused(400, -1130, "parameter 'period' is invalid.")
        limit = _limit(query, 30, 500)
        now = self._scene.now_ms("binance", symbol)
        start, end = whole(query, "startTime"), whole(query, "endTime")
        length = length_ms(period)
        if start is not None and start < now - _HISTORY_MS:
            raise Refused(400, -1130, "parameter 'startTime' is invalid.")
        last = open_of(now if end is None else min(end, now), period)
        first = last - (limit - 1) * length
        if start is not None:
            first = max(first, -(-start // length) * length)  # Binance gives the newest of the span
        found = self._market.open_interest_history("binance", symbol, period, first, (last - first) // length + 1, now)
        written = self._scene.written("binance", symbol)
        return encode(
            [
                {
                    "symbol": query["symbol"],
                    "sumOpenInterest": written.coins(item.quantity),
                    "sumOpenInterestValue": plain(item.value),
                    "timestamp": item.time_ms,
                }
                for item in found
            ]
        )

    def _tickers(self, query: Query) -> Body:
        return self._for_each(query, self._ticker_of)

    def _ticker_of(self, symbol: str) -> dict[str, Any]:
        ticker = self._market.ticker("binance", symbol, self._scene.now_ms("binance", symbol))
        written = self._scene.written("binance", symbol)
        said = {
            "symbol": self.names.ids[symbol],
            "priceChange": written.price(ticker.change),
            "priceChangePercent": f"{ticker.change_percent:.3f}",
            "weightedAvgPrice": written.price(ticker.average_price),
            "lastPrice": written.price(ticker.last),
            "lastQty": written.coins(ticker.last_quantity),
            "openPrice": written.price(ticker.open),
            "highPrice": written.price(ticker.high),
            "lowPrice": written.price(ticker.low),
            "volume": written.coins(ticker.volume),
            "quoteVolume": plain(ticker.quote_volume),
            "openTime": ticker.open_ms,
            "closeTime": self._scene.said_ms("binance", ticker.time_ms),
            "firstId": ticker.first_id * self._scene.trade_rate,
            "lastId": ticker.last_id * self._scene.trade_rate,
            "count": ticker.trades * self._scene.trade_rate,
        }
        if self._perpetual:
            return said
        top = ticker.top
        return {
            **said,
            "prevClosePrice": written.price(ticker.open),
            "bidPrice": written.price(top.bid),
            "bidQty": written.coins(top.bid_quantity),
            "askPrice": written.price(top.ask),
            "askQty": written.coins(top.ask_quantity),
        }

    def _prices(self, query: Query) -> Body:
        return self._for_each(query, self._price_of)

    def _price_of(self, symbol: str) -> dict[str, Any]:
        now = self._scene.now_ms("binance", symbol)
        last = self._market.recent_trades("binance", symbol, 1, now)[-1]
        said = {"symbol": self.names.ids[symbol], "price": self._scene.written("binance", symbol).price(last.price)}
        return {**said, "time": self._scene.said_ms("binance", last.time_ms)} if self._perpetual else said

    def _tops(self, query: Query) -> Body:
        return self._for_each(query, self._top_of)

    def _top_of(self, symbol: str) -> dict[str, Any]:
        top = self._market.top("binance", symbol, self._scene.now_ms("binance", symbol))
        written = self._scene.written("binance", symbol)
        said: dict[str, Any] = {
            "symbol": self.names.ids[symbol],
            "bidPrice": written.price(top.bid),
            "bidQty": written.coins(top.bid_quantity),
            "askPrice": written.price(top.ask),
            "askQty": written.coins(top.ask_quantity),
        }
        if self._perpetual:
            said["time"] = self._scene.said_ms("binance", top.time_ms)
            said["lastUpdateId"] = top.last_id
        return said

    def _average_price(self, query: Query) -> bytes:
        symbol = self._symbol(query)
        now = self._scene.now_ms("binance", symbol)
        candle = self._market.running_candle("binance", symbol, "5m", now)
        average = candle.quote_volume / candle.volume if candle.volume else candle.close
        price = self._scene.written("binance", symbol).price(average)
        return encode({"mins": 5, "price": price, "closeTime": self._said_now(symbol)})


def candles_between(
    scene: Scene, venue: Venue, symbol: str, timeframe: str, start: int | None, end: int | None, limit: int, now_ms: int
) -> list[DemoCandle]:
    """Candles that opened in a span, as most venues give them: from its start on, or its newest where no start is said."""
    length = length_ms(timeframe)
    last = open_of(now_ms if end is None else min(end, now_ms), timeframe)
    first = last - (limit - 1) * length if start is None else -(-start // length) * length
    count = min(limit, (last - first) // length + 1)
    return scene.market.candles(venue, symbol, timeframe, first, count, now_ms) if count > 0 else []


def _limit(query: Query, default: int, most: int) -> int:
    limit = whole(query, "limit", default) or default
    if limit < 1:
        raise Refused(400, -1130, "Data sent for parameter 'limit' is not valid.")
    return min(limit, most)


def _error(status: int, code: int, message: str, headers: dict[str, str] | None = None) -> Answer:
    return Answer(status, encode({"code": code, "msg": message}), headers or {})


def _always(weight: int) -> Callable[[Query], int]:
    return lambda _query: weight


def _stepped(default: int, steps: tuple[tuple[int, int], ...]) -> Callable[[Query], int]:
    def weight(query: Query) -> int:
        limit = whole(query, "limit", default) or default
        return next((weight for most, weight in steps if limit <= most), steps[-1][1])

    return weight


def _futures_symbol(name: str, item: DemoInstrument) -> dict[str, Any]:
    tick, step = plain(item.price_step, 10), plain(item.quantity_step, 10)
    return {
        "symbol": name,
        "pair": name,
        "contractType": "PERPETUAL",
        "deliveryDate": _NEVER_DELIVERED_MS,
        "onboardDate": item.listed_ms,
        "status": "TRADING",
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": item.base,
        "quoteAsset": item.quote,
        "marginAsset": item.settle,
        "pricePrecision": item.price_digits,
        "quantityPrecision": item.quantity_digits,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": [],
        "triggerProtect": "0.0500",
        "liquidationFee": "0.012500",
        "marketTakeBound": "0.05",
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000000", "tickSize": tick},
            {"filterType": "LOT_SIZE", "minQty": step, "maxQty": "1000000000", "stepSize": step},
            {"filterType": "MARKET_LOT_SIZE", "minQty": step, "maxQty": "1000000000", "stepSize": step},
            {"filterType": "MAX_NUM_ORDERS", "limit": 200},
            {"filterType": "MIN_NOTIONAL", "notional": "5"},
            {
                "filterType": "PERCENT_PRICE",
                "multiplierUp": "1.0500",
                "multiplierDown": "0.9500",
                "multiplierDecimal": "4",
            },
        ],
        "orderTypes": ["LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET"],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX"],
    }


def _spot_symbol(name: str, item: DemoInstrument) -> dict[str, Any]:
    tick, step = f"{item.price_step:.8f}", f"{item.quantity_step:.8f}"
    return {
        "symbol": name,
        "status": "TRADING",
        "baseAsset": item.base,
        "baseAssetPrecision": 8,
        "quoteAsset": item.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"],
        "icebergAllowed": True,
        "ocoAllowed": True,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": True,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": True,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000.00000000", "tickSize": tick},
            {"filterType": "LOT_SIZE", "minQty": step, "maxQty": "9000000.00000000", "stepSize": step},
            {"filterType": "ICEBERG_PARTS", "limit": 10},
            {
                "filterType": "MARKET_LOT_SIZE",
                "minQty": "0.00000000",
                "maxQty": "100000.00000000",
                "stepSize": "0.00000000",
            },
            {
                "filterType": "NOTIONAL",
                "minNotional": "5.00000000",
                "applyMinToMarket": True,
                "maxNotional": "9000000.00000000",
            },
        ],
        "permissions": [],
        "permissionSets": [["SPOT", "MARGIN"]],
        "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
        "allowedSelfTradePreventionModes": ["NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"],
    }
