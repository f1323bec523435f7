"""A connection to a Redis that may be away: trouble is told once, and then nobody waits for it for a moment."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

import redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.retry import Retry

_TIMEOUT_S = 0.5
_QUIET_S = 1.0  # after trouble, readers go straight to the database for a moment instead of each waiting for a timeout
_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class Link:
    """One Redis. Safe from several threads and greenlets."""

    def __init__(self, url: str, *, meanwhile: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.client: redis.Redis = redis.Redis.from_url(
            url,
            socket_timeout=_TIMEOUT_S,
            socket_connect_timeout=_TIMEOUT_S,
            # A connection from before Redis' restart fails at once; the second attempt opens another one.
            retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
        )
        self._meanwhile, self._monotonic = meanwhile, monotonic
        self._quiet_until_s = 0.0
        self._away = False

    def attempt(self, ask: Callable[[redis.Redis], _T]) -> tuple[bool, _T | None]:
        """Do one thing with Redis. Returns whether it went well, and what it came to."""
        if self._monotonic() < self._quiet_until_s:
            return False, None
        try:
            answer = ask(self.client)
        except (RedisError, OSError) as error:
            if not self._away:
                _log.warning("The cache in Redis is away (%s): %s.", error, self._meanwhile)
            self._away = True
            self._quiet_until_s = self._monotonic() + _QUIET_S
            return False, None
        self._away = False
        return True, answer

    def close(self) -> None:
        """Let go of the connections; the next use opens another one."""
        self.client.close()
