"""Names of exchanges as they are stored: what was simulated or replayed never stands under the name of the real one."""

DEMO, REPLAY = "demo-", "replay-"


def venue_of(name: str) -> str:
    """``binance`` for ``demo-binance`` and ``replay-binance``: whose protocol it is."""
    return name.removeprefix(DEMO).removeprefix(REPLAY)


def is_simulated(name: str) -> bool:
    """Whether it is the demo's."""
    return name.startswith(DEMO)
