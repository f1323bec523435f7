"""One demo exchange for the tests that do no harm to it, one for each that does, and a fast one."""

from collections.abc import Iterator

import pytest

from tests.app.exchanges.demo.served import Served


@pytest.fixture(scope="module")
def demo() -> Iterator[Served]:
    served = Served()
    yield served
    served.stop()


@pytest.fixture
def broken(demo: Served) -> Iterator[Served]:
    """The same one, with its faults ended after the test."""
    demo.end_faults()
    yield demo
    demo.end_faults()


@pytest.fixture(scope="module")
def fast() -> Iterator[Served]:
    """A minute of the market lasts a fifth of a second."""
    served = Served(speed=300.0)
    yield served
    served.stop()


@pytest.fixture
def alone() -> Iterator[Served]:
    """One that nobody has listened to yet."""
    served = Served()
    yield served
    served.stop()
