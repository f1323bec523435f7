"""Where the demo exchange answers: what to write into the sections of the settings instead of the real addresses."""

Addresses = dict[str, dict[str, str]]


def urls_for(port: int) -> Addresses:
    """By venue, the fields of the settings' sections ``binance``, ``okx`` and ``htx``."""
    http, socket = f"http://127.0.0.1:{port}", f"ws://127.0.0.1:{port}"
    return {
        "binance": {
            "futures_rest": f"{http}/binance/futures",
            "futures_stream": f"{socket}/binance/futures",
            "spot_rest": f"{http}/binance/spot",
            "spot_stream": f"{socket}/binance/spot",
        },
        "okx": {
            "rest": f"{http}/okx",
            "stream": f"{socket}/okx/ws/v5/public",
            "business_stream": f"{socket}/okx/ws/v5/business",
        },
        "htx": {
            "spot_rest": f"{http}/htx/spot",
            "spot_stream": f"{socket}/htx/spot/ws",
            "spot_feed": f"{socket}/htx/spot/feed",
            "futures_rest": f"{http}/htx/futures",
            "futures_stream": f"{socket}/htx/futures/linear-swap-ws",
            "index_stream": f"{socket}/htx/futures/linear-swap-notification",
        },
    }
