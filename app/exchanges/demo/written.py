"""Numbers as an exchange writes them."""

from app.exchanges.demo.values import DemoInstrument, Level, Venue

_MOST_DIGITS = 10


class Written:
    """One symbol of one venue: OKX trims zeros, Binance's spot writes eight digits, derivatives elsewhere count contracts."""

    def __init__(self, instrument: DemoInstrument, venue: Venue) -> None:
        self.instrument = instrument
        self._trims = venue == "okx"
        eight = venue == "binance" and not instrument.is_perpetual
        self._price_format = "%.8f" if eight else f"%.{instrument.price_digits}f"
        self._coin_format = "%.8f" if eight else f"%.{instrument.quantity_digits}f"
        self.lot = instrument.quantity_step / instrument.contract_size
        """The least step of a size, in contracts where contracts are counted."""
        self._lot_digits = digits_of(self.lot)
        self._size_format = f"%.{self._lot_digits}f" if not eight else "%.8f"
        self._per_size = 1.0 / instrument.contract_size

    def price(self, price: float) -> str:
        """A price."""
        text = self._price_format % price
        return trimmed(text) if self._trims else text

    def coins(self, quantity: float) -> str:
        """A quantity in the base coin."""
        text = self._coin_format % quantity
        return trimmed(text) if self._trims else text

    def size(self, quantity: float) -> str:
        """A quantity of the base coin as orders count it there."""
        text = self._size_format % (quantity * self._per_size)
        return trimmed(text) if self._trims else text

    def part(self, quantity: float) -> str:
        """Like ``size``, for a part of a trade, which may be smaller than the least step."""
        return trimmed(f"{quantity * self._per_size:.10f}")

    def price_number(self, price: float) -> float:
        """As a number of a JSON document."""
        return round(price, self.instrument.price_digits)

    def size_number(self, quantity: float) -> float | int:
        """As a number of a JSON document; whole contracts as a whole number."""
        size = round(quantity * self._per_size, self._lot_digits)
        return int(size) if self._lot_digits == 0 else size

    def levels(self, levels: list[Level]) -> str:
        """``[["100.0","2"],...]``."""
        price, size = self.price, self.size
        return "[" + ",".join([f'["{price(at)}","{size(quantity)}"]' for at, quantity in levels]) + "]"

    def number_levels(self, levels: list[Level]) -> str:
        """``[[100.0,2],...]``."""
        size = self.size_number
        digits = self.instrument.price_digits
        return "[" + ",".join([f"[{round(at, digits)!r},{size(quantity)!r}]" for at, quantity in levels]) + "]"


def trimmed(text: str) -> str:
    """Without zeros at the end that say nothing."""
    return text.rstrip("0").rstrip(".") if "." in text else text


def digits_of(step: float) -> int:
    """How many digits after the point a step has."""
    return len(trimmed(f"{step:.{_MOST_DIGITS}f}").partition(".")[2])


def plain(number: float, digits: int = 8) -> str:
    """A number without an exponent and without zeros that say nothing."""
    return trimmed(f"{number:.{digits}f}")
