"""What a process remembers over a restart."""

from sqlalchemy import Engine

from app.storage import checkpoints
from app.storage.database import reading, transaction
from tests.builders import NOW, later


def test_the_last_state_is_found_again(engine: Engine):
    with transaction(engine) as db:
        checkpoints.save(db, "feed", "BTCUSDT", {"last": 1}, NOW)
        checkpoints.save(db, "feed", "BTCUSDT", {"last": 2, "名": ["ü", None, 1.5]}, later(1))
    with reading(engine) as db:
        assert checkpoints.load(db, "feed", "BTCUSDT") == {"last": 2, "名": ["ü", None, 1.5]}


def test_what_was_never_saved_is_none(engine: Engine):
    with reading(engine) as db:
        assert checkpoints.load(db, "feed", "BTCUSDT") is None


def test_owners_do_not_see_each_others_states(engine: Engine):
    with transaction(engine) as db:
        checkpoints.save(db, "feed", "a", {"n": 1}, NOW)
        checkpoints.save(db, "feed", "b", {"n": 2}, NOW)
        checkpoints.save(db, "beat", "a", {"n": 3}, NOW)
    with reading(engine) as db:
        assert checkpoints.load_all(db, "feed") == {"a": {"n": 1}, "b": {"n": 2}}
        assert checkpoints.load_all(db, "nobody") == {}
