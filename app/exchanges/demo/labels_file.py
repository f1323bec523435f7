"""The truth about what was planted, appended to a file as it happens: each plant once, also over restarts."""

import os
from pathlib import Path

import msgspec

from app.exchanges.demo.market import Market
from app.exchanges.demo.values import Label

NAME = "labels.jsonl"
_LONGEST_AWAY_MS = 86_400_000  # what was planted while nobody served the market longer ago than this is not told
_LARGEST_BYTES = 50_000_000
_TAIL_BYTES = 200_000


class LabelLine(msgspec.Struct, frozen=True):
    """One line. The seed tells one market's truth from another's."""

    seed: int
    label: Label


class LabelsFile:
    """Knows by the file's own end what it has told."""

    def __init__(self, path: Path, market: Market, now_ms: int) -> None:
        self._path, self._market = path, market
        path.parent.mkdir(parents=True, exist_ok=True)
        self._told_until_ms, self._told = self._remembered(now_ms)

    def tell(self, now_ms: int) -> int:
        """Append every plant that began before this moment and was not told; how many."""
        if now_ms <= self._told_until_ms:
            return 0
        began = [
            label
            for label in self._market.labels(self._told_until_ms, now_ms)
            if self._told_until_ms <= label.start_ms < now_ms and label.id not in self._told
        ]
        if began:
            self._make_room()
            lines = b"".join(msgspec.json.encode(LabelLine(self._market.seed, label)) + b"\n" for label in began)
            with self._path.open("ab") as file:
                file.write(lines)
        self._told_until_ms, self._told = now_ms, frozenset()
        return len(began)

    def _remembered(self, now_ms: int) -> tuple[int, frozenset[str]]:
        """Where to go on, and what of that very moment was told already."""
        last: list[Label] = []
        for line in self._tail():
            try:
                found = msgspec.json.decode(line, type=LabelLine)
            except msgspec.DecodeError:  # the first line of the tail, or the last one of a process that was killed
                continue
            if found.seed == self._market.seed:
                last.append(found.label)
        if not last:
            return now_ms, frozenset()
        until = max(label.start_ms for label in last)
        if until < now_ms - _LONGEST_AWAY_MS:
            return now_ms - _LONGEST_AWAY_MS, frozenset()
        return min(until, now_ms), frozenset(label.id for label in last if label.start_ms >= min(until, now_ms))

    def _tail(self) -> list[bytes]:
        try:
            with self._path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - _TAIL_BYTES))
                text = file.read()
        except FileNotFoundError:
            return []
        if text and not text.endswith(
            b"\n"
        ):  # a process was killed within a line: it is told again, on a line of its own
            with self._path.open("ab") as file:
                file.write(b"\n")
        return text.splitlines()

    def _make_room(self) -> None:
        if self._path.exists() and self._path.stat().st_size > _LARGEST_BYTES:
            self._path.replace(self._path.with_suffix(".1.jsonl"))
