"""The price of a coin at every knot, six a minute: a random walk that can be entered anywhere.

Three sizes of bridges hang in each other. Ends of ten days lie on slow waves, so that a coin stays near its usual price. Between
them a walk in steps of four hours has runs (trends) and rests (ranges). Between those a walk in knots has volatility that comes
in clusters. A bridge is bent to end where the next one begins, so nothing before it has to be known.

A coin is the whole market's walk times its beta, and a walk of its own, so coins move together.
"""

from dataclasses import dataclass

import numpy as np

from app.exchanges.demo import noise
from app.exchanges.demo.instruments import LEGS, Coin, Listing
from app.exchanges.demo.noise import Floats, Ints

BLOCK_MINUTES = 240
BLOCK_KNOTS = BLOCK_MINUTES * LEGS
KNOT_MOVE = 0.00022
"""The market's usual move from knot to knot, as a share of the price: 0.05 % a minute."""
BLOCK_MOVE = KNOT_MOVE * BLOCK_KNOTS**0.5
_BLOCKS_A_SPAN = 60  # ten days


@dataclass(frozen=True, slots=True)
class Path:
    """Some blocks of one walk. ``level`` has one knot more than the blocks: the first of the next one."""

    level: Floats
    activity: Floats
    """Each minute: how lively it is, 1 on average."""


def block_ends(of: int, first: int, count: int) -> Floats:
    """The level of a walk where blocks begin, from block ``first`` on."""
    first_span, last_span = first // _BLOCKS_A_SPAN, (first + count - 1) // _BLOCKS_A_SPAN
    spans = last_span - first_span + 1
    start, size = first_span * _BLOCKS_A_SPAN, spans * _BLOCKS_A_SPAN
    anchors = np.zeros(spans + 1)
    for number, height, period in ((1, 0.05, 2), (2, 0.09, 6), (3, 0.12, 18)):
        anchors += height * noise.wave(of + number, first_span, spans + 1, period)
    steps = 0.8 * noise.normal(of + 4, np.arange(start, start + size))
    run = noise.wave(of + 5, start, size, 9)
    steps += np.sign(run) * np.maximum(np.abs(run) - 0.35, 0) * 1.5
    steps *= np.exp(slow_volatility(of, np.arange(start, start + size) * BLOCK_MINUTES + BLOCK_MINUTES // 2))
    table = (steps * BLOCK_MOVE).reshape(spans, _BLOCKS_A_SPAN)
    table += ((np.diff(anchors) - table.sum(axis=1)) / _BLOCKS_A_SPAN)[:, None]
    levels = anchors[:-1, None] + np.cumsum(table, axis=1) - table
    return np.asarray(levels.ravel()[first - start :][:count], dtype=np.float64)


def slow_volatility(of: int, minutes: Ints) -> Floats:
    """How the walk's volatility differs from day to day, as a logarithm. Big steps must be of the same size as the small ones
    between them, or a calm block has to run straight to its end.
    """
    slow = 0.4 * noise.wave_at(of + 14, minutes, 4320) + 0.25 * noise.wave_at(of + 15, minutes, 960)
    return np.asarray(slow - 0.1, dtype=np.float64)


def walk(of: int, first: int, count: int) -> Path:
    """The walk of ``count`` blocks."""
    minute, minutes = first * BLOCK_MINUTES, count * BLOCK_MINUTES
    quick = np.zeros(minutes)
    for number, height, period in ((11, 0.4, 150), (12, 0.3, 40), (13, 0.2, 12)):
        quick += height * noise.wave(of + number, minute, minutes, period)
    slow = slow_volatility(of, np.arange(minute, minute + minutes))
    shock = noise.uniform(of + 16, np.arange(minute, minute + minutes)) < 0.004
    activity = np.exp(0.7 * quick - 0.05) * (1 + shock)
    move = np.exp(quick + slow - 0.15) * (1 + 2 * shock)
    steps = noise.normal(of + 17, np.arange(first * BLOCK_KNOTS, (first + count) * BLOCK_KNOTS))
    steps = steps.reshape(minutes, LEGS)
    steps += (0.06 * noise.wave(of + 18, minute, minutes, 24))[:, None]
    steps *= (move * KNOT_MOVE)[:, None]
    ends = block_ends(of, first, count + 1)
    missing = np.diff(ends) - steps.reshape(count, BLOCK_KNOTS).sum(axis=1)
    weight = np.square(move).reshape(count, BLOCK_MINUTES)
    weight *= (missing / weight.sum(axis=1) / LEGS)[:, None]  # what is missing to the end comes when much moves anyway
    steps += weight.reshape(minutes, 1)
    level = np.empty(count * BLOCK_KNOTS + 1)
    level[0] = ends[0]
    inner = level[1:].reshape(
        count, BLOCK_KNOTS
    )  # block by block: to the last bit the same, whatever span was asked for
    np.cumsum(steps.reshape(count, BLOCK_KNOTS), axis=1, out=inner)
    inner += ends[:-1, None]
    inner[:, -1] = ends[1:]
    return Path(level, activity)


def coin_path(seed: int, coin: Coin, first: int, count: int, market: Path) -> Path:
    """The logarithm of a coin's price in dollars."""
    level = market.level * coin.beta
    level += np.log(coin.price)
    if coin.own == 0:
        return Path(level, market.activity)
    own = walk(own_key(seed, coin), first, count)
    level += own.level * coin.own
    share = coin.own / (coin.own + coin.beta)
    return Path(level, own.activity * share + market.activity * (1 - share))


def market_key(seed: int) -> int:
    """Of the walk that all coins share."""
    return noise.key(seed, "market") >> 1


def own_key(seed: int, coin: Coin) -> int:
    """Of a coin's own walk."""
    return noise.key(seed, "own", coin.name) >> 1


def move_of(coin: Coin) -> float:
    """A coin's usual move from knot to knot."""
    return KNOT_MOVE * float(np.hypot(coin.beta, coin.own))


def coin_ends(seed: int, coin: Coin, first: int, count: int) -> Floats:
    """The logarithm of a coin's price where blocks begin."""
    ends = coin.beta * block_ends(market_key(seed), first, count) + np.log(coin.price)
    if coin.own:
        ends += coin.own * block_ends(own_key(seed, coin), first, count)
    return np.asarray(ends, dtype=np.float64)


def premium_nodes(seed: int, coin: Coin, first: int, count: int) -> Floats:
    """How far the perpetual stands above spot where blocks begin, made of what had happened a block before: the trend of a day
    drives it, and none of the future is in it.
    """
    ends = coin_ends(seed, coin, first - 7, count + 6)
    day = (ends[6:] - ends[:-6]) / (move_of(coin) * BLOCK_KNOTS**0.5 * 6**0.5)
    chance = noise.normal(noise.key(seed, "premium", coin.name), np.arange(first, first + count))
    return np.asarray(0.0008 * np.tanh(0.7 * day) + 0.00012 * chance, dtype=np.float64)


def offset(seed: int, listing: Listing, first: int, count: int) -> Floats:
    """How far a venue's price stands from the coin's, as a logarithm, at every knot of the blocks and one more."""
    start, knots = first * BLOCK_KNOTS, count * BLOCK_KNOTS + 1
    of = noise.key(seed, "basis", listing.venue, listing.symbol)
    basis = 0.00008 * noise.wave(of, start, knots, 720) + 0.00005 * noise.wave(of + 1, start, knots, 90)
    if listing.instrument.is_perpetual:
        nodes = premium_nodes(seed, listing.coin, first, count + 1)
        line = nodes[:-1, None] + np.diff(nodes)[:, None] * (np.arange(BLOCK_KNOTS) / BLOCK_KNOTS)
        basis[:-1] += line.ravel()
        basis[-1] += nodes[-1]
    return np.asarray(basis, dtype=np.float64)
