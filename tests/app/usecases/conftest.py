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


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a feed; the ban files of all of them lie in one folder, as those of one state folder do."""
    yield from _starter(tmp_path)
