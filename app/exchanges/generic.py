"""Any other exchange that ccxt knows, by REST alone: nothing streams, everything is asked for.

ccxt's unified methods do the mapping. What an exchange does not say stays None. Amounts of contracts become base coins by the
contract size that ccxt tells; an exchange that ccxt has wrong is wrong here too.
"""

import difflib
import hashlib
import importlib.util
import math
import re
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from app.domain.market.timeframes import TIMEFRAMES, length_ms
from app.domain.market.values import (
    BookTop,
    Candle,
    Depth,
    Funding,
    Level,
    Mark,
    OpenInterest,
    Side,
    Ticker,
    Trade,
)
from app.errors import CorruptData, InvalidInput, Misconfigured
from app.exchanges.exchange import Channel, Instrument, Limit, RestCall, Session, Wanted
from app.exchanges.rest import client

SETTLED_MS = 2_000  # our clock may be a little ahead: a candle that ended just now may still change
FEW_CANDLES = 100  # where ccxt does not say how many come in one answer
REMEMBERED_TRADES = 2_000
DECIMAL_PLACES = 2  # ccxt's number for it: a precision of 3 is a step of 0.001; elsewhere the precision is the step
_NEEDS: Mapping[Channel, tuple[str, ...]] = {
    "candles": ("fetchOHLCV",),
    "trades": ("fetchTrades",),
    "depth": ("fetchOrderBook",),
    "top": ("fetchTicker",),
    "ticker": ("fetchTicker",),
    "mark": ("fetchFundingRate", "fetchFundingRates"),
    "open_interest": ("fetchOpenInterest",),
}
"""One of these methods is enough for a channel."""


class Generic:
    """One exchange of ccxt's, under the name it is stored by."""

    def __init__(self, ccxt_id: str, *, name: str | None = None, urls: Mapping[str, Any] | None = None) -> None:
        """Raises Misconfigured for an id that ccxt does not have. It loads that exchange's module and nothing else."""
        check_id(ccxt_id)
        self.name = name or ccxt_id
        self.ccxt_id = ccxt_id
        self.ccxt_urls: Mapping[str, Any] = urls or {}
        made = client(ccxt_id, self.ccxt_urls, None)
        self._has: Mapping[str, Any] = made.has
        self._places = made.precisionMode == DECIMAL_PLACES
        self._timeframes = frozenset(made.timeframes or ())
        # ccxt says how many ms should lie between two calls; it counts some calls for more, and a 429 tells
        self.limits: Sequence[Limit] = (Limit("rest", 1, max(made.rateLimit, 1) / 1_000),)
        self.most_candles = _most_candles(made.describe().get("features"))
        made.close()
        self.polled: frozenset[Channel] = frozenset(
            channel for channel, methods in _NEEDS.items() if any(self._can(method) for method in methods)
        )
        self._watched: set[str] = set()
        self._contracts: dict[str, _Contract] = {}
        self._seen: dict[str, OrderedDict[Any, None]] = {}
        self._torn: set[str] = set()

    def prepare(self, made: Any) -> None:
        """Teach the ccxt object to keep only the markets that are watched: all of them are tens of megabytes.

        Called in the thread that sends, before the first call.
        """
        fetch, market = made.fetch_markets, made.market

        def fetch_watched(params: Any = None) -> list[Any]:
            everything = fetch(params or {})
            self._contracts = {one["symbol"]: _Contract(one) for one in everything if one.get("contract")}
            return [one for one in everything if one["symbol"] in self._watched]

        def find(symbol: str) -> Any:
            if made.markets is not None and symbol not in made.markets:  # watched since the markets were loaded
                made.load_markets(True)
            return market(symbol)

        made.has["fetchCurrencies"] = False
        made.all_markets = fetch
        made.fetch_markets = fetch_watched
        made.market = find

    def sessions(self, wanted: Sequence[Wanted]) -> list[Session]:
        """None: everything is polled."""
        self._watched.update(one.symbol for one in wanted)
        return []

    def instruments(self) -> list[RestCall]:
        """Spot pairs and perpetuals."""
        return [RestCall("all_markets", (), "rest", 1, lambda answer, _at_ms: _instruments(answer, self._places))]

    def server_time(self) -> RestCall:
        """Our own clock where the exchange does not tell its."""
        method = "fetch_time" if self._can("fetchTime") else "milliseconds"
        return RestCall(method, (), "rest", 1, lambda answer, _received_ms: [int(answer)])

    def candles(self, symbol: str, timeframe: str, since_ms: int, limit: int) -> RestCall:
        """Those that ended are closed."""
        if timeframe not in self._timeframes or timeframe not in TIMEFRAMES:
            raise InvalidInput(f"{self.name} has no candles of {timeframe[:20]!r}.")

        def read(answer: Any, received_ms: int) -> list[Candle]:
            settled_ms = received_ms - SETTLED_MS - length_ms(timeframe)
            candles = []
            for time_ms, *prices, volume in sorted(row[:6] for row in answer):
                opened, high, low, close = (_needed(price, "price") for price in prices)
                candles.append(
                    Candle(
                        self.name, symbol, int(time_ms), received_ms,
                        timeframe=timeframe, open=opened, high=high, low=low, close=close,
                        volume=self._base(symbol, _needed(volume, "volume"), close),
                        closed=time_ms <= settled_ms,
                    )
                )  # fmt: skip
            return candles

        return self._call("fetch_ohlcv", symbol, read, timeframe, since_ms, min(limit, self.most_candles))

    def book(self, symbol: str) -> RestCall:
        """As many levels as the exchange gives unasked."""

        def read(answer: Any, received_ms: int) -> list[Depth]:
            time_ms = answer.get("timestamp") or received_ms
            sides = [
                [self._level(symbol, row) for row in answer[side]]
                for side in ("bids", "asks")
            ]  # fmt: skip
            number = answer.get("nonce") or time_ms
            return [
                Depth(
                    self.name, symbol, time_ms, received_ms,
                    last_id=int(number), bids=sides[0], asks=sides[1], snapshot=True,
                )
            ]  # fmt: skip

        return self._call("fetch_order_book", symbol, read)

    def take_torn(self, symbol: str) -> bool:
        """Whether an answer with trades began behind all that came before: what lies between may be lost."""
        torn = symbol in self._torn
        self._torn.discard(symbol)
        return torn

    def trades(self, symbol: str) -> RestCall:
        """Those that did not come in an earlier answer."""

        def read(answer: Any, received_ms: int) -> list[Trade]:
            seen = self._seen.setdefault(symbol, OrderedDict())
            rows = sorted(answer, key=lambda row: row["timestamp"])
            keys = _keys(rows)
            new = {key: row for key, row in zip(keys, rows, strict=True) if key not in seen}
            if seen and new and seen.keys().isdisjoint(keys):
                self._torn.add(symbol)
            trades = []
            for key, row in new.items():
                price = _needed(row["price"], "price")
                trades.append(
                    Trade(
                        self.name, symbol, int(row["timestamp"]), received_ms,
                        price=price, quantity=self._base(symbol, _needed(row["amount"], "amount"), price),
                        side=_side(row["side"]), id=_id(key),
                    )
                )  # fmt: skip
            seen.update(dict.fromkeys(new))
            while len(seen) > REMEMBERED_TRADES:
                seen.popitem(last=False)
            return trades

        return self._call("fetch_trades", symbol, read)

    def poll(self, channel: Channel, symbol: str) -> RestCall:
        """The present value of ``open_interest``, ``mark``, ``ticker`` or ``top``."""
        if channel not in self.polled:
            raise InvalidInput(f"{self.name} does not tell {channel}.")
        match channel:
            case "ticker":
                return self._call("fetch_ticker", symbol, lambda row, at_ms: self._ticker(symbol, row, at_ms))
            case "top":
                return self._call("fetch_ticker", symbol, lambda row, at_ms: self._top(symbol, row, at_ms))
            case "open_interest":
                return self._call("fetch_open_interest", symbol, lambda row, at_ms: self._interest(symbol, row, at_ms))
            case "mark" if self._can("fetchFundingRate"):
                return self._call("fetch_funding_rate", symbol, lambda row, at_ms: self._mark(symbol, row, at_ms))
            case "mark":
                self._watched.add(symbol)
                return RestCall(
                    "fetch_funding_rates", ([symbol],), "rest", 1,
                    lambda rows, at_ms: self._mark(symbol, rows[symbol], at_ms),
                )  # fmt: skip
            case _:
                raise InvalidInput(f"{channel} has a call of its own.")

    def funding(self, symbol: str, since_ms: int, limit: int) -> RestCall | None:
        """None for spot, and where the exchange keeps none."""
        if ":" not in symbol or not self._can("fetchFundingRateHistory"):
            return None

        def read(answer: Any, received_ms: int) -> list[Funding]:
            rows = sorted(answer, key=lambda row: row["timestamp"])
            return [
                Funding(self.name, symbol, int(row["timestamp"]), received_ms, rate=_needed(row["fundingRate"], "rate"))
                for row in rows
            ]

        return self._call("fetch_funding_rate_history", symbol, read, since_ms, limit)

    def open_interest_history(self, symbol: str, since_ms: int, limit: int) -> RestCall | None:
        """None for spot, and where the exchange keeps none."""
        if ":" not in symbol or not self._can("fetchOpenInterestHistory"):
            return None

        def read(answer: Any, received_ms: int) -> list[OpenInterest]:
            rows = sorted(answer, key=lambda row: row["timestamp"])
            return [one for row in rows for one in self._interest(symbol, row, received_ms)]

        return self._call("fetch_open_interest_history", symbol, read, "5m", since_ms, limit)

    def _call(self, method: str, symbol: str, read: Any, *arguments: Any) -> RestCall:
        self._watched.add(symbol)
        return RestCall(method, (symbol, *arguments), "rest", 1, read)

    def _can(self, method: str) -> bool:
        return bool(self._has.get(method)) and not (method == "fetchOHLCV" and self._has[method] == "emulated")

    def _base(self, symbol: str, amount: float, price: float) -> float:
        contract = self._contracts.get(symbol)
        return amount if contract is None else contract.base(amount, price)

    def _level(self, symbol: str, row: Sequence[Any]) -> Level:
        price = _needed(row[0], "price")
        return price, self._base(symbol, _needed(row[1], "amount"), price)

    def _ticker(self, symbol: str, row: Any, received_ms: int) -> list[Ticker]:
        bid, ask, last = _number(row.get("bid")), _number(row.get("ask")), _number(row.get("last"))
        if last is None:  # nothing was traded yet
            return []

        def base(amount: Any, price: float | None) -> float | None:
            number = _number(amount)
            return None if number is None or price is None else self._base(symbol, number, price)

        return [
            Ticker(
                self.name, symbol, int(row.get("timestamp") or received_ms), received_ms,
                last=last,
                open=_number(row.get("open")), high=_number(row.get("high")), low=_number(row.get("low")),
                volume=base(row.get("baseVolume"), last), quote_volume=_number(row.get("quoteVolume")),
                change=_number(row.get("change")), change_percent=_number(row.get("percentage")),
                bid=bid, bid_quantity=base(row.get("bidVolume"), bid),
                ask=ask, ask_quantity=base(row.get("askVolume"), ask),
            )
        ]  # fmt: skip

    def _top(self, symbol: str, row: Any, received_ms: int) -> list[BookTop]:
        bid, ask = _number(row.get("bid")), _number(row.get("ask"))
        bid_amount, ask_amount = _number(row.get("bidVolume")), _number(row.get("askVolume"))
        if bid is None or ask is None or bid_amount is None or ask_amount is None:
            return []
        return [
            BookTop(
                self.name, symbol, int(row.get("timestamp") or received_ms), received_ms,
                bid=bid, bid_quantity=self._base(symbol, bid_amount, bid),
                ask=ask, ask_quantity=self._base(symbol, ask_amount, ask),
            )
        ]  # fmt: skip

    def _mark(self, symbol: str, row: Any, received_ms: int) -> list[Mark]:
        next_ms = _number(row.get("fundingTimestamp")) or _number(row.get("nextFundingTimestamp"))
        return [
            Mark(
                self.name, symbol, int(row.get("timestamp") or received_ms), received_ms,
                mark_price=_number(row.get("markPrice")), index_price=_number(row.get("indexPrice")),
                funding_rate=_number(row.get("fundingRate")), next_funding_ms=None if next_ms is None else int(next_ms),
            )
        ]  # fmt: skip

    def _interest(self, symbol: str, row: Any, received_ms: int) -> list[OpenInterest]:
        amount, value = _number(row.get("openInterestAmount")), _number(row.get("openInterestValue"))
        contract = self._contracts.get(symbol)
        if amount is None or (contract is not None and contract.inverse):
            return []  # without a price, contracts worth quote coins cannot be told in base coins
        quantity = self._base(symbol, amount, 1.0)
        time_ms = int(row.get("timestamp") or received_ms)
        return [OpenInterest(self.name, symbol, time_ms, received_ms, quantity=quantity, value=value)]


def _keys(rows: Sequence[Any]) -> list[Any]:
    """What tells trades apart. Without ids, equal ones of one moment are told apart by their number."""
    equal: Counter[tuple[Any, ...]] = Counter()
    keys: list[Any] = []
    for row in rows:
        said = (row["timestamp"], row["price"], row["amount"], row["side"])
        equal[said] += 1
        keys.append(row.get("id") or (*said, equal[said]))
    return keys


class _Contract:
    """How much one contract is."""

    def __init__(self, market: Mapping[str, Any]) -> None:
        self.size = _number(market.get("contractSize"))
        self.inverse = bool(market.get("inverse"))

    def base(self, amount: float, price: float) -> float:
        """So many contracts in base coins."""
        if self.size is None:
            raise CorruptData("The size of this contract is not known.")
        return amount * self.size / price if self.inverse else amount * self.size


def check_id(ccxt_id: str) -> None:
    """Raise Misconfigured for what is no exchange of ccxt's, naming what is near."""
    known = known_ids()
    if ccxt_id not in known:
        near = difflib.get_close_matches(ccxt_id.lower(), known, n=4, cutoff=0.5)
        meant = (
            f"Did you mean {' or '.join(near)}?"
            if near
            else f"ccxt knows {len(known)}, such as {', '.join(known[:5])}."
        )
        raise Misconfigured(f"There is no exchange {ccxt_id[:40]!r}.", cure=meant)


def known_ids() -> list[str]:
    """All of ccxt's, by the names of its files."""
    spec = importlib.util.find_spec("ccxt")
    folders = spec.submodule_search_locations if spec else None
    files = [path for folder in folders or () for path in Path(folder).glob("*.py")]
    return sorted(path.stem for path in files if re.fullmatch(r"[a-z0-9]+", path.stem))


def _instruments(answer: Any, places: bool) -> list[Instrument]:
    """Of ccxt's markets, those that have a place here: no dated futures, no options."""
    return [
        Instrument(
            symbol=one["symbol"],
            base=one["base"],
            quote=one["quote"],
            settle=one.get("settle"),
            price_step=_step(one, "price", places),
            quantity_step=_step(one, "amount", places),
            contract_size=_number(one.get("contractSize")),
            min_quantity=_number(((one.get("limits") or {}).get("amount") or {}).get("min")),
            active=one.get("active") is not False,
        )
        for one in answer
        if one.get("spot") or one.get("swap")
    ]


def _step(market: Mapping[str, Any], what: str, places: bool) -> float | None:
    step = _number((market.get("precision") or {}).get(what))
    if places and step is not None:
        step = 10.0**-step
    return step if step and step > 0 else None


def _number(said: Any) -> float | None:
    """A number, or None for what was not said."""
    if said is None:
        return None
    number = float(said)
    return number if math.isfinite(number) else None


def _needed(said: Any, what: str) -> float:
    number = _number(said)
    if number is None:
        raise CorruptData(f"An answer has no {what}.")
    return number


def _side(said: Any) -> Side:
    if said == "buy":
        return "buy"
    if said == "sell":
        return "sell"
    raise CorruptData(f"A trade without its taker's side: {said!r}.")


def _id(key: Any) -> int:
    """A number for a trade: its own where it is one, else one that stays the same for the same trade."""
    if isinstance(key, str) and key.isdecimal() and len(key) < 19:
        return int(key)
    return int.from_bytes(hashlib.blake2b(repr(key).encode(), digest_size=7).digest())


def _most_candles(features: Any) -> int:
    """The least that any market of the exchange gives in one answer, as far as ccxt knows."""
    found: list[int] = []

    def look(at: Any) -> None:
        if isinstance(at, dict):
            candles = at.get("fetchOHLCV")
            if isinstance(candles, dict) and isinstance(candles.get("limit"), int):
                found.append(candles["limit"])
            for below in at.values():
                look(below)

    look(features)
    return min(found, default=FEW_CANDLES)
