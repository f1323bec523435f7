"""What a database says of itself: how large it is, how many are connected, how long the simplest query takes."""

import time
from dataclasses import dataclass

from sqlalchemy import Connection, text


@dataclass(frozen=True, slots=True)
class ServerFigures:
    """``connections`` is None for a file, which has none."""

    bytes: int
    connections: int | None
    query_s: float


_BYTES = {
    "sqlite": "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
    "postgresql": "SELECT pg_database_size(current_database())",
    "mysql": "SELECT SUM(data_length + index_length) FROM information_schema.tables WHERE table_schema = DATABASE()",
}
_CONNECTIONS = {
    "postgresql": "SELECT SUM(numbackends) FROM pg_stat_database",
    "mysql": "SHOW GLOBAL STATUS LIKE 'Threads_connected'",
}


def server_figures(db: Connection) -> ServerFigures:
    """Ask. An ordinary user may ask all of it."""
    kind = "mysql" if db.dialect.name == "mariadb" else db.dialect.name
    began_s = time.perf_counter()
    db.execute(
        text("SELECT version_num FROM alembic_version")
    ).scalar()  # a row: SQLite would answer a 1 without its file
    query_s = time.perf_counter() - began_s
    size = db.execute(text(_BYTES[kind])).scalar()
    connections = db.execute(text(_CONNECTIONS[kind])).one()[-1] if kind in _CONNECTIONS else None
    return ServerFigures(int(size or 0), None if connections is None else int(connections), query_s)
