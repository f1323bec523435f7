"""What a database says of itself."""

from sqlalchemy import Engine

from app.storage.database import reading
from app.storage.server import server_figures


def test_a_database_says_how_large_it_is_and_who_is_connected(engine: Engine):
    with reading(engine) as db:
        found = server_figures(db)

    assert 10_000 < found.bytes < 1_000_000_000
    assert 0 < found.query_s < 5
    if engine.dialect.name == "sqlite":
        assert found.connections is None
    else:
        assert (found.connections or 0) >= 1
