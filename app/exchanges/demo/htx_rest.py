"""The REST of HTX, spot or USDT-M swaps, over the generated market."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from app.domain.market.timeframes import length_ms, open_of
from app.errors import InvalidInput
from app.exchanges.demo.answers import Answer, Body, Query, Refused, Route, listed, whole
from app.exchanges.demo.limits import Budget, LimitReport, Refusal
from app.exchanges.demo.scene import Scene
from app.exchanges.demo.values import DemoCandle, DemoInstrument, DemoTrade, Level, Venue
from app.exchanges.demo.written import Written, plain

PERIODS = {
    "1min": "1m", "5min": "5m", "15min": "15m", "30min": "30m", "60min": "1h", "4hour": "4h", "1day": "1d",
}  # fmt: skip
"""Days of HTX begin at midnight in Singapore; here they begin at midnight UTC, as everywhere in this market."""
_INTEREST_PERIODS = {"60min": "1h", "4hour": "4h", "12hour": "12h", "1day": "1d"}
_FUNDING_MS = 8 * 3_600_000
_SPOT_REQUESTS, _FUTURES_REQUESTS, _WINDOW_MS = 1_000, 800, 1_000
"""Of one address in a second: 10 for each pair and 800 altogether are documented; here the whole counts."""
encode = msgspec.json.encode


class HtxNames:
    """How HTX calls what it trades: ``btcusdt`` and ``BTC-USDT``."""

    def __init__(self, scene: Scene, *, perpetual: bool) -> None:
        self.perpetual = perpetual
        self.instruments = {
            f"{item.base}-{item.quote}" if perpetual else (item.base + item.quote).lower(): item
            for item in scene.market.instruments("htx")
            if item.is_perpetual == perpetual
        }
        self.ids = {item.symbol: name for name, item in self.instruments.items()}

    def symbol(self, name: str) -> str | None:
        """Our symbol, or None for one that is not traded. Contracts are known in either case."""
        found = self.instruments.get(name.upper() if self.perpetual else name.lower())
        return found.symbol if found else None


class HtxRest:
    """One part's public REST."""

    venue: Venue = "htx"

    def __init__(self, scene: Scene, real_ms: Callable[[], int], *, perpetual: bool) -> None:
        self._scene, self._market, self._perpetual = scene, scene.market, perpetual
        self.names = HtxNames(scene, perpetual=perpetual)
        self._budget = Budget(_FUTURES_REQUESTS if perpetual else _SPOT_REQUESTS, real_ms, _WINDOW_MS, bans=False)
        self._routes = self._futures_routes() if perpetual else self._spot_routes()

    def answer(self, path: str, query: Query) -> Answer:
        """What it says to a GET below its prefix."""
        route = self._routes.get(path)
        if route is None:
            return Answer(
                404, encode({"status": "error", "err-code": "not-found", "err-msg": "Not Found", "data": None})
            )
        refusal = self._refusal()
        if refusal is not None:
            body = encode(
                {"status": "error", "err-code": "too-many-request", "err-msg": "Too many requests", "ts": self._ts()}
            )
            return Answer(429, body, {"Retry-After": str(refusal.retry_after_s)})
        try:
            return Answer(200, route.body(query), {"ratelimit-limit": str(self._budget.allowed)})
        except Refused as refused:
            return Answer(200, self._error(refused.code, refused.message))
        except (ValueError, InvalidInput):
            return Answer(200, self._error("invalid-parameter", "invalid parameter"))

    def limits(self) -> dict[str, LimitReport]:
        """How much of its limit is used."""
        return {"futures" if self._perpetual else "spot": self._budget.report()}

    def pardon(self) -> None:
        """Forget bans."""
        self._budget.pardon()

    def _error(self, code: str, message: str) -> bytes:
        if self._perpetual:
            return encode({"status": "error", "err_code": code, "err_msg": message, "ts": self._ts()})
        return encode({"ts": self._ts(), "status": "error", "err-code": code, "err-msg": message})

    def _refusal(self) -> Refusal | None:
        fault = self._scene.faults.living("429", "htx") or self._scene.faults.living("418", "htx")
        if fault is not None:
            fault.count("refused")
            return self._budget.refuse(429, self._scene.faults.ban_s(fault))
        return self._budget.spend(1)

    def _spot_routes(self) -> dict[str, Route]:
        return _routes(
            {
                "/v1/common/timestamp": self._spot_time,
                "/v1/common/symbols": self._spot_symbols,
                "/v1/common/currencys": self._currency_names,
                "/v2/reference/currencies": self._currencies,
                "/market/history/kline": self._klines,
                "/market/history/candles": self._klines,
                "/market/detail/merged": self._merged,
                "/market/detail": self._detail,
                "/market/tickers": self._spot_tickers,
                "/market/depth": self._depth,
                "/market/trade": self._last_trade,
                "/market/history/trade": self._trades,
            }
        )

    def _futures_routes(self) -> dict[str, Route]:
        market, swaps = "/linear-swap-ex/market", "/linear-swap-api/v1"
        return _routes(
            {
                "/api/v1/timestamp": self._swap_time,
                f"{swaps}/swap_contract_info": self._contracts,
                f"{swaps}/swap_open_interest": self._open_interest,
                f"{swaps}/swap_his_open_interest": self._open_interest_history,
                f"{swaps}/swap_funding_rate": self._funding_rate,
                f"{swaps}/swap_batch_funding_rate": self._funding_rates,
                f"{swaps}/swap_historical_funding_rate": self._funding_history,
                f"{swaps}/swap_index": self._indexes,
                f"{market}/history/kline": self._klines,
                f"{market}/detail/merged": self._merged,
                f"{market}/detail/batch_merged": self._swap_tickers,
                f"/v2{market}/detail/batch_merged": self._swap_tickers,
                f"{market}/bbo": self._tops,
                f"{market}/depth": self._depth,
                f"{market}/trade": self._last_trade,
                f"{market}/history/trade": self._trades,
                "/index/market/history/linear_swap_mark_price_kline": self._mark_klines,
                "/v5/market/funding_rate": self._funding_rate_v5,
                "/v5/market/funding_rate_history": self._funding_history_v5,
                "/v5/market/open_interest": self._open_interest_v5,
                # what is settled in coins is not generated; ccxt refuses an empty list, so a contract that was closed stands there
                "/api/v1/contract_contract_info": lambda _: self._listed([_CLOSED_FUTURE]),
                "/swap-api/v1/swap_contract_info": lambda _: self._listed([_CLOSED_SWAP]),
            }
        )

    def _symbol(self, query: Query) -> str:
        name = query.get("contract_code" if self._perpetual else "symbol", "")
        symbol = self.names.symbol(name)
        if symbol is None:
            if self._perpetual:
                raise Refused(200, "1332", "The contract doesn't exist.")
            raise Refused(200, "invalid-parameter", "invalid symbol")
        return symbol

    def _symbols(self, query: Query) -> list[str]:
        return [self._symbol(query)] if query.get("contract_code") else list(self.names.ids)

    def _now(self, symbol: str | None = None) -> int:
        return self._scene.now_ms("htx", symbol)

    def _said(self, time_ms: int) -> int:
        return self._scene.said_ms("htx", time_ms)

    def _ts(self) -> int:
        return self._said(self._now())

    def _listed(self, data: Any) -> bytes:
        return encode({"status": "ok", "data": data, "ts": self._ts()})

    def _v5(self, data: Any) -> bytes:
        return encode({"code": 200, "message": "Success", "data": data, "ts": self._ts()})

    def _ticked(self, symbol: str, channel: str, tick: Any) -> bytes:
        return encode(
            {"ch": f"market.{self.names.ids[symbol]}.{channel}", "status": "ok", "ts": self._ts(), "tick": tick}
        )

    def _spot_time(self, _query: Query) -> bytes:
        return encode({"status": "ok", "data": self._ts()})

    def _swap_time(self, _query: Query) -> bytes:
        return encode({"status": "ok", "ts": self._ts()})

    def _spot_symbols(self, _query: Query) -> bytes:
        return encode({"status": "ok", "data": [_spot_symbol(item) for item in self.names.instruments.values()]})

    def _coins(self) -> list[str]:
        items = self.names.instruments.values()
        return sorted({coin.lower() for item in items for coin in (item.base, item.quote)} | {"usdt", "btc"})

    def _currency_names(self, _query: Query) -> bytes:
        return encode({"status": "ok", "data": self._coins()})

    def _currencies(self, _query: Query) -> bytes:
        data = [{"currency": coin, "assetType": 1, "chains": [], "instStatus": "normal"} for coin in self._coins()]
        return encode({"code": 200, "data": data})

    def _contracts(self, query: Query) -> bytes:
        if query.get("business_type") == "futures":
            return self._listed([])
        return self._listed(
            [_contract(self.names.instruments[self.names.ids[symbol]]) for symbol in self._symbols(query)]
        )

    def _klines(self, query: Query) -> bytes:
        symbol = self._symbol(query)
        period = query.get("period", "")
        if period not in PERIODS:
            raise Refused(200, "bad-request" if not self._perpetual else "1031", f"invalid period: {period}")
        found = self._candles(query, symbol, PERIODS[period])
        written = self._scene.written("htx", symbol)
        rows = [kline_row(written, self._scene.multiplied(candle)) for candle in found]
        channel = f"market.{self.names.ids[symbol]}.kline.{period}"
        oldest_first = self._perpetual  # spot lists the newest first
        return encode({"status": "ok", "ch": channel, "ts": self._ts(), "data": rows if oldest_first else rows[::-1]})

    def _candles(self, query: Query, symbol: str, timeframe: str) -> list[DemoCandle]:
        length, now = length_ms(timeframe), self._now(symbol)
        size, start, end = whole(query, "size"), whole(query, "from"), whole(query, "to")
        last = open_of(now, timeframe)
        count = min(size or 150, 2_000)
        if start is not None and (size is None or not self._perpetual):
            # a span: of swaps at most 2,000, the newest of it; of spot at most ``size``, from its start on
            last = min(last, open_of(end * 1000, timeframe)) if end is not None else last
            first = -(-start * 1000 // length) * length
            whole_span = (last - first) // length + 1
            most = 2_000 if self._perpetual else min(size or 150, 1_000)
            if self._perpetual:
                first = max(first, last - (most - 1) * length)
            count = min(whole_span, most)
        else:
            first = last - (count - 1) * length
        return self._market.candles("htx", symbol, timeframe, first, count, now) if count > 0 else []

    def _mark_klines(self, query: Query) -> bytes:
        symbol = self._symbol(query)
        if query.get("period", "") not in PERIODS:
            raise Refused(200, "1031", "invalid period")
        found = self._candles(query, symbol, PERIODS[query["period"]])
        rows = [
            {
                "amount": "0", "close": plain(candle.close), "count": "0", "high": plain(candle.high),
                "id": candle.open_ms // 1000, "low": plain(candle.low), "open": plain(candle.open),
                "trade_turnover": "0", "vol": "0",
            }
            for candle in found
        ]  # fmt: skip
        channel = f"market.{self.names.ids[symbol]}.mark_price.{query['period']}"
        return encode({"ch": channel, "data": rows, "status": "ok", "ts": self._ts()})

    def _merged(self, query: Query) -> bytes:
        symbol = self._symbol(query)
        return self._ticked(symbol, "detail.merged", self._merged_tick(symbol))

    def _merged_tick(self, symbol: str) -> dict[str, Any]:
        written = self._scene.written("htx", symbol)
        top = self._market.top("htx", symbol, self._now(symbol))
        tick = detail_tick(self._scene, symbol)
        tick["bid"] = [written.price_number(top.bid), written.size_number(top.bid_quantity)]
        tick["ask"] = [written.price_number(top.ask), written.size_number(top.ask_quantity)]
        if self._perpetual:
            tick["ts"] = self._said(top.time_ms)
        return tick

    def _detail(self, query: Query) -> bytes:
        symbol = self._symbol(query)
        return self._ticked(symbol, "detail", detail_tick(self._scene, symbol))

    def _spot_tickers(self, _query: Query) -> Body:
        return listed(
            (encode(self._spot_ticker(symbol)) for symbol in self.names.ids),
            b'{"status":"ok","ts":%d,"data":[' % self._ts(),
            b"]}",
        )

    def _spot_ticker(self, symbol: str) -> dict[str, Any]:
        tick, written = detail_tick(self._scene, symbol), self._scene.written("htx", symbol)
        top = self._market.top("htx", symbol, self._now(symbol))
        return {
            "symbol": self.names.ids[symbol],
            **{key: tick[key] for key in ("open", "high", "low", "close", "amount", "vol", "count")},
            "bid": written.price_number(top.bid),
            "bidSize": written.size_number(top.bid_quantity),
            "ask": written.price_number(top.ask),
            "askSize": written.size_number(top.ask_quantity),
        }

    def _swap_tickers(self, query: Query) -> Body:
        return listed(
            (encode(self._swap_ticker(symbol)) for symbol in self._symbols(query)),
            b'{"status":"ok","ts":%d,"ticks":[' % self._ts(),
            b"]}",
        )

    def _swap_ticker(self, symbol: str) -> dict[str, Any]:
        tick = self._merged_tick(symbol)
        return {**tick, "contract_code": self.names.ids[symbol], "business_type": "swap", "number_of": tick["vol"]}

    def _tops(self, query: Query) -> bytes:
        ticks = []
        for symbol in self._symbols(query):
            top, written = self._market.top("htx", symbol, self._now(symbol)), self._scene.written("htx", symbol)
            ticks.append(
                {
                    "business_type": "swap",
                    "contract_code": self.names.ids[symbol],
                    "ask": [written.price_number(top.ask), written.size_number(top.ask_quantity)],
                    "bid": [written.price_number(top.bid), written.size_number(top.bid_quantity)],
                    "mrid": top.last_id,
                    "ts": self._said(top.time_ms),
                    "trade_partition": "USDT",
                }
            )
        return encode({"status": "ok", "ticks": ticks, "ts": self._ts()})

    def _depth(self, query: Query) -> bytes:
        symbol = self._symbol(query)
        kind = query.get("type", "step0")
        if kind not in ("step0", "step6"):
            raise Refused(200, "invalid-parameter", f"merged depth is not generated: {kind}")
        levels = min(whole(query, "depth", 150) or 150, 20 if kind == "step6" else 150)
        book = self._market.book("htx", symbol, self._now(symbol))
        said = self._said(book.time_ms)
        written = self._scene.written("htx", symbol)
        tick: dict[str, Any] = {
            "bids": number_rows(written, book.bids[:levels]),
            "asks": number_rows(written, book.asks[:levels]),
            "ts": said,
            "version": book.last_id,
        }
        if self._perpetual:
            tick |= {"mrid": book.last_id, "id": said // 1000, "ch": f"market.{self.names.ids[symbol]}.depth.{kind}"}
        return self._ticked(symbol, f"depth.{kind}", tick)

    def _last_trade(self, query: Query) -> bytes:
        symbol = self._symbol(query)
        found = self._scene.recent_trades("htx", symbol, 1, self._now(symbol))
        said = self._said(found[-1].time_ms)
        rows = [self._trade_row(symbol, trade) for trade in found]
        return self._ticked(symbol, "trade.detail", {"id": found[-1].id, "ts": said, "data": rows})

    def _trades(self, query: Query) -> bytes:
        symbol = self._symbol(query)
        size = max(1, min(whole(query, "size", 1) or 1, 2_000))
        found = self._scene.recent_trades("htx", symbol, size, self._now(symbol))
        data = [
            {"id": trade.id, "ts": self._said(trade.time_ms), "data": [self._trade_row(symbol, trade)]}
            for trade in reversed(found)
        ]
        channel = f"market.{self.names.ids[symbol]}.trade.detail"
        return encode({"status": "ok", "ch": channel, "ts": self._ts(), "data": data})

    def _trade_row(self, symbol: str, trade: DemoTrade) -> dict[str, Any]:
        row = trade_row(self._scene, self._scene.written("htx", symbol), trade)
        if not self._perpetual:
            row["trade-id"] = row.pop("tradeId")  # REST's name for it
        return row

    def _funding_of(self, symbol: str) -> dict[str, Any]:
        mark = self._market.mark("htx", symbol, self._now(symbol))
        name = self.names.ids[symbol]
        base, quote = name.split("-")
        return {
            "estimated_rate": None,
            "funding_rate": plain(mark.funding_rate, 12),
            "contract_code": name,
            "symbol": base,
            "fee_asset": quote,
            "funding_time": str(mark.next_funding_ms),
            "next_funding_time": None,
            "trade_partition": quote,
        }

    def _funding_rate(self, query: Query) -> bytes:
        return self._listed(self._funding_of(self._symbol(query)))

    def _funding_rates(self, query: Query) -> bytes:
        return self._listed([self._funding_of(symbol) for symbol in self._symbols(query)])

    def _funding_rate_v5(self, query: Query) -> bytes:
        rows = []
        for symbol in self._symbols(query):
            said = self._funding_of(symbol)
            rows.append(
                {
                    "contract_code": said["contract_code"],
                    "funding_rate": said["funding_rate"],
                    "funding_time": said["funding_time"],
                    "next_funding_time": str(int(said["funding_time"]) + _FUNDING_MS),
                    "min_funding_rate": "-0.003750000000000000",
                    "max_funding_rate": "0.003750000000000000",
                }
            )
        return self._v5(rows)

    def _funding_history(self, query: Query) -> bytes:
        symbol = self._symbol(query)
        page = max(1, whole(query, "page_index", 1) or 1)
        size = max(1, min(whole(query, "page_size", 20) or 20, 50))
        now, listed = self._now(symbol), self._market.instrument("htx", symbol).listed_ms
        total = max(0, (now - listed) // _FUNDING_MS)
        until = now + 1 - (page - 1) * size * _FUNDING_MS
        found = self._market.funding("htx", symbol, until - size * _FUNDING_MS, until)
        name = self.names.ids[symbol]
        base, quote = name.split("-")
        data = [
            {
                "avg_premium_index": plain(item.rate, 12),
                "funding_rate": plain(item.rate, 12),
                "realized_rate": plain(item.rate, 12),
                "funding_time": str(item.time_ms),
                "contract_code": name,
                "symbol": base,
                "fee_asset": quote,
            }
            for item in reversed(found)
        ]
        pages = -(-total // size)
        return self._listed({"total_page": pages, "current_page": page, "total_size": total, "data": data})

    def _funding_history_v5(self, query: Query) -> bytes:
        symbol = self._symbol(query)
        limit = max(1, min(whole(query, "limit", 20) or 20, 100))
        now = self._now(symbol)
        start, end = whole(query, "start_time"), whole(query, "end_time")
        until = now + 1 if end is None else min(now, end) + 1
        since = until - (limit + 1) * _FUNDING_MS if start is None else start
        found = self._market.funding("htx", symbol, since, min(until, since + (limit + 2) * _FUNDING_MS))
        found = found[-limit:] if start is None else found[:limit]
        rows = [
            {
                "id": str(item.time_ms // _FUNDING_MS),
                "contract_code": self.names.ids[symbol],
                "funding_rate": plain(item.rate, 12),
                "funding_time": str(item.time_ms),
            }
            for item in reversed(found)
        ]
        return self._v5(rows)

    def _open_interest_of(self, symbol: str) -> dict[str, Any]:
        now = self._now(symbol)
        found = self._market.open_interest("htx", symbol, now)
        ticker = self._market.ticker("htx", symbol, now)
        written = self._scene.written("htx", symbol)
        name = self.names.ids[symbol]
        return {
            "volume": written.size_number(found.quantity),
            "amount": round(found.quantity, 8),
            "symbol": name.split("-")[0],
            "value": round(found.value, 8),
            "contract_code": name,
            "trade_amount": round(ticker.volume, 8),
            "trade_volume": written.size_number(ticker.volume),
            "trade_turnover": round(ticker.quote_volume, 8),
            "business_type": "swap",
            "pair": name,
            "contract_type": "swap",
            "trade_partition": "USDT",
        }

    def _open_interest(self, query: Query) -> bytes:
        return self._listed([self._open_interest_of(symbol) for symbol in self._symbols(query)])

    def _open_interest_v5(self, query: Query) -> bytes:
        said = self._open_interest_of(self._symbol(query))
        texts = ("amount", "volume", "value", "trade_amount", "trade_volume", "trade_turnover")
        return self._v5({"contract_code": said["contract_code"], **{key: plain(said[key]) for key in texts}})

    def _open_interest_history(self, query: Query) -> bytes:
        symbol = self._symbol(query)
        period = _INTEREST_PERIODS.get(query.get("period", ""))
        if period is None:
            raise Refused(200, "1067", "The period field is invalid.")
        size = max(1, min(whole(query, "size", 48) or 48, 200))
        contracts = query.get("amount_type", "1") == "1"
        now = self._now(symbol)
        first = open_of(now, period) - (size - 1) * length_ms(period)
        found = self._market.open_interest_history("htx", symbol, period, first, size, now)
        written = self._scene.written("htx", symbol)
        ticks = [
            {
                "volume": plain(written.size_number(item.quantity) if contracts else item.quantity),
                "amount_type": 1 if contracts else 2,
                "ts": item.time_ms,
                "value": plain(item.value),
            }
            for item in reversed(found)
        ]
        name = self.names.ids[symbol]
        data = {"symbol": name.split("-")[0], "tick": ticks, "contract_code": name, "business_type": "swap", "pair": name,
                "contract_type": "swap", "trade_partition": "USDT"}  # fmt: skip
        return self._listed(data)

    def _indexes(self, query: Query) -> bytes:
        rows = []
        for symbol in self._symbols(query):
            mark = self._market.mark("htx", symbol, self._now(symbol))
            rows.append(
                {
                    "contract_code": self.names.ids[symbol],
                    "index_price": round(mark.index, 8),
                    "index_ts": self._said(mark.time_ms),
                    "trade_partition": "USDT",
                }
            )
        return self._listed(rows)


def number_rows(written: Written, levels: list[Level]) -> list[list[float]]:
    """Price and size as numbers."""
    return [[written.price_number(price), written.size_number(quantity)] for price, quantity in levels]


SIDES = 2
"""HTX counts the buyer and the seller of a trade of perpetuals."""


def kline_row(written: Written, candle: DemoCandle) -> dict[str, Any]:
    """A candle. Swaps say contracts in ``vol``, spot quote coins; ``amount`` is in the base coin."""
    row: dict[str, Any] = {
        "id": candle.open_ms // 1000,
        "open": written.price_number(candle.open),
        "close": written.price_number(candle.close),
        "low": written.price_number(candle.low),
        "high": written.price_number(candle.high),
        "amount": round(candle.volume, 8),
        "vol": round(candle.quote_volume, 8),
        "count": candle.trades,
    }
    if written.instrument.is_perpetual:
        row |= {
            "amount": round(candle.volume * SIDES, 8),
            "vol": written.size_number(candle.volume * SIDES),
            "trade_turnover": round(candle.quote_volume * SIDES, 8),
            "mrid": candle.last_id,
        }
    return row


def detail_tick(scene: Scene, symbol: str) -> dict[str, Any]:
    """The rolling 24 hours."""
    ticker = scene.market.ticker("htx", symbol, scene.now_ms("htx", symbol))
    written = scene.written("htx", symbol)
    number = written.price_number
    tick: dict[str, Any] = {
        "id": ticker.last_id,
        "open": number(ticker.open),
        "close": number(ticker.last),
        "low": number(ticker.low),
        "high": number(ticker.high),
        "amount": round(ticker.volume, 8),
        "vol": round(ticker.quote_volume, 8),
        "count": ticker.trades * scene.trade_rate,
        "version": ticker.last_id,
    }
    if written.instrument.is_perpetual:
        volume, turnover = ticker.volume * SIDES, round(ticker.quote_volume * SIDES, 8)
        tick |= {"amount": round(volume, 8), "vol": written.size_number(volume), "trade_turnover": turnover}
        tick["mrid"] = ticker.last_id
        tick["id"] = scene.said_ms("htx", ticker.time_ms) // 1000
        del tick["version"]
    return tick


def trade_row(scene: Scene, written: Written, trade: DemoTrade) -> dict[str, Any]:
    """One trade, as streams say it. Swaps count contracts in ``amount`` and coins in ``quantity``."""
    row: dict[str, Any] = {
        "id": trade.id * 10_000 + 1,  # HTX's own ids of single fills are long too
        "ts": scene.said_ms("htx", trade.time_ms),
        "tradeId": trade.id,
        "amount": round(trade.quantity, 10),
        "price": written.price_number(trade.price),
        "direction": trade.side,
    }
    if written.instrument.is_perpetual:
        both = trade.quantity * SIDES
        row |= {"amount": round(both / written.instrument.contract_size, 10), "quantity": round(both, 10)}
        row["trade_turnover"] = round(trade.price * both, 8)
        row["id"] = trade.id
        del row["tradeId"]
    return row


def _spot_symbol(item: DemoInstrument) -> dict[str, Any]:
    return {
        "base-currency": item.base.lower(),
        "quote-currency": item.quote.lower(),
        "price-precision": item.price_digits,
        "amount-precision": item.quantity_digits,
        "symbol-partition": "main",
        "symbol": (item.base + item.quote).lower(),
        "state": "online",
        "value-precision": 8,
        "min-order-amt": item.quantity_step,
        "max-order-amt": 1_000_000,
        "min-order-value": 5,
        "limit-order-min-order-amt": item.quantity_step,
        "limit-order-max-order-amt": 1_000_000,
        "limit-order-max-buy-amt": 1_000_000,
        "limit-order-max-sell-amt": 1_000_000,
        "sell-market-min-order-amt": item.quantity_step,
        "sell-market-max-order-amt": 1_000_000,
        "buy-market-max-order-value": 1_000_000,
        "api-trading": "enabled",
        "tags": "",
    }


def _contract(item: DemoInstrument) -> dict[str, Any]:
    name = f"{item.base}-{item.quote}"
    return {
        "symbol": item.base,
        "contract_code": name,
        "contract_size": item.contract_size,
        "price_tick": item.price_step,
        "delivery_date": "",
        "delivery_time": "",
        "create_date": "20201021",
        "contract_status": 1,
        "settlement_date": "",
        "support_margin_mode": "all",
        "business_type": "swap",
        "pair": name,
        "contract_type": "swap",
        "trade_partition": item.quote,
    }


_CLOSED_SWAP = {
    "symbol": "BTC", "contract_code": "BTC-USD", "contract_size": 100, "price_tick": 0.1, "delivery_time": "",
    "create_date": "20200325", "contract_status": 0, "settlement_date": "1640000000000",
}  # fmt: skip
_CLOSED_FUTURE = {
    "symbol": "BTC", "contract_code": "BTC211126", "contract_type": "this_week", "contract_size": 100, "price_tick": 0.1,
    "delivery_date": "20211126", "delivery_time": "1637913600000", "create_date": "20211112", "contract_status": 0,
    "settlement_time": "1637481600000",
}  # fmt: skip


def _routes(bodies: Mapping[str, Callable[[Query], Body]]) -> dict[str, Route]:
    return {path: Route(body, lambda _query: 1) for path, body in bodies.items()}
