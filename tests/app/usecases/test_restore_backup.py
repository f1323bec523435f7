"""Backups of each kind of database, restored into each kind, and compared row by row."""

import resource
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from sqlalchemy import Engine, insert, select, text

from app.domain.tasks import TRY_AGAIN_AFTER, Task
from app.errors import Conflict, CorruptData, InvalidInput, LimitExceeded, Misconfigured, NotFound
from app.exchanges.exchange import Instrument
from app.host import backups, packed
from app.host.backups import Manifest
from app.host.vault import Vault
from app.storage import audit, checkpoints, flow, klines, pairs, symbols, tasks
from app.storage.database import open_engine, reading, transaction
from app.storage.flow import Flow
from app.storage.klines import Kline
from app.storage.server import server_figures
from app.storage.snapshots import PAGE
from app.storage.tables import metadata, refused_messages
from app.usecases import back_up, restore_backup
from app.usecases.run_tasks import run_next
from ops.migrate import upgrade
from tests.app.usecases.test_archive import judge, samples, trade
from tests.builders import NOW
from tests.conftest import DATABASES, Servers

ODD = 'O\'Hara \\ "%s" \n\t 价格 🚀'


def fill(engine: Engine) -> None:
    """Rows of most kinds, with every type of column, and more than one page of some."""
    with transaction(engine) as db:
        symbols.add(db, "BTCUSDT", now=NOW)
        known = [Instrument("BTC/USDT:USDT", "BTC", "USDT", "USDT", price_step=0.1)]
        [pair] = pairs.ensure_pairs(db, "binance", known, NOW).values()
        candle = Kline(pair, "1m", 1_763_000_040_000, 0.1, 1e-9, 1e300, 1 / 3, 2.0**60, source="import")
        klines.store(db, [replace(candle, open_time=candle.open_time + n * 60_000) for n in range(2 * PAGE + 7)])
        flow.store(db, [Flow(pair, "1m", 0, *[None] * 12)])
        audit.record(db, now=NOW, actor="a", action="b", subject=ODD, before=[1, 0.1, None, ODD], after={})
        checkpoints.save(db, "owner", "name", {"deep": [{"er": True}]}, NOW)
        checkpoints.save(db, "owner", "another", {}, NOW)
        row = {"exchange": "binance", "channel": "c", "reason": "r"}
        db.execute(insert(refused_messages), [{**row, "at": NOW, "detail": ODD}, {**row, "at": NOW, "detail": None}])
        tasks.ask(db, kind="drill", queue="q", payload={"n": ODD}, trace_id=None, now=NOW)
    judge(engine, 61, 59)
    trade(engine, opened=95, closed=91)
    trade(engine, opened=5, closed=None)
    samples(engine, 1, 2)


def everything(engine: Engine) -> dict[str, list[tuple[Any, ...]]]:
    with reading(engine) as db:
        return {
            str(table.name): [tuple(row) for row in db.execute(select(table).order_by(*table.primary_key))]
            for table in metadata.sorted_tables
        }


def make(engine: Engine, folder: Path, **more: Any) -> Manifest:
    wishes: dict[str, Any] = {"redis_url": "", "asked_by": "person", "now": NOW, "tell": lambda _: None}
    return back_up.create(engine, folder, **wishes | more)


def put(engine: Engine, folder: Path, name: str, *, force: bool = False) -> Manifest:
    return restore_backup.restore(engine, folder, name, force=force, tell=lambda *_: None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "backups"


@pytest.fixture(params=DATABASES)
def other(request: pytest.FixtureRequest, database_servers: Servers, tmp_path: Path) -> Iterator[Engine]:
    """An empty database of each kind, to restore into."""
    (tmp_path / "other").mkdir()
    with ExitStack() as stack:
        url = database_servers.blank(request.param, stack, tmp_path / "other")
        upgrade(url)
        engine = open_engine(url, pool_size=2)
        stack.callback(engine.dispose)
        yield engine


def test_every_row_comes_back_as_it_was_in_a_database_of_any_kind(engine: Engine, other: Engine, folder: Path):
    fill(engine)
    made = make(engine, folder)
    put(other, folder, made.name)

    before, after = everything(engine), everything(other)
    assert after.keys() == before.keys()
    for table, rows in before.items():
        assert after[table] == rows, table
        assert made.tables[table].rows == len(rows)
    assert [one for one in folder.iterdir() if one.name.startswith(packed.DRAFT)] == []
    samples(other, 3)  # ids go on behind those that came back
    assert len(everything(other)["system_monitoring"]) == 3


def test_a_backup_shows_one_moment_while_others_write(engine: Engine, folder: Path, tmp_path: Path):
    """A pair of rows is written together again and again: never one without the other is in a backup."""
    fill(engine)
    upgrade(f"sqlite:///{tmp_path / 'another.db'}")
    ended = threading.Event()

    def write() -> None:
        count = 0
        while not ended.is_set():
            with transaction(engine) as db:
                count += 1
                checkpoints.save(db, "pair", "left", {"n": count}, NOW)
                audit.record(db, now=NOW, actor="pair", action="right", subject=str(count))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        names = [make(engine, folder, now=NOW + timedelta(seconds=n)).name for n in range(3)]
    finally:
        ended.set()
        writer.join()
    other = open_engine(f"sqlite:///{tmp_path / 'another.db'}")
    for name in names:
        put(other, folder, name, force=True)
        with reading(other) as db:
            left = checkpoints.load(db, "pair", "left")
            subjects = [int(row.subject) for row in audit.recent(db, 100_000) if row.actor == "pair"]
        assert max(subjects, default=0) == (left or {"n": 0})["n"] == len(subjects)
    other.dispose()


def test_a_place_that_is_not_empty_is_left_alone_unless_forced(engine: Engine, folder: Path):
    fill(engine)
    before = everything(engine)
    made = make(engine, folder)
    samples(engine, 3)
    changed = everything(engine)
    with pytest.raises(Conflict, match="not empty"):
        put(engine, folder, made.name)

    assert everything(engine) == changed != before
    put(engine, folder, made.name, force=True)
    assert everything(engine) == before


def test_a_damaged_backup_is_found_and_restores_nothing(engine: Engine, folder: Path):
    fill(engine)
    made = make(engine, folder)
    assert restore_backup.verify(folder, made.name) == made
    name = max(made.files, key=lambda file: made.files[file].bytes)
    path = folder / made.name / name
    path.write_bytes(path.read_bytes()[:-20])

    with pytest.raises(CorruptData):
        put(engine, folder, made.name, force=True)
    assert len(everything(engine)["klines"]) == 2 * PAGE + 7


def test_a_backup_with_a_column_that_is_no_more_is_refused_before_anything_is_deleted(engine: Engine, folder: Path):
    import msgspec

    fill(engine)
    before = everything(engine)
    made = make(engine, folder)
    note = made.tables["klines"]
    older = msgspec.structs.replace(note, columns=[*note.columns, "colour"])
    said = msgspec.json.encode(msgspec.structs.replace(made, tables={**made.tables, "klines": older}))
    (folder / made.name / backups.MANIFEST).write_bytes(said)

    with pytest.raises(CorruptData, match="colour"):
        put(engine, folder, made.name, force=True)
    assert everything(engine) == before


def test_what_is_damaged_inside_a_copy_of_sqlite_is_found_by_sqlite(sqlite_engine: Engine, folder: Path):
    fill(sqlite_engine)
    made = make(sqlite_engine, folder)
    path = folder / made.name / backups.SQLITE
    pieces = bytearray(b"".join(packed.unpack(path)))
    pieces[8192:12288] = bytes(4096)
    written = packed.pack(path, [bytes(pieces)])
    changed = {**made.files, backups.SQLITE: backups.note(written)}
    import msgspec

    said = msgspec.json.encode(msgspec.structs.replace(made, files=changed))
    (folder / made.name / backups.MANIFEST).write_bytes(said)

    with pytest.raises(CorruptData, match="damaged"):
        restore_backup.verify(folder, made.name)


def test_a_backup_of_a_newer_version_is_refused(sqlite_engine: Engine, folder: Path):
    import msgspec

    made = make(sqlite_engine, folder)
    said = msgspec.json.encode(msgspec.structs.replace(made, schema="9999"))
    (folder / made.name / backups.MANIFEST).write_bytes(said)

    with pytest.raises(Misconfigured, match="9999"):
        put(sqlite_engine, folder, made.name)


def test_a_backup_that_fails_leaves_nothing(engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(packed, "look", lambda path: packed.Packed(0, "", 0, 0))
    with pytest.raises(LimitExceeded):
        make(engine, folder)

    assert [path.name for path in folder.iterdir()] == [".lock"]


def test_a_backup_that_is_asked_for_by_the_api_is_a_persons(sqlite_engine: Engine, folder: Path):
    vault = Vault(folder.parent / "archive", folder)
    for night, payload in enumerate(({}, back_up.NIGHTLY)):
        assert nightly(sqlite_engine, vault, NOW + timedelta(days=night), payload).status == "done"

    assert [one.asked_by for one in backups.listed(folder)] == ["person", "clock"]
    with pytest.raises(InvalidInput):
        back_up.begin({"of": "everything"})


def test_of_what_is_damaged_no_copy_is_made(tmp_path: Path, folder: Path):
    url = f"sqlite:///{tmp_path / 'hurt.db'}"
    upgrade(url)
    engine = open_engine(url, pool_size=1)
    fill(engine)
    engine.dispose()
    hurt(tmp_path / "hurt.db")
    engine = open_engine(url, pool_size=1)

    with pytest.raises(CorruptData, match="no copy of it was made"):
        make(engine, folder)
    engine.dispose()
    assert backups.listed(folder) == []


def hurt(path: Path) -> None:
    """Damage the file of a SQLite database in one of its later pages."""
    data = bytearray(path.read_bytes())
    place = len(data) // 2 // 4096 * 4096
    data[place : place + 4096] = b"\xff" * 4096
    path.write_bytes(bytes(data))


def test_a_backup_that_finds_no_room_says_so(sqlite_engine: Engine, folder: Path):
    fill(sqlite_engine)
    with no_file_larger_than(50_000), pytest.raises(LimitExceeded, match="does not take the copy"):
        make(sqlite_engine, folder)

    assert [path.name for path in folder.iterdir()] == [".lock"]


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """As a full disk: the kernel refuses what would be written beyond it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_a_killed_backup_left_is_removed_by_the_next_and_never_listed(sqlite_engine: Engine, folder: Path):
    (folder / f"{packed.DRAFT}1-2").mkdir(parents=True)
    (folder / f"{packed.DRAFT}1-2" / backups.MANIFEST).write_text("{}")
    assert backups.listed(folder) == []
    made = make(sqlite_engine, folder)

    assert sorted(path.name for path in folder.iterdir()) == [".lock", made.name]


def test_two_backups_at_once_are_one_too_many(sqlite_engine: Engine, folder: Path):
    with backups.room(folder), pytest.raises(Conflict):
        make(sqlite_engine, folder)


@pytest.mark.parametrize("name", ["", ".", "..", "20261121T050000Z", "a/b"])
def test_a_name_that_is_no_backups_is_not_found(folder: Path, name: str):
    folder.mkdir()
    with pytest.raises(NotFound):
        restore_backup.verify(folder, name)


def test_a_key_of_redis_that_would_be_missed_is_copied_and_comes_back(
    sqlite_engine: Engine, folder: Path, valkey_url: str
):
    import redis

    with redis.from_url(valkey_url) as client:
        client.set("ticker:x", "cached", ex=60)
        client.lpush("cleaner", "a bell")
        client.sadd("_kombu.binding.cleaner", "x")
        client.hset("somebody's", mapping={"a": "1"})
        made = make(sqlite_engine, folder, redis_url=valkey_url)
        client.delete("somebody's")
        came = restore_backup.restore_redis(folder, made, valkey_url)
        again = restore_backup.restore_redis(folder, made, valkey_url)

        assert (made.redis.answered, made.redis.keys, came, again) == (True, 1, 1, 0)
        assert client.hgetall("somebody's") == {b"a": b"1"}


def test_a_redis_that_is_away_or_empty_is_no_reason_to_make_no_backup(
    sqlite_engine: Engine, folder: Path, valkey_url: str, tmp_path: Path
):
    away = make(sqlite_engine, folder, redis_url=f"unix://{tmp_path / 'nobody'}")
    empty = make(sqlite_engine, folder, redis_url=valkey_url, now=NOW + timedelta(seconds=1))

    assert (away.redis.answered, empty.redis.answered, empty.redis.keys) == (False, True, 0)
    assert "Nothing durable lives in Redis" in empty.redis.note
    assert restore_backup.restore_redis(folder, empty, valkey_url) == 0


def nightly(engine: Engine, vault: Vault, now: datetime, payload: dict[str, object] = back_up.NIGHTLY) -> Task:
    with transaction(engine) as db:
        tasks.ask(db, kind="backup", queue="cleaner", payload=payload, trace_id=None, now=now)
    return again(engine, vault, now)


def again(engine: Engine, vault: Vault, now: datetime) -> Task:
    """What a worker comes to with the newest task."""
    run_next(
        engine, queue="cleaner", worker="w", now=lambda: now, beat=lambda _: None, draining=lambda: False, vault=vault
    )
    with reading(engine) as db:
        (task,) = tasks.recent(db, limit=1)
    return task


def test_the_night_makes_one_and_lets_the_oldest_go_but_not_a_persons(engine: Engine, folder: Path):
    vault = Vault(folder.parent / "archive", folder, keep_daily=2, keep_weekly=0)
    by_hand = make(engine, folder, now=NOW - timedelta(days=100))
    done = [nightly(engine, vault, NOW + timedelta(days=n)) for n in range(4)]

    assert [task.status for task in done] == ["done"] * 4
    assert [len((task.result or {})["removed"]) for task in done] == [0, 0, 1, 1]
    left = backups.listed(folder)
    assert [one.made_at for one in left] == [by_hand.made_at, NOW + timedelta(days=2), NOW + timedelta(days=3)]
    assert [one.asked_by for one in left] == ["person", "clock", "clock"]


def test_a_night_that_finds_somebody_reading_a_copy_makes_its_own_some_minutes_later(
    sqlite_engine: Engine, folder: Path
):
    vault = Vault(folder.parent / "archive", folder)
    with backups.room(folder):
        assert nightly(sqlite_engine, vault, NOW).status == "pending"
    assert again(sqlite_engine, vault, NOW + TRY_AGAIN_AFTER / 2).status == "pending"
    assert again(sqlite_engine, vault, NOW + TRY_AGAIN_AFTER).status == "done"


def test_a_night_whose_backup_fails_again_and_again_says_why(sqlite_engine: Engine, folder: Path):
    vault = Vault(folder.parent / "archive", folder)
    with backups.room(folder):
        nightly(sqlite_engine, vault, NOW)
        found = [again(sqlite_engine, vault, NOW + n * TRY_AGAIN_AFTER) for n in range(1, 4)]

    assert [task.status for task in found] == ["pending", "pending", "failed"]
    assert "Another backup" in (found[-1].error or "")
    assert nightly(sqlite_engine, vault, NOW + timedelta(days=1)).status == "done"


def test_a_long_backup_keeps_no_slice_waiting(sqlite_engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(back_up, "LOOK_S", 0.02)
    goes_on = threading.Event()
    create = back_up.create

    def slow(*args: Any, **more: Any) -> Manifest:
        more["tell"](0.25)
        goes_on.wait(20)
        return create(*args, **more)

    monkeypatch.setattr(back_up, "create", slow)
    vault = Vault(folder.parent / "archive", folder)
    beats: list[str] = []

    def beat(work: str) -> None:
        beats.append(work)
        if len(beats) == 3:
            goes_on.set()

    with transaction(sqlite_engine) as db:
        tasks.ask(db, kind="backup", queue="cleaner", payload={}, trace_id=None, now=NOW)
    run_next(
        sqlite_engine, queue="cleaner", worker="w", now=lambda: NOW, beat=beat, draining=lambda: False, vault=vault
    )

    assert "25%" in beats[1]
    assert "100%" in beats[-1]
    assert len(backups.listed(folder)) == 1


class Usage(NamedTuple):
    """What the system says of a disk."""

    total: int
    used: int
    free: int


def lacking(monkeypatch: pytest.MonkeyPatch, folder: Path, missing: int, *, wanted: int = 0, percent: int = 90) -> None:
    """The backups stand on a disk that lacks so many bytes before what is wanted makes it that full."""

    def ours() -> int:
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

    total = 10**12
    others = total // 100 * percent - ours() - wanted + missing

    def usage(_: object) -> Usage:
        used = others + ours()
        return Usage(total, used, total - used)

    monkeypatch.setattr(backups.shutil, "disk_usage", usage)


def nights(engine: Engine, folder: Path, count: int) -> list[Manifest]:
    return [make(engine, folder, asked_by="clock", now=NOW + timedelta(days=n)) for n in range(count)]


def left(folder: Path) -> list[str]:
    return [one.name for one in backups.listed(folder)]


def wanted_by_the_next(engine: Engine, last: Manifest) -> int:
    """As much as the last one took, and on SQLite a copy of the database beside it."""
    with reading(engine) as db:
        return last.compressed_bytes + (server_figures(db).bytes if last.kind == "sqlite" else 0)


def test_a_copy_that_would_leave_less_than_a_tenth_of_the_disk_is_not_begun(
    engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    fill(engine)
    made = make(engine, folder)
    lacking(monkeypatch, folder, 1, wanted=wanted_by_the_next(engine, made))
    with pytest.raises(LimitExceeded, match="more than 90 % full: 1 MB are missing"):
        make(engine, folder, now=NOW + timedelta(days=1))

    assert left(folder) == [made.name]
    lacking(monkeypatch, folder, 0, wanted=wanted_by_the_next(engine, made))
    again = make(engine, folder, now=NOW + timedelta(days=1))
    assert left(folder) == [made.name, again.name]


def test_the_oldest_nights_go_first_where_that_makes_room_but_never_a_persons(
    sqlite_engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    fill(sqlite_engine)
    by_hand = make(sqlite_engine, folder, now=NOW - timedelta(days=9))
    made = nights(sqlite_engine, folder, 4)
    each, wanted = made[0].compressed_bytes, wanted_by_the_next(sqlite_engine, made[0])
    lacking(monkeypatch, folder, each + 1, wanted=wanted)
    new = make(sqlite_engine, folder, asked_by="clock", now=NOW + timedelta(days=5))

    assert left(folder) == [by_hand.name, made[2].name, made[3].name, new.name]


def test_where_all_the_older_nights_are_too_little_none_goes_in_vain_and_the_last_good_one_is_none_of_them(
    sqlite_engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    fill(sqlite_engine)
    made = nights(sqlite_engine, folder, 3)
    wanted = wanted_by_the_next(sqlite_engine, made[0])
    lacking(monkeypatch, folder, 2 * made[0].compressed_bytes + 9_999, wanted=wanted)
    with pytest.raises(LimitExceeded, match="missing"):
        make(sqlite_engine, folder, asked_by="clock", now=NOW + timedelta(days=5))

    assert left(folder) == [one.name for one in made]


def test_the_last_copy_that_can_be_read_through_stays_though_a_damaged_one_is_newer(
    sqlite_engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    fill(sqlite_engine)
    good, bad = nights(sqlite_engine, folder, 2)
    path = folder / bad.name / backups.SQLITE
    path.write_bytes(bytes(path.stat().st_size))
    lacking(monkeypatch, folder, 1, wanted=wanted_by_the_next(sqlite_engine, good))
    new = make(sqlite_engine, folder, asked_by="clock", now=NOW + timedelta(days=5))

    assert left(folder) == [good.name, new.name]


def test_the_early_clean_up_lets_old_nights_go_as_far_as_that_is_needed_and_never_the_newest_two(
    sqlite_engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    fill(sqlite_engine)
    by_hand = make(sqlite_engine, folder, now=NOW - timedelta(days=9))
    made = nights(sqlite_engine, folder, 4)
    lacking(monkeypatch, folder, 1, percent=80)
    assert back_up.thin(folder) == [made[0].name]
    assert back_up.thin(folder) == []
    lacking(monkeypatch, folder, 10**9, percent=80)
    with backups.room(folder):
        assert back_up.thin(folder) == []  # somebody reads one
    assert back_up.thin(folder) == [made[1].name]

    assert left(folder) == [by_hand.name, made[2].name, made[3].name]


def test_where_there_are_no_backups_there_is_nothing_to_thin(folder: Path):
    assert back_up.thin(folder) == []


def test_a_copy_is_not_unpacked_where_that_would_fill_the_disk(
    sqlite_engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    fill(sqlite_engine)
    made = make(sqlite_engine, folder)
    before = everything(sqlite_engine)
    lacking(monkeypatch, folder, 1, wanted=made.files[backups.SQLITE].bytes)
    with pytest.raises(LimitExceeded, match="Unpacking"):
        restore_backup.verify(folder, made.name)
    with pytest.raises(LimitExceeded, match="Unpacking"):
        put(sqlite_engine, folder, made.name, force=True)

    assert everything(sqlite_engine) == before


def test_a_restore_that_would_fill_the_disk_deletes_nothing_and_begins_nothing(
    sqlite_engine: Engine, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    upgrade(f"sqlite:///{tmp_path / 'another.db'}")
    another = open_engine(f"sqlite:///{tmp_path / 'another.db'}", pool_size=2)
    samples(another, 1)
    before = everything(another)
    fill(sqlite_engine)
    made = make(sqlite_engine, folder)
    unpacked = made.files[backups.SQLITE].bytes
    with reading(another) as db:
        more = unpacked - server_figures(db).bytes
    lacking(monkeypatch, folder, 1, wanted=unpacked + more)
    with pytest.raises(LimitExceeded, match="The restored database"):
        put(another, folder, made.name, force=True)

    assert everything(another) == before
    lacking(monkeypatch, folder, -100_000, wanted=unpacked + more)  # the unpacked file has companions of some kB
    put(another, folder, made.name, force=True)
    assert everything(another) == everything(sqlite_engine)
    another.dispose()


def test_a_zero_byte_that_only_some_databases_keep_makes_no_restore_fail(
    sqlite_engine: Engine, other: Engine, folder: Path
):
    row = {"exchange": "binance", "channel": "a\0b", "reason": "r", "at": NOW, "detail": "\0"}
    with transaction(sqlite_engine) as db:
        db.execute(insert(refused_messages), [row])
        audit.record(db, now=NOW, actor="a", action="b", subject="c", before={"a\0": ["\0b"]}, after={})
    made = make(sqlite_engine, folder)
    put(other, folder, made.name)

    for_it = "\ufffd" if other.dialect.name == "postgresql" else "\0"
    with reading(other) as db:
        found = db.execute(select(refused_messages.c.channel, refused_messages.c.detail)).one()
        (trace,) = audit.recent(db, 9)
    assert tuple(found) == (f"a{for_it}b", for_it)
    assert trace.before == {"a\0": ["\0b"]}


def test_a_restore_that_is_cut_off_says_what_is_there_and_that_it_may_not_be_used(
    engine: Engine, folder: Path, tmp_path: Path
):
    fill(engine)
    made = make(engine, folder)
    url = f"sqlite:///{tmp_path / 'half.db'}"
    upgrade(url)
    half = open_engine(url, pool_size=2)
    with half.begin() as db:
        db.execute(text("CREATE TRIGGER t BEFORE INSERT ON tasks BEGIN SELECT RAISE(ABORT, 'no'); END"))
    with pytest.raises(InvalidInput, match=r"the database holds \d+ of \d+ rows, \d+ of \d+ tables are whole") as said:
        put(half, folder, made.name)
    rows = sum(map(len, everything(half).values()))
    wanted = sum(map(len, everything(engine).values()))

    assert f"holds {rows} of {wanted} rows" in str(said.value)
    assert 0 < rows < wanted
    assert "--force" in said.value.cure
    with half.begin() as db:
        db.execute(text("DROP TRIGGER t"))
    put(half, folder, made.name, force=True)
    assert everything(half) == everything(engine)
    half.dispose()
