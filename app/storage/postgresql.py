"""Connections to PostgreSQL that give up on a server that says nothing. Imported only where one is used: it is not small.

The server's own ``statement_timeout`` ends what is slow, but a server that hangs keeps no time, and libpq waits for ever.
"""

from typing import Any

from psycopg import Connection, OperationalError
from psycopg.pq import TransactionStatus

_GRACE_S = 1.0  # a server that is well says itself what took too long, and we keep the connection


class PatientConnection(Connection[Any]):
    """A connection that waits for each answer for at most ``answer_s``."""

    answer_s: float

    @classmethod
    def opener(cls, answer_s: float) -> type["PatientConnection"]:
        """The class of connections with this much patience."""
        return type(cls.__name__, (cls,), {"answer_s": answer_s})

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Wait for the answer. A connection on which it may still come later cannot be used again, so it is closed."""
        try:
            return super().wait(gen, interval, self.answer_s + _GRACE_S if timeout is None else timeout)
        except OperationalError:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.pgconn.finish()
            raise
