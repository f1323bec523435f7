"""Readers of recorded wire traffic. Each is a generator of frames, as the exchange would say them today."""

import ast
import csv
import gzip
import json
import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from app.errors import CorruptData, InvalidInput
from app.exchanges.replay.frames import Frame

_LINE = re.compile(
    r"(?:(?P<url>[a-z]+://\S+) (?P<arrow><->|<-|->) )?(?P<time>\d{9,11}(?:\.\d+)?)(?:: (?P<message>.*))?", re.DOTALL
)
_KINDS = {"->": "answered", "<-": "asked", "<->": "opened", None: "said"}
_REST = {
    "futures": "https://fapi.binance.com/fapi/v1/depth?symbol=",
    "spot": "https://api.binance.com/api/v3/depth?symbol=",
}
_STREAM = {"futures": "wss://fstream.binance.com/stream", "spot": "wss://stream.binance.com:9443/stream"}


def stamped_lines(path: Path, symbol: str) -> Iterator[Frame]:
    """hftbacktest's recordings of Binance's futures: gzip, a time in ns and the frame on each line; without a stream's name it is
    the answer with the whole book of ``symbol``, such as BTCUSDT.
    """
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            stamp, _, text = line.rstrip("\n").partition(" ")
            if not stamp.isdecimal() or not text:
                raise CorruptData(f"A line of {path.name} has no time: {line[:60]!r}")
            time_ms = _ms(stamp)
            if text.startswith('{"stream"'):
                yield Frame(time_ms, "said", _STREAM["futures"], _of_today(text))
            else:
                yield Frame(time_ms, "answered", _REST["futures"] + symbol.upper(), text)


def _of_today(text: str) -> str:
    """Diffs at other paces have the same content; single trades are aggregates of one."""
    head = text[:60]
    if "@depth" in head:
        return re.sub(r"@depth(@\w+)?\"", '@depth@100ms"', text, count=1)
    if "@trade" in head:
        said = json.loads(text)
        trade = said["data"]
        name = said["stream"].replace("@trade", "@aggTrade")
        return _combined(name, {**trade, "e": "aggTrade", "a": trade["t"], "f": trade["t"], "l": trade["t"]})
    return text


def _combined(stream: str, data: dict[str, Any]) -> str:
    return json.dumps({"stream": stream, "data": data}, separators=(",", ":"))


def raw_lines(path: Path) -> Iterator[Frame]:
    """cryptofeed's recordings: a message a line behind its time in seconds; what was sent and answered says its address.

    Compressed messages stand there as Python writes bytes.
    """
    url = ""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("configuration:") or not line.strip():
                continue
            found = _LINE.fullmatch(line.rstrip("\n"))
            if not found:
                raise CorruptData(f"A line of {path.name} is no frame: {line[:60]!r}")
            kind = _KINDS[found["arrow"]]
            if kind == "opened":
                url = found["url"]
            message: str | bytes = found["message"] or ""
            if isinstance(message, str) and message.startswith(("b'", 'b"')):
                message = ast.literal_eval(message)
            yield Frame(round(float(found["time"]) * 1_000), kind, found["url"] or url, message)  # type: ignore[arg-type]


def csv_stream(path: Path) -> Iterator[Frame]:
    """Binance-Data-Processor's tables of diffs and trades, row by row back to the messages that they were, damage and all."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(line for line in file if not line.startswith("#"))
        if "TimestampOfReceive" not in (rows.fieldnames or ()):
            raise InvalidInput(
                f"{path.name} is no recording: it has no column TimestampOfReceive.",
                cure="Candles are imported: flotilla import. What is replayed: docs/demo-exchange.md and flotilla replay --help.",
            )
        market = "futures" if "usd_m" in path.name else "spot"
        if "TradeId" in (rows.fieldnames or ()):
            for row in rows:
                yield Frame(_ms(row["TimestampOfReceive"]), "said", _STREAM[market], _trade(row))
            return
        for said, levels in groupby(rows, key=_without_level):
            yield Frame(_ms(said["TimestampOfReceive"]), "said", _STREAM[market], _diff(said, levels))


def csv_books(path: Path, symbol: str, *, futures: bool = False) -> Iterator[Frame]:
    """Its tables of whole books, as the answers that they were."""
    market = "futures" if futures else "spot"
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(line for line in file if not line.startswith("#"))
        for said, levels in groupby(rows, key=_without_level):
            bids, asks = _sides(levels)
            book = {"lastUpdateId": _int(said["LastUpdateId"]), "bids": bids, "asks": asks}
            text = json.dumps(book, separators=(",", ":"))
            yield Frame(_ms(said["TimestampOfReceive"]), "answered", _REST[market] + symbol.upper(), text)


_LEVEL = ("IsAsk", "Price", "Quantity")


def _without_level(row: dict[str, str]) -> dict[str, str]:
    """What the rows of one message share."""
    return {name: value for name, value in row.items() if name not in _LEVEL}


def _head(said: dict[str, str]) -> dict[str, Any]:
    head: dict[str, Any] = {"e": said["EventType"], "E": _time(said["EventTime"])}
    if "TransactionTime" in said:
        head["T"] = _time(said["TransactionTime"])
    return {**head, "s": said["Symbol"]}


def _trade(said: dict[str, str]) -> str:
    number = _int(said["TradeId"])
    trade = {"a": number, "f": number, "l": number, "p": said["Price"], "q": said["Quantity"]}
    maker = said["IsBuyerMarketMaker"] in ("1", "True")
    return _combined(
        said["Stream"].replace("@trade", "@aggTrade"), {**_head(said), "e": "aggTrade", **trade, "m": maker}
    )


def _diff(said: dict[str, str], levels: Iterable[dict[str, str]]) -> str:
    ids = {"U": _int(said["FirstUpdateId"]), "u": _int(said["FinalUpdateId"])}
    if "FinalUpdateIdInLastStream" in said:
        ids["pu"] = _int(said["FinalUpdateIdInLastStream"])
    bids, asks = _sides(levels)
    return _combined(said["Stream"], {**_head(said), **ids, "b": bids, "a": asks})


def _sides(levels: Iterable[dict[str, str]]) -> tuple[list[list[str]], list[list[str]]]:
    bids: list[list[str]] = []
    asks: list[list[str]] = []
    for row in levels:
        (asks if row["IsAsk"] in ("1", "True") else bids).append([row["Price"], row["Quantity"]])
    return bids, asks


def _int(text: str) -> int | str:
    """A number where it is one; damage stays as it is, for the mapper to refuse."""
    return int(text) if re.fullmatch(r"-?\d+", text or "") else text


def _time(text: str) -> int | str:
    """A time in ms, whether it was recorded so or in µs; damage stays as it is."""
    number = _int(text)
    return number // 1_000 if isinstance(number, int) and len(text) == len("1741046400062507") else number


def _ms(stamp: str) -> int:
    """From seconds' fractions of any fineness that is in use: ms, µs or ns, told apart by their length."""
    if not stamp.isdecimal():
        raise CorruptData(f"{stamp[:40]!r} is not a time.")
    return int(stamp) // {13: 1, 16: 1_000, 19: 1_000_000}.get(len(stamp), 1)
