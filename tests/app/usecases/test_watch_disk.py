"""Honouring the ceiling of the disk."""

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from app.cache.bell import Bell
from app.storage import recoveries, tasks
from app.storage.database import reading, transaction
from app.usecases.watch_disk import CLEAN_UP, watch_disk
from tests.app.usecases.test_restore_backup import lacking, left, nights
from tests.builders import NOW

NOWHERE = Path("/nowhere")


@pytest.fixture
def bell(tmp_path: Path) -> Iterator[Bell]:
    """Nobody hears it: what was asked for stands in rows."""
    with closing(Bell(f"unix://{tmp_path / 'nobody'}")) as bell:
        yield bell


def look(engine: Engine, bell: Bell, used: float, now: datetime = NOW, folder: Path = NOWHERE) -> bool:
    return watch_disk(engine, bell, folder, used_percent=used, trace_id="t", now=now)


def asked(engine: Engine) -> list[str]:
    with reading(engine) as db:
        return [task.kind for task in reversed(tasks.recent(db, limit=99))]


def noted(engine: Engine) -> list[tuple[str, str, str]]:
    with reading(engine) as db:
        return [(one.reason, one.outcome, one.note) for one in reversed(recoveries.recent(db, limit=99))]


def test_a_disk_with_room_calls_for_nothing(engine: Engine, bell: Bell):
    assert not look(engine, bell, 79)
    assert (asked(engine), noted(engine)) == ([], [])


def test_at_80_percent_the_clean_up_comes_early_and_once_an_hour(engine: Engine, bell: Bell):
    calls = [look(engine, bell, 81, NOW + timedelta(minutes=n)) for n in (0, 1, 59)]

    assert calls == [True, False, False]
    assert asked(engine) == list(CLEAN_UP)
    assert noted(engine) == [("the disk is 81 % full", "pending", "")]
    look(engine, bell, 81, NOW + timedelta(minutes=60))
    assert asked(engine) == list(CLEAN_UP)  # those of an hour ago are still under way
    assert len(noted(engine)) == 1


def test_the_clean_up_has_helped_once_the_disk_has_room_again(engine: Engine, bell: Bell):
    look(engine, bell, 84)
    look(engine, bell, 74, NOW + timedelta(minutes=5))

    assert noted(engine) == [("the disk is 84 % full", "recovered", "the disk is 74 % full again")]


def test_what_is_under_way_is_not_asked_for_again(engine: Engine, bell: Bell):
    with transaction(engine) as db:
        tasks.ask(db, kind="purge", queue="cleaner", payload={}, trace_id=None, now=NOW)
    look(engine, bell, 85)

    assert asked(engine) == ["purge", "roll_up", "archive"]


def test_older_nights_backups_make_room_at_80_percent_and_not_before(
    sqlite_engine: Engine, bell: Bell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "backups"
    made = nights(sqlite_engine, folder, 3)
    lacking(monkeypatch, folder, 1, percent=80)
    look(sqlite_engine, bell, 79, folder=folder)
    before = left(folder)
    look(sqlite_engine, bell, 81, folder=folder)

    assert (before, left(folder)) == ([one.name for one in made], [one.name for one in made[1:]])
