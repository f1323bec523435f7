"""The bell: a message that wakes a worker. It carries nothing, for the row in ``tasks`` is the request.

The message is written in Celery's task protocol (version 2), so that a worker with a task named ``work`` runs it, while
whoever rings needs kombu only: the API must not carry Celery in its memory.
"""

import logging
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from kombu.connection import Connection
from kombu.exceptions import KombuError
from kombu.messaging import Producer
from redis.exceptions import RedisError

TASK = "work"
EXPIRES_S = 60  # a bell rung an hour ago wakes nobody: the worker has started afresh, or the sweep has rung again
MAX_WAITING = 1_000  # more bells wake nobody sooner, and a worker that is away must not fill the broker's memory
_TIMEOUT_S = 1.0
_BROKEN = (OSError, RedisError, KombuError)
_connect: Any = Connection  # kombu's signatures carry no types
_producer: Any = Producer
_T = TypeVar("_T")
_log = logging.getLogger(__name__)


def broker_url(redis_url: str) -> str:
    """Return an address of redis-py as kombu and Celery write it."""
    parts = urlsplit(redis_url)
    query = dict(parse_qsl(parts.query))
    user = unquote(parts.username or query.get("username", ""))
    password = unquote(parts.password or query.get("password", ""))
    login = f"{quote(user, safe='')}:{quote(password, safe='')}@" if user or password else ""
    number = query.get("db") or (parts.path.strip("/") if parts.scheme != "unix" else "") or "0"
    if parts.scheme == "unix":
        return f"redis+socket://{login}{quote(unquote(parts.path))}?{urlencode({'virtual_host': number})}"
    address = f"{parts.scheme}://{login}{parts.netloc.rpartition('@')[2]}/{number}"
    if parts.scheme != "rediss":
        return address
    # Unlike redis-py, kombu trusts any certificate unless told otherwise.
    tls = {"ssl_cert_reqs": "required"} | {name: value for name, value in query.items() if name.startswith("ssl_")}
    return f"{address}?{urlencode(tls)}"


class Bell:
    """Rings for workers. Safe from several threads and greenlets; finds its way back after a restart of the broker."""

    def __init__(self, redis_url: str, *, clock: Callable[[], datetime] | None = None) -> None:
        self._url = broker_url(redis_url)
        self._clock = clock or _wall_clock
        self._lock = threading.Lock()  # a channel of kombu's serves one thread at a time
        self._connection: Any = None
        self._channel: Any = None
        self._away = False

    def ring(self, queue: str, *, trace_id: str | None = None) -> bool:
        """Wake a worker of this queue. False when that failed: the row waits, and the sweep rings again."""
        return self._use(lambda channel: self._publish(channel, queue, trace_id)) or False

    def length(self, queue: str) -> int | None:
        """Return how many messages wait in this queue, or None when the broker is away."""
        return self._use(lambda channel: _waiting(channel, queue))

    def close(self) -> None:
        """Let go of the connection; the next ring opens another one."""
        with self._lock:
            self._disconnect()

    def _publish(self, channel: Any, queue: str, trace_id: str | None) -> bool:
        if _waiting(channel, queue) >= MAX_WAITING:
            return False
        message_id = str(uuid.uuid4())
        _producer(channel).publish(
            ([], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}),
            exchange="",
            routing_key=queue,
            serializer="json",
            headers=_headers(message_id, trace_id, self._clock() + timedelta(seconds=EXPIRES_S)),
            correlation_id=message_id,
            reply_to="",
        )
        return True

    def _use(self, work: Callable[[Any], _T]) -> _T | None:
        """Do something with the channel; None when the broker is away."""
        if not self._lock.acquire(timeout=_TIMEOUT_S):  # somebody else already waits for a broker that does not answer
            return None
        try:
            result = self._on_channel(work)
        except _BROKEN as error:
            self._disconnect()
            if not self._away:
                _log.warning("The broker is away (%s): waiting tasks are found by the sweep.", error)
            self._away = True
            return None
        else:
            self._away = False
            return result
        finally:
            self._lock.release()

    def _on_channel(self, work: Callable[[Any], _T]) -> _T:
        if self._channel is None:
            self._connection = _connect(
                self._url, transport_options={"socket_timeout": _TIMEOUT_S, "socket_connect_timeout": _TIMEOUT_S}
            )
            self._connection.ensure_connection(max_retries=0, reraise_as_library_errors=False)
            self._channel = self._connection.channel()
        return work(self._channel)

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.release()
        self._connection = self._channel = None


def _waiting(channel: Any, queue: str) -> int:
    with channel.conn_or_acquire() as client:
        return int(client.llen(queue))


def _headers(message_id: str, trace_id: str | None, expires: datetime) -> dict[str, Any]:
    """The headers that Celery reads; ``trace_id`` is ours, and a task finds it as ``self.request.trace_id``."""
    return {
        "lang": "py",
        "task": TASK,
        "id": message_id,
        "root_id": message_id,
        "parent_id": None,
        "group": None,
        "shadow": None,
        "eta": None,
        "expires": expires.isoformat(),
        "retries": 0,
        "timelimit": [None, None],
        "argsrepr": "()",
        "kwargsrepr": "{}",
        "origin": "bell",
        "ignore_result": True,
        "trace_id": trace_id,
    }


def _wall_clock() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - the expiry is written on the wire; nothing here is decided by it
