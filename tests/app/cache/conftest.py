"""A Valkey that a test may break."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders import Valkey


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[Valkey]:
    server = Valkey(tmp_path)
    server.start()
    yield server
    server.kill()
