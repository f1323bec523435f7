"""OKX as an ``Exchange``: its sessions, and what its REST API is asked. Endpoints have a limit each, so each is its own bucket."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from app.domain.market import symbols
from app.domain.market.timeframes import length_ms
from app.errors import CorruptData, InvalidInput, Unavailable
from app.exchanges.exchange import Channel, Instrument, Limit, RestCall, Session, Wanted
from app.exchanges.okx import mapper
from app.exchanges.okx.mapper import Market
from app.exchanges.okx.stream import OkxSession

WATCHED_BY_ONE = 300  # up to 900 arguments, under 64 KB together, which is what a connection may subscribe to
FUNDING_ROWS = 400
FUNDING_SOONEST_MS = 3_600_000  # no contract settles more often
OPEN_INTEREST_ROWS = 100
OPEN_INTEREST_STEP_MS = 300_000
TRADE_ROWS = 500
CANDLE_ROWS = 100  # 300 since 2025, but who still gives 100 would leave out the older ones without a word
BOOK_ROWS = 400

_TIMES_IN_2_S = {
    "publicGetPublicInstruments": 20,
    "publicGetPublicTime": 10,
    "publicGetPublicOpenInterest": 20,
    "publicGetPublicMarkPrice": 10,
    "publicGetPublicFundingRateHistory": 10,
    "publicGetMarketHistoryCandles": 20,
    "publicGetMarketBooks": 40,
    "publicGetMarketTrades": 100,
    "publicGetMarketTicker": 20,
    "publicGetRubikStatContractsOpenInterestHistory": 10,
}


@dataclass(frozen=True, slots=True)
class Urls:
    """Where OKX is."""

    rest: str
    stream: str
    business_stream: str


class _Time(msgspec.Struct, frozen=True):
    ts: int


@dataclass(slots=True, eq=False)
class Okx:
    """OKX under the name it is stored by. It answers about a perpetual only when it has learned the size of its contracts."""

    name: str
    urls: Urls
    ccxt_id: str = "okx"
    polled: frozenset[Channel] = frozenset()
    most_candles: int = CANDLE_ROWS
    limits: Sequence[Limit] = tuple(Limit(method, times, 2.0) for method, times in _TIMES_IN_2_S.items())
    contracts: dict[str, float] = field(default_factory=dict)
    """By perpetual: base coins in one contract."""

    @property
    def ccxt_urls(self) -> Mapping[str, Any]:
        """Put over ``urls["api"]`` of the ccxt object."""
        return {"rest": self.urls.rest}

    def learn(self, known: Iterable[Instrument]) -> None:
        """Take the sizes of contracts: from ``instruments()`` by itself, after a restart from what was stored."""
        for one in known:
            if one.settle is not None and one.contract_size:
                self.contracts[one.symbol] = one.contract_size

    def sessions(self, wanted: Sequence[Wanted]) -> list[Session]:
        """Candles are on another stream than all else. Raises Unavailable while contracts are unknown."""
        markets = {mapper.inst_id(one.symbol): self._market(one.symbol) for one in wanted}
        candles = [one for one in wanted if one.channel == "candles"]
        others = [one for one in wanted if one.channel != "candles"]
        return [
            OkxSession(url, part, {inst: markets[inst] for inst in {mapper.inst_id(one.symbol) for one in part}})
            for url, group in ((self.urls.business_stream, candles), (self.urls.stream, others))
            for part in _parts(group)
        ]

    def instruments(self) -> list[RestCall]:
        """Spot and linear perpetuals; reading the answer teaches this object their contracts."""
        return [
            self._call("publicGetPublicInstruments", {"instType": kind}, self._read_instruments)
            for kind in ("SPOT", "SWAP")
        ]

    def server_time(self) -> RestCall:
        """OKX's clock in ms."""
        return self._call(
            "publicGetPublicTime", {}, lambda answer, _: [row.ts for row in mapper.of_rest(answer, _Time)]
        )

    def candles(self, symbol: str, timeframe: str, since_ms: int, limit: int) -> RestCall:
        """Both bounds are exclusive there, and without the upper one the newest candles would come."""
        market, most = self._market(symbol), min(limit, self.most_candles)
        if timeframe not in mapper.BARS:
            raise InvalidInput(f"OKX has no candles of {timeframe[:20]!r}.")

        def read(answer: Any, received_ms: int) -> list[Any]:
            rows = mapper.of_rest(answer, mapper.CandleRow)
            return sorted(mapper.candles(rows, market, timeframe, received_ms), key=lambda candle: candle.time_ms)

        return self._call(
            "publicGetMarketHistoryCandles",
            {
                "instId": mapper.inst_id(symbol),
                "bar": mapper.BARS[timeframe],
                "before": str(since_ms - 1),
                "after": str(since_ms + most * length_ms(timeframe)),
                "limit": str(most),
            },
            read,
        )

    def book(self, symbol: str) -> RestCall:
        """400 levels. Without a sequence id nobody knows which changes follow it."""
        market = self._market(symbol)

        def read(answer: Any, received_ms: int) -> list[Any]:
            rows = mapper.of_rest(answer, mapper.BookRow)
            if any(row.seq_id is None for row in rows):
                raise CorruptData("OKX sent a book without its sequence id.")
            return [mapper.depth(row, market, received_ms, snapshot=True) for row in rows]

        return self._call("publicGetMarketBooks", {"instId": mapper.inst_id(symbol), "sz": str(BOOK_ROWS)}, read)

    def trades(self, symbol: str) -> RestCall:
        """The newest 500, one by one."""
        market = self._market(symbol)

        def read(answer: Any, received_ms: int) -> list[Any]:
            rows = sorted(mapper.of_rest(answer, mapper.TradeRow), key=lambda row: row.trade_id)
            return mapper.trades(rows, market, received_ms)

        return self._call("publicGetMarketTrades", {"instId": mapper.inst_id(symbol), "limit": str(TRADE_ROWS)}, read)

    def poll(self, channel: Channel, symbol: str) -> RestCall:
        """Everything that is polled elsewhere has a stream here; this asks once."""
        inst_id, market = mapper.inst_id(symbol), self._market(symbol)
        if channel == "ticker":
            return self._rows("publicGetMarketTicker", {"instId": inst_id}, mapper.TickerRow, mapper.tickers, market)
        if channel == "top":
            return self._rows(
                "publicGetMarketBooks", {"instId": inst_id, "sz": "1"}, mapper.BookRow, mapper.tops, market
            )
        if channel == "mark" and not market.spot:
            arguments = {"instType": "SWAP", "instId": inst_id}
            return self._rows("publicGetPublicMarkPrice", arguments, mapper.MarkRow, mapper.marks, market)
        if channel == "open_interest" and not market.spot:
            arguments, rows = {"instType": "SWAP", "instId": inst_id}, mapper.OpenInterestRow
            return self._rows("publicGetPublicOpenInterest", arguments, rows, mapper.open_interests, market)
        raise InvalidInput(f"OKX has no {channel} of {symbol} to ask for.")

    def funding(self, symbol: str, since_ms: int, limit: int) -> RestCall | None:  # noqa: ARG002 - as much as it gives
        """OKX keeps three months. Without an upper bound it gives the newest 400, and would leave out what is older."""
        market = self._market(symbol)
        if market.spot:
            return None

        def read(answer: Any, received_ms: int) -> list[Any]:
            rows = sorted(mapper.of_rest(answer, mapper.FundingRow), key=lambda row: row.funding_time)
            return mapper.settled(rows, market, received_ms)

        arguments = {
            "instId": mapper.inst_id(symbol),
            "before": str(since_ms - 1),
            "after": str(since_ms + FUNDING_ROWS * FUNDING_SOONEST_MS),
            "limit": str(FUNDING_ROWS),
        }
        return self._call("publicGetPublicFundingRateHistory", arguments, read)

    def open_interest_history(self, symbol: str, since_ms: int, limit: int) -> RestCall | None:
        """OKX keeps the last 1,440 steps of 5 minutes: five days."""
        market, most = self._market(symbol), min(limit, OPEN_INTEREST_ROWS)
        if market.spot:
            return None

        def read(answer: Any, received_ms: int) -> list[Any]:
            rows = sorted(mapper.of_rest(answer, mapper.OpenInterestBar), key=lambda row: row.ts)
            return mapper.open_interests(rows, market, received_ms)

        return self._call(
            "publicGetRubikStatContractsOpenInterestHistory",
            {
                "instId": mapper.inst_id(symbol),
                "period": "5m",
                "begin": str(since_ms - 1),
                "end": str(since_ms + most * OPEN_INTEREST_STEP_MS),
                "limit": str(most),
            },
            read,
        )

    def _read_instruments(self, answer: Any, _: int) -> list[Any]:
        found = mapper.instruments(mapper.of_rest(answer, mapper.InstrumentRow))
        self.learn(found)
        return found

    def _rows(
        self, method: str, arguments: dict[str, str], row_type: Any, reader: mapper.Reader, market: Market
    ) -> RestCall:
        return self._call(
            method, arguments, lambda answer, received_ms: reader(mapper.of_rest(answer, row_type), market, received_ms)
        )

    def _call(self, method: str, arguments: dict[str, str], read: Callable[[Any, int], list[Any]]) -> RestCall:
        return RestCall(method, (arguments,), method, 1, read)

    def _market(self, symbol: str) -> Market:
        mapper.inst_id(symbol)  # raises for what cannot be here
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


def _parts(wanted: list[Wanted]) -> list[list[Wanted]]:
    size = WATCHED_BY_ONE
    return [wanted[start : start + size] for start in range(0, len(wanted), size)]
