"""Symbols: one form inside, ccxt's (``BTC/USDT:USDT`` the perpetual, ``BTC/USDT`` spot), every common spelling at the door."""

import re
from dataclasses import dataclass

from app.errors import InvalidInput

LONGEST = 20  # the documents' column holds so many characters
QUOTES = ("USDT", "USDC", "FDUSD", "TUSD", "BUSD", "DAI", "USD", "BTC", "ETH", "BNB", "EUR", "TRY")
"""Where a spelling has no separator, the quote coin is the longest of these that ends it."""
_PERPETUAL = re.compile(r"[-_.](?:SWAP|PERP|PERPETUAL|P)$")
_COIN = re.compile(r"[A-Z0-9]{1,15}")


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
    strategies judge, unless ``spot`` is asked for.
    """
    return taken_apart(text, spot=spot).name


def taken_apart(text: str, *, spot: bool = False) -> Symbol:
    """Any common spelling, as its coins."""
    word = text.strip().upper()
    perpetual = not spot
    if "/" in word:
        word, colon, settle = word.partition(":")
        base, _, quote = word.partition("/")
        return _checked(text, base, quote, settle if colon else None)
    if _PERPETUAL.search(word):
        word, perpetual = _PERPETUAL.sub("", word), True
    parts = re.split(r"[-_]", word)
    if len(parts) == 3 and parts[1] == parts[2]:  # freqtrade's file names
        return _checked(text, parts[0], parts[1], parts[2])
    if len(parts) == 2:
        base, quote = parts
    else:
        base, quote = _split(word)
    return _checked(text, base, quote, quote if perpetual else None)


def _split(word: str) -> tuple[str, str]:
    for quote in QUOTES:
        if word.endswith(quote) and len(word) > len(quote):
            return word[: -len(quote)], quote
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
