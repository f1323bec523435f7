import zipfile
from pathlib import Path

import pytest

from app.domain.market.values import Funding, OpenInterest
from app.errors import CorruptData
from app.exchanges.replay import public_data


def archive(folder: Path, name: str, *lines: str) -> Path:
    path = folder / f"{name}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as whole:
        whole.writestr(f"{name}.csv", "\n".join(lines) + "\n")
    return path


def test_aggregate_trades_of_futures(tmp_path: Path):
    path = archive(
        tmp_path,
        "BTCUSDT-aggTrades-2024-08-08",
        "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker",
        "7,55000.1,0.5,1,2,1723075200123,true",
        "8,55000.2,0.25,3,3,1723075200456,false",
    )

    one, other = public_data.agg_trades(path)

    assert (one.symbol, one.id, one.price, one.quantity, one.side, one.counted) == (
        "BTC/USDT:USDT", 7, 55_000.1, 0.5, "sell", True,
    )  # fmt: skip
    assert (one.time_ms, one.received_ms) == (1723075200123, 1723075200123)
    assert other.side == "buy"


def test_aggregate_trades_of_spot_have_no_names_and_count_microseconds(tmp_path: Path):
    path = archive(tmp_path, "BTCUSDT-aggTrades-2025-08-08", "7,55000.1,0.5,1,2,1754611200123456,True,True")

    [trade] = public_data.agg_trades(path, spot=True)

    assert (trade.symbol, trade.time_ms, trade.side) == ("BTC/USDT", 1754611200123, "sell")


def test_single_trades(tmp_path: Path):
    path = archive(tmp_path, "ETHUSDT-trades-2024-08-08", "9,2500.5,2,5001,1723075200123,false")

    [trade] = public_data.trades(path)

    assert (trade.symbol, trade.id, trade.quantity, trade.side) == ("ETH/USDT:USDT", 9, 2, "buy")


def test_best_prices(tmp_path: Path):
    path = archive(
        tmp_path,
        "BTCUSDT-bookTicker-2024-03-30",
        "update_id,best_bid_price,best_bid_qty,best_ask_price,best_ask_qty,transaction_time,event_time",
        "1,10.5,2,10.6,3,1711756800001,1711756800005",
    )

    [top] = public_data.book_tops(path)

    assert (top.bid, top.bid_quantity, top.ask, top.ask_quantity) == (10.5, 2, 10.6, 3)
    assert (top.time_ms, top.received_ms) == (1711756800001, 1711756800005)


def test_open_interest_and_funding(tmp_path: Path):
    metrics = archive(
        tmp_path,
        "BTCUSDT-metrics-2024-08-08",
        "create_time,symbol,sum_open_interest,sum_open_interest_value,count_toptrader_long_short_ratio",
        "2024-08-08 00:05:00,BTCUSDT,78000.5,4300000000.25,1.2",
        "2024-08-08 00:10:00,BTCUSDT,78001.5,,1.2",
    )
    rates = archive(
        tmp_path,
        "BTCUSDT-fundingRate-2024-08",
        "calc_time,funding_interval_hours,last_funding_rate",
        "1722470400007,8,-0.0001",
    )

    assert list(public_data.open_interests(metrics)) == [
        OpenInterest(
            "binance", "BTC/USDT:USDT", 1723075500000, 1723075500000, quantity=78_000.5, value=4_300_000_000.25
        ),
        OpenInterest("binance", "BTC/USDT:USDT", 1723075800000, 1723075800000, quantity=78_001.5, value=None),
    ]
    assert list(public_data.fundings(rates)) == [
        Funding("binance", "BTC/USDT:USDT", 1722470400000, 1722470400000, rate=-0.0001)
    ]


def test_a_row_that_cannot_be_read_is_told_and_the_rest_comes(tmp_path: Path):
    path = archive(
        tmp_path, "BTCUSDT-aggTrades-2024-08-08", "7,x,0.5,1,2,1723075200123,true", "8", "9,1,1,1,1,1723075200123,maybe",
        "10,1,1,1,1,1723075200123,true",
    )  # fmt: skip
    refused: list[int] = []

    trades = list(public_data.agg_trades(path, refuse=lambda number, _why: refused.append(number)))

    assert [trade.id for trade in trades] == [10]
    assert refused == [1, 2, 3]
    with pytest.raises(CorruptData, match="Row 1 "):
        list(public_data.agg_trades(path))


def test_what_is_no_archive_is_corrupt(tmp_path: Path):
    path = tmp_path / "BTCUSDT-aggTrades-2024-08-08.zip"
    path.write_bytes(b"PK not really")
    with pytest.raises(CorruptData):
        list(public_data.agg_trades(path))

    with zipfile.ZipFile(path, "w") as whole:
        whole.writestr("readme.txt", "nothing")
    with pytest.raises(CorruptData, match="holds 0 tables"):
        list(public_data.agg_trades(path))

    whole_path = archive(
        tmp_path, "BTCUSDT-trades-2024-08-08", *(f"{n},1.5,1,1,1723075200123,true" for n in range(5_000))
    )
    whole_path.write_bytes(whole_path.read_bytes()[:-200])  # the download was cut
    with pytest.raises(CorruptData):
        list(public_data.trades(whole_path))
