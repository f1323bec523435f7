"""Recorded depth as our values: small decoders of our own, so that the domain is proved without any mapper."""

import csv
import gzip
import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from app.domain.market.values import Depth, Level


def levels(rows: list[list[str]]) -> list[Level]:
    """Texts as floats."""
    return [(float(row[0]), float(row[1])) for row in rows]


def binance_frames(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON of each line of raw_binance_usdm_20240808."""
    with gzip.open(path) as lines:
        for line in lines:
            said = json.loads(line.partition(b" ")[2])
            yield said.get("data", said)


def binance_depth(said: dict[str, Any]) -> Depth | None:
    """A snapshot or a diff of Binance; None for anything else."""
    if "lastUpdateId" in said:
        bids, asks, last_id, snapshot = said["bids"], said["asks"], said["lastUpdateId"], True
    elif said.get("e") == "depthUpdate":
        bids, asks, last_id, snapshot = said["b"], said["a"], said["u"], False
    else:
        return None
    return Depth(
        exchange="binance",
        symbol="BTC/USDT:USDT",
        time_ms=said["E"],
        received_ms=said["E"],
        first_id=said.get("U"),
        last_id=last_id,
        previous_id=said.get("pu"),
        bids=levels(bids),
        asks=levels(asks),
        snapshot=snapshot,
    )


def dumped_depth(path: Path) -> Iterator[Depth]:
    """The diffs of depth_good_and_corrupted, one row a level there. The last row of some files is from hours later."""

    def message(row: dict[str, str]) -> tuple[int, int, int | None]:
        linked = row.get("FinalUpdateIdInLastStream")
        return int(row["FirstUpdateId"]), int(row["FinalUpdateId"]), int(linked) if linked else None

    with path.open(encoding="utf-8", newline="") as lines:
        for (first_id, last_id, previous_id), group in groupby(csv.DictReader(lines), message):
            rows = list(group)
            sides = [
                [(float(row["Price"]), float(row["Quantity"])) for row in rows if row["IsAsk"] == ask] for ask in "01"
            ]
            time_ms = int(rows[0]["EventTime"])
            yield Depth(
                exchange="binance",
                symbol="TRX/USDT",
                time_ms=time_ms // 1000 if time_ms > 10**14 else time_ms,
                received_ms=time_ms,
                first_id=first_id,
                last_id=last_id,
                previous_id=previous_id,
                bids=sides[0],
                asks=sides[1],
            )
