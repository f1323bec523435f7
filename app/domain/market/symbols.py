"""Symbols: one form inside, ccxt's (``BTC/USDT:USDT`` the perpetual, ``BTC/USDT`` spot), every common spelling at the door."""

import re
from dataclasses import dataclass

from app.errors import InvalidInput

LONGEST = 40  # characters, in the table of pairs; the documents' table of symbols holds 20 and says so itself
QUOTES = ("USDT", "USDC", "FDUSD", "TUSD", "BUSD", "DAI", "USD", "BTC", "ETH", "BNB", "EUR", "TRY")
"""Where a spelling has no separator, the quote coin is the longest of these that ends it."""
SHORTEST_BASE = 3
_PERPETUAL = re.compile(r"[-_.](?:SWAP|PERP|PERPETUAL|P)$")
SETTLES = frozenset(("USDT", "USDC", "FDUSD", "BUSD"))
"""Quote coins in which perpetuals are settled; a cross like ETHBTC, or dollars like XBTUSD, is spot unless it says otherwise."""
_COIN = re.compile(r"[A-Z0-9]{1,20}")


@dataclass(frozen=True, slots=True)
class Symbol:
    """A pair taken apart. ``settle`` is None for spot."""

    base: str
    quote: str
    settle: str | None = None

    @property
    def name(self) -> str:
        """The form inside."""
        return f"{self.base}/{self.quote}" + (f":{self.settle}" if self.settle else "")

    @property
    def joined(self) -> str:
        """``BTCUSDT``."""
        return self.base + self.quote

    @property
    def is_perpetual(self) -> bool:
        """Whether it is a perpetual future."""
        return self.settle is not None


def parse(text: str, *, spot: bool = False) -> str:
    """Any common spelling as the form inside.

    ``BTC/USDT`` is spot and ``BTC/USDT:USDT``, ``BTC-USDT-SWAP``, ``BTCUSDT.P``, ``BTC_USDT_USDT`` are the perpetual, as
    everybody writes them. What does not say (``BTCUSDT``, ``btc-usdt``, ``BTC_USDT``) is the perpetual, because that is what
    strategies judge, unless ``spot`` is asked for or nobody settles in that coin (``ETHBTC``).
    """
    return taken_apart(text, spot=spot).name


def taken_apart(text: str, *, spot: bool = False) -> Symbol:
    """Any common spelling, as its coins."""
    word = text.strip().upper()
    perpetual, said = not spot, False
    if "/" in word:
        word, colon, settle = word.partition(":")
        base, _, quote = word.partition("/")
        return _checked(text, base, quote, settle if colon else None)
    if _PERPETUAL.search(word):
        word, said = _PERPETUAL.sub("", word), True
    parts = re.split(r"[-_]", word)
    if len(parts) == 3 and parts[1] == parts[2]:  # freqtrade's file names
        return _checked(text, parts[0], parts[1], parts[2])
    if len(parts) == 2:
        base, quote = parts
    else:
        base, quote = _split(word)
    if said and quote == "USD":
        raise InvalidInput(
            f"{text[:40]!r} is settled in its own coin.", cure=f"Say in which: {base}/USD:{base}, for example."
        )
    return _checked(text, base, quote, quote if said or (perpetual and quote in SETTLES) else None)


def _split(word: str) -> tuple[str, str]:
    for quote in QUOTES:
        base = word.removesuffix(quote)
        if not base or base == word:
            continue
        if quote in ("TUSD", "BUSD", "FDUSD") and len(base) < SHORTEST_BASE:
            continue  # DOTUSD is DOT in dollars, and nobody's DO in TUSD
        return base, quote
    return word, ""


def _checked(text: str, base: str, quote: str, settle: str | None) -> Symbol:
    found = Symbol(base, quote, settle)
    coins = [base, quote] if settle is None else [base, quote, settle]
    if not all(_COIN.fullmatch(coin) for coin in coins) or len(found.name) > LONGEST or base == quote:
        raise InvalidInput(
            f"{text[:40]!r} is not a symbol.",
            cure="Write it like BTCUSDT, BTC/USDT (spot) or BTC/USDT:USDT (perpetual).",
        )
    return found
