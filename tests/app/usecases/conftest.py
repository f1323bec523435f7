"""Demo exchanges and feeds, each ended after its test."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from tests.app.exchanges.demo.served import Served
from tests.app.usecases.fed import Fed

Start = Callable[..., Fed]


@pytest.fixture
def served() -> Iterator[Served]:
    """A market of one coin at the speed of ours."""
    served = Served(symbols=1)
    yield served
    served.stop()


@pytest.fixture
def fast() -> Iterator[Served]:
    """A minute of its market lasts half a second."""
    served = Served(speed=120.0, symbols=1)
    yield served
    served.stop()


def _starter(folder: Path) -> Iterator[Start]:
    began: list[Fed] = []

    def start(served: Served, engine: Engine, **wishes: Any) -> Fed:
        began.append(Fed(served, engine, folder, **wishes))
        return began[-1]

    yield start
    for fed in began:
        fed.stop()


HURRY = {
    "app.usecases.collect.AGAIN_S": 0.3,
    "app.usecases.feed.LOOK_EVERY_S": 0.2,
    "app.usecases.feed.REPORT_EVERY_S": 0.2,
    "app.usecases.feed.AWAY_PAUSE_S": 0.1,
    "app.storage.database.BUSY_S": 0.5,
}


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start a feed that is in a hurry; the ban files of all of them lie in one folder, as those of one state folder do."""
    for name, seconds in HURRY.items():
        monkeypatch.setattr(name, seconds)
    yield from _starter(tmp_path)
