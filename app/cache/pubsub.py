"""Hearing what is published, in batches: one connection, however many messages wait in it."""

import time
from collections.abc import Callable
from typing import Any

import redis
from redis.exceptions import RedisError

from app.cache.keys import EVERYTHING_PUBLISHED
from app.errors import Unavailable

_TIMEOUT_S = 2.0
_ASK_AFTER_S = 5.0  # a server that hangs closes nothing: when nothing was heard for so long, it is asked
_GONE_AFTER_S = 10.0
_MOST_AT_ONCE = 5_000


class Listener:
    """One subscription to all news of the market. After ``Unavailable`` it is of no more use."""

    def __init__(self, url: str, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._connection: Any = None  # redis-py's connections carry no types
        # Protocol 2, in which news are answers like any other; in the third they would go to a handler, one by one.
        pool: Any = redis.ConnectionPool.from_url(
            url, protocol=2, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S
        )
        try:
            self._connection = pool.make_connection()
            self._connection.connect()
            self._connection.send_command("PSUBSCRIBE", EVERYTHING_PUBLISHED)
            self._connection.read_response()
        except (RedisError, OSError) as error:
            self.close()
            raise Unavailable(f"Redis does not answer: {error}.") from error
        self._heard_s = monotonic()
        self._asked = False

    def hear(self, within_s: float) -> list[tuple[str, bytes]]:
        """What was published since the last call, as channel and payload; waits up to ``within_s`` for the first of it."""
        heard: list[tuple[str, bytes]] = []
        wait_s = within_s
        try:
            while len(heard) < _MOST_AT_ONCE and self._connection.can_read(timeout=wait_s):
                answer = self._connection.read_response()
                self._heard_s, self._asked, wait_s = self._monotonic(), False, 0
                if isinstance(answer, list) and len(answer) == 4 and answer[0] == b"pmessage":
                    heard.append((answer[2].decode(errors="replace"), answer[3]))
            self._must_live()
        except (RedisError, OSError) as error:
            self.close()
            raise Unavailable(f"Redis does not answer: {error}.") from error
        return heard

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.disconnect()

    def _must_live(self) -> None:
        silent_s = self._monotonic() - self._heard_s
        if silent_s > _GONE_AFTER_S:
            raise redis.exceptions.ConnectionError(f"it has said nothing for {silent_s:.0f} s")
        if silent_s > _ASK_AFTER_S and not self._asked:
            self._connection.send_command("PING")
            self._asked = True
