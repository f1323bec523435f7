"""The exchanges that have an adapter of their own; every other name is one of ccxt's, and only asked by REST.

The simulated ones have the same adapters, other addresses, and a name of their own, so that what they say is never taken for real.
"""

from collections.abc import Callable, Mapping

from app.domain.market.venue import venue_of
from app.exchanges.binance.exchange import Binance
from app.exchanges.binance.places import Urls as BinanceUrls
from app.exchanges.exchange import Exchange
from app.exchanges.htx.rest import Htx
from app.exchanges.htx.rest import Urls as HtxUrls
from app.exchanges.okx.rest import Okx
from app.exchanges.okx.rest import Urls as OkxUrls

EXCHANGES: Mapping[str, Callable[[str, Mapping[str, str]], Exchange]] = {
    "binance": lambda name, urls: Binance(name, BinanceUrls(**urls)),
    "htx": lambda name, urls: Htx(name, HtxUrls(**urls)),
    "okx": lambda name, urls: Okx(name, OkxUrls(**urls)),
}
"""By venue: from the name it is stored by and its addresses, which are the fields of its section of the settings."""


def make(name: str, urls: Mapping[str, str]) -> Exchange:
    """The exchange of this name; a generic one knows its own addresses. Raises Misconfigured for a name that nobody knows."""
    known = EXCHANGES.get(venue_of(name))
    if known is not None:
        return known(name, urls)
    from app.exchanges.generic import Generic  # late: it loads ccxt, which those who watch the three do without

    return Generic(name)
