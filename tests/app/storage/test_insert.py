"""Inserting over what is already there."""

import threading

from sqlalchemy import Engine, select

from app.storage.database import reading, transaction
from app.storage.insert import insert_or_update
from app.storage.tables import checkpoints
from tests.builders import NOW

KEY = ["owner", "name"]


def row(owner: str, n: int) -> dict:
    return {"owner": owner, "name": "x", "state": {"n": n}, "saved_at": NOW}


def states(engine: Engine) -> dict:
    with reading(engine) as db:
        return dict(db.execute(select(checkpoints.c.owner, checkpoints.c.state)).all())


def test_the_row_of_the_same_key_is_changed_and_no_other(engine: Engine):
    with transaction(engine) as db:
        for owner, n in (("a", 1), ("b", 2), ("a", 3)):
            insert_or_update(db, checkpoints, row(owner, n), key=KEY, change=["state"])

    assert states(engine) == {"a": {"n": 3}, "b": {"n": 2}}


def test_without_changes_the_row_stays_as_it_is(engine: Engine):
    with transaction(engine) as db:
        insert_or_update(db, checkpoints, row("a", 1), key=KEY, change=[])
        insert_or_update(db, checkpoints, row("a", 2), key=KEY, change=[])

    assert states(engine) == {"a": {"n": 1}}


def test_writers_at_once_do_not_collide(engine: Engine):
    def write(n: int) -> None:
        with transaction(engine) as db:
            insert_or_update(db, checkpoints, row("a", n), key=KEY, change=["state"])

    threads = [threading.Thread(target=write, args=(n,)) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert list(states(engine)) == ["a"]
