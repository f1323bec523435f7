"""HTX as an ``Exchange``: its sessions, and what its REST APIs are asked. Limits are per IP, for spot and perpetuals apart."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.domain.market import symbols
from app.domain.market.timeframes import length_ms
from app.domain.market.values import Candle, Mark
from app.errors import InvalidInput, Unavailable
from app.exchanges.exchange import Channel, Instrument, Limit, RestCall, Session, Wanted
from app.exchanges.htx import mapper
from app.exchanges.htx.mapper import PARTS_OF_A_DAY, Market
from app.exchanges.htx.stream import HtxSession, topics_of

WATCHED_BY_ONE = 300  # HTX names no limit, but warns of connections that carry too much
CANDLE_ROWS = 2_000
TRADE_ROWS = 2_000
FUNDING_ROWS = 100
FUNDING_SOONEST_MS = 3_600_000  # no contract settles more often
OPEN_INTEREST_ROWS = 200
SPOT, SWAP_MARKET, SWAP = "spot", "perpetuals-market", "perpetuals"


@dataclass(frozen=True, slots=True)
class Urls:
    """Where HTX is."""

    spot_rest: str
    spot_stream: str
    spot_feed: str
    futures_rest: str
    futures_stream: str
    index_stream: str


@dataclass(slots=True, eq=False)
class Htx:
    """HTX under the name it is stored by. It answers about a perpetual only when it has learned the size of its contracts."""

    name: str
    urls: Urls
    ccxt_id: str = "htx"
    polled: frozenset[Channel] = frozenset({"open_interest", "mark"})
    """The funding rate has a stream, so ``mark`` is worth a session as well; the mark price is asked for."""
    most_candles: int = CANDLE_ROWS
    limits: Sequence[Limit] = (Limit(SPOT, 10, 1.0), Limit(SWAP_MARKET, 800, 1.0), Limit(SWAP, 240, 3.0))
    contracts: dict[str, float] = field(default_factory=dict)
    """By perpetual: base coins in one contract."""

    @property
    def ccxt_urls(self) -> Mapping[str, Any]:
        """Put over ``urls["api"]`` of the ccxt object."""
        spot = dict.fromkeys(("spot", "public", "private", "v2Public", "v2Private", "status"), self.urls.spot_rest)
        return {**spot, "contract": self.urls.futures_rest}

    def learn(self, known: Iterable[Instrument]) -> None:
        """Take the sizes of contracts: from ``instruments()`` by itself, after a restart from what was stored."""
        for one in known:
            if one.settle is not None and one.contract_size:
                self.contracts[one.symbol] = one.contract_size

    def sessions(self, wanted: Sequence[Wanted]) -> list[Session]:
        """One socket each for perpetuals, their funding, spot, and spot's books; what has no stream is passed over."""
        markets = {one.symbol: self._market(one.symbol) for one in wanted}
        by_url: dict[str, list[Wanted]] = {}
        for one in wanted:
            if one.channel == "candles" and (one.timeframe or "1m") not in mapper.PERIODS:
                raise InvalidInput(f"HTX has no stream of candles of {one.timeframe}.")
            if topics_of(one):
                by_url.setdefault(self._url(one, markets[one.symbol]), []).append(one)
        return [
            HtxSession(url, part, {one.symbol: markets[one.symbol] for one in part})
            for url, group in by_url.items()
            for part in _parts(group)
        ]

    def _url(self, wanted: Wanted, market: Market) -> str:
        if market.spot:
            return self.urls.spot_feed if wanted.channel == "depth" else self.urls.spot_stream
        return self.urls.index_stream if wanted.channel == "mark" else self.urls.futures_stream

    def instruments(self) -> list[RestCall]:
        """Spot and perpetuals; reading the answer teaches this object their contracts."""
        return [
            RestCall("spotPublicGetV1CommonSymbols", ({},), SPOT, 1, _read_pairs),
            RestCall(
                "contractPublicGetLinearSwapApiV1SwapContractInfo",
                ({"business_type": "swap"},),
                SWAP,
                1,
                self._read_contracts,
            ),
        ]

    def server_time(self) -> RestCall:
        """HTX's clock in ms."""
        return RestCall(
            "contractPublicGetApiV1Timestamp", ({},), SWAP, 1, lambda answer, _: [mapper.of_rest(answer, "ts", int)]
        )

    def candles(self, symbol: str, timeframe: str, since_ms: int, limit: int) -> RestCall:
        """Of spot, HTX gives the newest 2,000 and nothing older, so ``since_ms`` only takes away from those. Its days begin at
        16:00 UTC, so ours are put together from candles of four hours.
        """
        market, wire = self._market(symbol), "4h" if timeframe == "1d" else timeframe
        if wire not in mapper.PERIODS:
            raise InvalidInput(f"HTX has no candles of {timeframe[:20]!r}.")
        parts = PARTS_OF_A_DAY if timeframe == "1d" else 1
        most = min(limit, CANDLE_ROWS // parts)

        def read(answer: Any, received_ms: int) -> list[Any]:
            now_ms = mapper.said_at(answer, received_ms)
            rows = sorted(mapper.of_rest(answer, "data", list[mapper.KlineRow]), key=lambda row: row.id)
            found = [_candle(row, market, wire, now_ms, received_ms) for row in rows if row.id * 1000 >= since_ms]
            return (mapper.days(found, now_ms) if parts > 1 else found)[:most]

        period = mapper.PERIODS[wire]
        if market.spot:
            arguments: dict[str, Any] = {"symbol": mapper.code(symbol), "period": period, "size": CANDLE_ROWS}
            return RestCall("spotPublicGetMarketHistoryKline", (arguments,), SPOT, 1, read)
        last_ms = since_ms + (most * parts - 1) * length_ms(wire)
        arguments = {
            "contract_code": mapper.code(symbol),
            "period": period,
            "from": since_ms // 1000,
            "to": last_ms // 1000,
        }
        return RestCall("contractPublicGetLinearSwapExMarketHistoryKline", (arguments,), SWAP_MARKET, 1, read)

    def book(self, symbol: str) -> RestCall:
        """150 levels. Its id belongs to no stream of changes: those get their whole books by ``ask_snapshot``."""
        market = self._market(symbol)

        def read(answer: Any, received_ms: int) -> list[Any]:
            row = mapper.of_rest(answer, "tick", mapper.DepthRow)
            return [mapper.whole_depth(row, market, received_ms, mapper.said_at(answer, received_ms))]

        method = "spotPublicGetMarketDepth" if market.spot else "contractPublicGetLinearSwapExMarketDepth"
        return self._call(method, market, {"type": "step0"}, read)

    def trades(self, symbol: str) -> RestCall:
        """The newest 2,000."""
        market = self._market(symbol)

        def read(answer: Any, received_ms: int) -> list[Any]:
            found: list[Any] = []
            if market.spot:
                for spot in mapper.of_rest(answer, "data", list[mapper.SpotTrades]):
                    found += mapper.spot_trades(spot.data, market, received_ms)
            else:
                for swap in mapper.of_rest(answer, "data", list[mapper.SwapTrades]):
                    found += mapper.swap_trades(swap.data, market, received_ms)
            return sorted(found, key=lambda trade: trade.id)

        method = "spotPublicGetMarketHistoryTrade" if market.spot else "contractPublicGetLinearSwapExMarketHistoryTrade"
        return self._call(method, market, {"size": TRADE_ROWS}, read)

    def poll(self, channel: Channel, symbol: str) -> RestCall:
        """``mark`` is the mark price alone, by the newest of its candles."""
        market = self._market(symbol)
        if channel in ("ticker", "top"):
            method = (
                "spotPublicGetMarketDetailMerged" if market.spot else "contractPublicGetLinearSwapExMarketDetailMerged"
            )
            return self._call(method, market, {}, _reader_of_overview(channel, market))
        if market.spot or channel not in ("mark", "open_interest"):
            raise InvalidInput(f"HTX has no {channel} of {symbol} to ask for.")
        if channel == "mark":
            method = "contractPublicGetIndexMarketHistoryLinearSwapMarkPriceKline"
            return self._call(method, market, {"period": "1min", "size": 1}, _reader_of_mark(market))

        def read(answer: Any, received_ms: int) -> list[Any]:
            row = mapper.of_rest(answer, "data", mapper.OpenInterestRow)
            return [mapper.open_interest(row, market, mapper.said_at(answer, received_ms), received_ms)]

        return self._call("contractPublicGetV5MarketOpenInterest", market, {}, read, SWAP)

    def funding(self, symbol: str, since_ms: int, limit: int) -> RestCall | None:
        """What was settled in as many hours as there can be rows: without an end HTX would begin with the newest."""
        market = self._market(symbol)
        if market.spot:
            return None

        def read(answer: Any, received_ms: int) -> list[Any]:
            rows = mapper.of_rest(answer, "data", list[mapper.FundingRow])
            found = sorted((mapper.settled(row, market, received_ms) for row in rows), key=lambda one: one.time_ms)
            return [one for one in found if one.time_ms >= since_ms]

        most = min(limit, FUNDING_ROWS)
        end_ms = since_ms + most * FUNDING_SOONEST_MS
        arguments = {"start_time": since_ms, "end_time": end_ms, "limit": FUNDING_ROWS}
        return self._call("contractPublicGetV5MarketFundingRateHistory", market, arguments, read, SWAP)

    def open_interest_history(self, symbol: str, since_ms: int, limit: int) -> RestCall | None:
        """Every hour, the newest 200 and nothing older: ``since_ms`` only takes away from those."""
        market = self._market(symbol)
        if market.spot:
            return None

        def read(answer: Any, received_ms: int) -> list[Any]:
            ticks = mapper.of_rest(mapper.of_rest(answer, "data", dict[str, Any]), "tick", list[mapper.OpenInterestBar])
            found = [
                mapper.open_interest_bar(row, market, received_ms) for row in sorted(ticks, key=lambda row: row.ts)
            ]
            return [one for one in found if one.time_ms >= since_ms][:limit]

        arguments = {"contract_type": "swap", "period": "60min", "amount_type": 2, "size": OPEN_INTEREST_ROWS}
        return self._call("contractPublicGetLinearSwapApiV1SwapHisOpenInterest", market, arguments, read, SWAP)

    def _read_contracts(self, answer: Any, _: int) -> list[Any]:
        rows = mapper.of_rest(answer, "data", list[mapper.ContractRow])
        found = [one for row in rows if (one := mapper.perpetual(row)) is not None]
        self.learn(found)
        return found

    def _call(
        self,
        method: str,
        market: Market,
        arguments: dict[str, Any],
        read: Callable[[Any, int], list[Any]],
        bucket: str = SWAP_MARKET,
    ) -> RestCall:
        named = {"symbol" if market.spot else "contract_code": mapper.code(market.symbol), **arguments}
        return RestCall(method, (named,), SPOT if market.spot else bucket, 1, read)

    def _market(self, symbol: str) -> Market:
        mapper.code(symbol)  # raises for what cannot be here
        if not symbols.taken_apart(symbol).is_perpetual:
            return Market(self.name, symbol, 1.0, spot=True)
        contract = self.contracts.get(symbol)
        if contract is not None:
            return Market(self.name, symbol, contract, spot=False)
        if not self.contracts:
            raise Unavailable(
                f"{self.name} has not said yet how large its contracts are.",
                cure="Call instruments(), or learn() what was stored, first.",
            )
        raise InvalidInput(f"{self.name} does not trade {symbol}.")


def _read_pairs(answer: Any, _: int) -> list[Any]:
    rows = mapper.of_rest(answer, "data", list[mapper.SymbolRow])
    return [one for row in rows if (one := mapper.spot_pair(row)) is not None]


def _candle(row: mapper.KlineRow, market: Market, timeframe: str, now_ms: int, received_ms: int) -> Candle:
    closed = row.id * 1000 + length_ms(timeframe) <= now_ms
    return mapper.candle(row, market, timeframe, received_ms, closed=closed)


def _reader_of_overview(channel: Channel, market: Market) -> Callable[[Any, int], list[Any]]:
    def read(answer: Any, received_ms: int) -> list[Any]:
        row, time_ms = mapper.of_rest(answer, "tick", mapper.DetailRow), mapper.said_at(answer, received_ms)
        if channel == "top":
            return mapper.top(row.bid, row.ask, market, time_ms, received_ms)
        return mapper.ticker(row, market, time_ms, received_ms)

    return read


def _reader_of_mark(market: Market) -> Callable[[Any, int], list[Any]]:
    def read(answer: Any, received_ms: int) -> list[Any]:
        rows = mapper.of_rest(answer, "data", list[mapper.KlineRow])
        return [
            Mark(
                exchange=market.exchange,
                symbol=market.symbol,
                time_ms=mapper.said_at(answer, received_ms),
                received_ms=received_ms,
                mark_price=row.close,
            )
            for row in rows[-1:]
        ]

    return read


def _parts(wanted: list[Wanted]) -> list[list[Wanted]]:
    return [wanted[start : start + WATCHED_BY_ONE] for start in range(0, len(wanted), WATCHED_BY_ONE)]
