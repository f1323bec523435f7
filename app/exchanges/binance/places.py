"""Where things are on Binance: perpetuals in one house, spot in another, each with its own hosts."""

from dataclasses import dataclass
from typing import Literal

from app.domain.market import symbols
from app.errors import InvalidInput

Market = Literal["futures", "spot"]


@dataclass(frozen=True, slots=True)
class Urls:
    """The addresses of one Binance, as in the settings' section ``[binance]``."""

    futures_rest: str
    futures_stream: str
    spot_rest: str
    spot_stream: str


def place(symbol: str) -> tuple[Market, str]:
    """In which house a symbol is traded, and Binance's own name for it. Raises InvalidInput for what neither house has."""
    found = symbols.taken_apart(symbol)
    if not found.is_perpetual:
        return "spot", found.joined
    if found.settle != found.quote:
        raise InvalidInput(
            f"{found.name} is settled in {found.settle}, and only futures that are settled in their quote coin are watched.",
            cure=f"Use {found.base}/USDT:USDT.",
        )
    return "futures", found.joined
