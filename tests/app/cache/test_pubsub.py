"""Hearing what is published: in batches, and never waiting for ever for a server that is away or hangs."""

from pathlib import Path

import pytest
import redis

from app.cache.pubsub import Listener
from app.errors import Unavailable
from tests.builders import Valkey


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def test_what_waits_is_heard_at_once_and_in_order(valkey_url: str):
    listener = Listener(valkey_url)
    with redis.Redis.from_url(valkey_url) as client:
        for number in range(500):
            client.publish(f"market_data:ticker:S{number}", f'{{"n": {number}}}')
        client.publish("other:ticker:X", "{}")

    heard = listener.hear(5)
    while len(heard) < 500:
        heard += listener.hear(5)

    assert heard == [(f"market_data:ticker:S{number}", f'{{"n": {number}}}'.encode()) for number in range(500)]
    assert listener.hear(0.01) == []
    listener.close()


def test_a_server_that_is_not_there_is_unavailable(tmp_path: Path):
    with pytest.raises(Unavailable):
        Listener(f"unix://{tmp_path}/nothing")


def test_a_server_that_goes_is_unavailable(own_valkey: Valkey):
    listener = Listener(own_valkey.url)
    own_valkey.kill()

    with pytest.raises(Unavailable):
        listener.hear(5)


def test_a_quiet_server_that_lives_is_not_given_up(valkey_url: str):
    clock = Clock()
    listener = Listener(valkey_url, monotonic=clock)
    for _ in range(10):
        clock.now_s += 6
        assert listener.hear(0.05) == []  # here it is asked
        assert listener.hear(1) == []  # and here it has answered
    listener.close()


def test_a_server_that_hangs_is_given_up(own_valkey: Valkey):
    clock = Clock()
    listener = Listener(own_valkey.url, monotonic=clock)
    own_valkey.freeze()
    try:
        clock.now_s += 6
        assert listener.hear(0.05) == []
        clock.now_s += 6
        with pytest.raises(Unavailable):
            listener.hear(0.05)
    finally:
        own_valkey.thaw()
