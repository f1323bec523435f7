"""What in Redis would be missed: nothing, as this system uses it. Cache entries have lifetimes and are filled again, queues carry
bells for rows of ``tasks``. Whatever else has no lifetime was put there by somebody else, or by a version to come, and is copied.
"""

from base64 import b64decode, b64encode
from collections.abc import Mapping
from contextlib import suppress

import redis

_TIMEOUT_S = 2.0
_MESSAGES = ("_kombu.", "unacked", "cleaner", "strategy")
"""How the names begin that Celery and the bells give: what they hold is rung again."""
_NO_LIFETIME = -1


def without_lifetime(url: str) -> dict[str, str] | None:
    """Each key that would be missed, as Redis itself dumps it, in base64. None: it does not answer."""
    found: dict[str, str] = {}
    try:
        with _open(url) as client:
            for key in client.scan_iter(count=500):
                name = key.decode(errors="surrogateescape")
                if name.startswith(_MESSAGES) or client.ttl(key) != _NO_LIFETIME:
                    continue
                dumped = client.dump(key)
                if dumped is not None:
                    found[name] = b64encode(dumped).decode()
    except (redis.RedisError, OSError):
        return None
    return found


def put_back(url: str, keys: Mapping[str, str]) -> int:
    """Put such keys back; one that is there stays. How many came back. Raises what redis-py raises."""
    came = 0
    with _open(url) as client:
        for name, dumped in keys.items():
            with suppress(redis.ResponseError):  # BUSYKEY: it is there
                client.restore(name.encode(errors="surrogateescape"), 0, b64decode(dumped))
                came += 1
    return came


def _open(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S)
