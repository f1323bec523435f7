"""A file is replaced whole or not at all."""

import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.host import whole_file


@pytest.fixture
def small_disk() -> Iterator[None]:
    """Files may hold 4,096 bytes, as on a disk that is full."""
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_096, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("durable", [False, True])
def test_what_was_there_is_replaced(tmp_path: Path, durable: bool):
    path = tmp_path / "state.json"
    for data in (b"before", b"after"):
        whole_file.replace(path, data, durable=durable)

    assert path.read_bytes() == b"after"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.usefixtures("small_disk")
def test_a_full_disk_leaves_the_old_one_and_nothing_beside_it(tmp_path: Path):
    path = tmp_path / "state.json"
    whole_file.replace(path, b"before")
    with pytest.raises(OSError, match="too large"):
        whole_file.replace(path, b"x" * 100_000)

    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]
