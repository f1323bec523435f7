"""What the venues trade, and what kind of coin each is: its price, how much it moves, how much of it is traded."""

import math
from dataclasses import dataclass

from app.errors import NotFound
from app.exchanges.demo import noise
from app.exchanges.demo.values import VENUES, DemoInstrument, Venue

LISTED_MS = 1_609_459_200_000
"""2021-01-01: minutes, knots and ids are counted from here."""
SHARE = {"binance": 1.0, "okx": 0.35, "htx": 0.12}
"""Of a coin's volume, by venue."""
SPOT_SHARE = 0.3
LEGS = 6
"""Parts of a minute; see ``flow``."""


@dataclass(frozen=True, slots=True)
class Coin:
    """One coin against the dollar."""

    name: str
    price: float
    price_digits: int
    quantity_digits: int
    day_usd: float
    """What is traded in a usual day on the largest venue's perpetual."""
    trades: int
    """A minute, there."""
    beta: float = 1.0
    """How much of the whole market's move it takes part in."""
    own: float = 0.6
    """How much it moves by itself, in units of the market's move."""
    spread: int = 1
    """In ticks."""
    plants: float = 0.2
    """How often plants are on it: 1 is several of each kind an hour."""


COINS = (
    Coin("BTC", 98_000, 1, 3, 3.0e9, 240, own=0.0, plants=1.0),
    Coin("ETH", 3_400, 2, 3, 1.6e9, 240, 1.1, 0.5, plants=1.0),
    Coin("BNB", 820, 2, 2, 3.0e8, 120, 0.8, 0.5, plants=0.4),
    Coin("SOL", 185, 2, 2, 7.0e8, 120, 1.2, 0.7, plants=0.4),
    Coin("XRP", 2.4, 4, 1, 4.5e8, 120, 1.0, 0.8, plants=0.4),
    Coin("ADA", 0.82, 4, 0, 1.3e8, 60, 1.1, 0.8),
    Coin("DOGE", 0.21, 5, 0, 2.6e8, 60, 1.2, 0.9),
    Coin("LINK", 18, 3, 2, 1.1e8, 60, 1.1, 0.8),
    Coin("LTC", 104, 2, 3, 9.0e7, 60, 0.9, 0.7),
    Coin("AVAX", 26, 3, 1, 9.0e7, 60, 1.2, 0.9),
    Coin("SUI", 3.1, 4, 1, 1.5e8, 60, 1.3, 1.1),
    Coin("1000PEPE", 0.0112, 7, 0, 1.6e8, 60, 1.4, 1.4, spread=2),
    Coin("ONDO", 0.93, 4, 1, 4.0e7, 24, 1.2, 1.3),
)
MOST = 1_000
_PERPETUALS = {"binance": MOST, "okx": 8, "htx": 5}
_SPOT = {
    "binance": ("BTC", "ETH", "BNB", "SOL", "XRP"),
    "okx": ("BTC", "ETH", "BNB", "SOL"),
    "htx": ("BTC", "ETH", "BNB"),
}
_CROSSES = {"binance": ("ETH", "BNB"), "okx": ("ETH", "BNB"), "htx": ("ETH", "BNB")}
CROSS_DIGITS = 6
_CONTRACT = {  # base coins in a contract, and digits of the smallest quantity in coins
    "okx": {"BTC": (0.01, 4), "ETH": (0.1, 3), "BNB": (0.01, 2), "SOL": (1.0, 2), "XRP": (100.0, 0), "ADA": (100.0, -1),
            "DOGE": (1000.0, -1), "LINK": (1.0, 1)},
    "htx": {"BTC": (0.001, 3), "ETH": (0.01, 2), "BNB": (0.01, 2), "SOL": (1.0, 0), "XRP": (10.0, -1)},
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Listing:
    """An instrument with what is needed to generate it. ``over`` is the coin that prices it: BTC in ``ETH/BTC``."""

    venue: Venue
    instrument: DemoInstrument
    coin: Coin
    over: Coin | None
    day_quantity: float
    """Base coins traded in a usual day."""
    quantity_digits: int
    """May be negative: -1 counts tens."""

    @property
    def symbol(self) -> str:
        """As in ``BTC/USDT:USDT``."""
        return self.instrument.symbol

    @property
    def pairs(self) -> int:
        """Pairs of trades in a leg of a minute; see ``flow``."""
        return self.instrument.trades_a_minute // (2 * LEGS)

    @property
    def usual_price(self) -> float:
        """What it costs about."""
        return self.coin.price / (self.over.price if self.over else 1)

    @property
    def day_usd(self) -> float:
        """What is traded in a usual day."""
        return self.day_quantity * self.coin.price

    def quantity(self, lots: int) -> float:
        """In coins; exactly what the decimal text says."""
        if self.quantity_digits < 0:
            return float(lots * int(10.0**-self.quantity_digits))
        return float(lots / 10.0**self.quantity_digits)

    def price(self, ticks: int) -> float:
        """Exactly what the decimal text says."""
        return float(ticks / 10.0**self.instrument.price_digits)


def coins(seed: int, count: int) -> tuple[Coin, ...]:
    """The named ones first, then as many as were asked for."""
    return (*COINS[:count], *(_made(seed, number) for number in range(len(COINS) + 1, count + 1)))


def _made(seed: int, number: int) -> Coin:
    of = noise.key(seed, "coin", number)
    exponent = -2 + 4.5 * noise.one(of, 0)
    size = math.floor(exponent)
    return Coin(
        name=f"D{number:03d}",
        price=round(10**exponent, 4 - size),
        price_digits=max(4 - size, 1),
        quantity_digits=max(round(exponent), 0),
        day_usd=4e6 * 15 ** noise.one(of, 1),
        trades=12,
        beta=0.7 + 0.7 * noise.one(of, 2),
        own=0.8 + 0.9 * noise.one(of, 3),
        spread=1 + int(3 * noise.one(of, 4)),
        plants=0.0,
    )


def listings(seed: int, count: int) -> dict[Venue, dict[str, Listing]]:
    """Of every venue: perpetuals, spot, crosses."""
    every = coins(seed, count)
    named = {coin.name: coin for coin in COINS}
    found: dict[Venue, dict[str, Listing]] = {}
    for venue in VENUES:
        perpetuals = [_listing(venue, coin, perpetual=True) for coin in every[: _PERPETUALS[venue]]]
        spot = [_listing(venue, named[name], perpetual=False) for name in _SPOT[venue]]
        crosses = [_cross(venue, named[name], named["BTC"]) for name in _CROSSES[venue]]
        found[venue] = {one.symbol: one for one in (*perpetuals, *spot, *crosses)}
    return found


def look_up(among: dict[Venue, dict[str, Listing]], venue: Venue, symbol: str) -> Listing:
    """Raises NotFound."""
    found = among[venue].get(symbol)
    if found is None:
        raise NotFound(f"The demo's {venue} does not trade {symbol!r}.")
    return found


def _listing(venue: Venue, coin: Coin, *, perpetual: bool) -> Listing:
    contract, digits = 1.0, coin.quantity_digits
    if perpetual and venue in _CONTRACT:
        contract, digits = _CONTRACT[venue][coin.name]
    elif not perpetual:
        digits += 1
    price_digits = coin.price_digits
    if not perpetual and coin.price > 10_000:
        price_digits = 2
    symbol = f"{coin.name}/USDT" + (":USDT" if perpetual else "")
    share = SHARE[venue] * (1 if perpetual else SPOT_SHARE)
    return Listing(
        venue,
        DemoInstrument(
            symbol=symbol,
            base=coin.name,
            quote="USDT",
            settle="USDT" if perpetual else None,
            price_step=float(f"1e{-price_digits}"),
            quantity_step=float(f"1e{-digits}"),
            contract_size=contract,
            price_digits=price_digits,
            quantity_digits=max(digits, 0),
            listed_ms=LISTED_MS,
            trades_a_minute=_trades(coin.trades, share),
        ),
        coin,
        None,
        day_quantity=share * coin.day_usd / coin.price,
        quantity_digits=digits,
    )


def _cross(venue: Venue, coin: Coin, over: Coin) -> Listing:
    share = SHARE[venue] * SPOT_SHARE * 0.1
    digits = coin.quantity_digits + 1
    return Listing(
        venue,
        DemoInstrument(
            symbol=f"{coin.name}/{over.name}",
            base=coin.name,
            quote=over.name,
            settle=None,
            price_step=float(f"1e{-CROSS_DIGITS}"),
            quantity_step=float(f"1e{-digits}"),
            contract_size=1.0,
            price_digits=CROSS_DIGITS,
            quantity_digits=digits,
            listed_ms=LISTED_MS,
            trades_a_minute=24,
        ),
        coin,
        over,
        day_quantity=share * coin.day_usd / coin.price,
        quantity_digits=digits,
    )


def _trades(largest: int, share: float) -> int:
    """A multiple of twelve (six legs of pairs), fewer where less is traded."""
    return max(12, round(largest * math.sqrt(share) / 12) * 12)
