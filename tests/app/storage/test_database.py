"""Opening databases and their transactions; what goes wrong comes out as one of our errors."""

import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from sqlalchemy import Engine, func, insert, make_url, select, text

from app.errors import InvalidInput, Misconfigured, Unavailable
from app.storage import audit, checkpoints
from app.storage.database import (
    ANSWER_S,
    BUSY_S,
    CONNECT_S,
    LOCK_S,
    open_engine,
    reading,
    schema_version,
    shown_url,
    transaction,
)
from app.storage.tables import SCHEMA_VERSION, audit_log, symbols
from tests.builders import NOW, wait_for

SECRET = "hunter2"


def record(engine: Engine, subject: str = "x") -> None:
    with transaction(engine) as db:
        audit.record(db, now=NOW, actor="a", action="b", subject=subject)


def write_and_fail(engine: Engine) -> None:
    with transaction(engine) as db:
        audit.record(db, now=NOW, actor="a", action="b", subject="c")
        raise ZeroDivisionError


def records(engine: Engine) -> int:
    with reading(engine) as db:
        return db.execute(select(func.count()).select_from(audit_log)).scalar_one()


def test_what_a_transaction_writes_is_kept(engine: Engine):
    record(engine)

    assert records(engine) == 1


def test_a_transaction_that_raises_leaves_nothing(engine: Engine):
    with pytest.raises(ZeroDivisionError):
        write_and_fail(engine)

    assert records(engine) == 0


def test_what_is_written_while_reading_is_not_kept(engine: Engine):
    with reading(engine) as db:
        audit.record(db, now=NOW, actor="a", action="b", subject="c")

    assert records(engine) == 0


def test_a_migrated_database_knows_its_version(engine: Engine):
    with reading(engine) as db:
        assert schema_version(db) == SCHEMA_VERSION


def test_a_blank_database_has_no_version_and_says_what_to_run(blank_database_url: str):
    engine = open_engine(blank_database_url, create=True)
    with reading(engine) as db:
        assert schema_version(db) is None
    with pytest.raises(Misconfigured) as caught, transaction(engine) as db:
        checkpoints.save(db, "a", "b", {}, NOW)
    engine.dispose()

    assert "flotilla migrate" in caught.value.cure


def test_a_mistake_in_our_own_sql_is_not_taken_for_trouble_with_the_database(engine: Engine):
    with pytest.raises(Exception, match=r"(?i)syntax") as caught, reading(engine) as db:
        db.execute(text("SELEC 1"))

    assert type(caught.value).__name__ in ("OperationalError", "ProgrammingError")


def test_sqlite_keeps_to_its_rules(sqlite_engine: Engine):
    with transaction(sqlite_engine) as db:
        found = {
            name: db.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }

    assert found == {"journal_mode": "wal", "synchronous": 1, "foreign_keys": 1, "busy_timeout": 3000}


def test_writers_that_read_first_wait_for_each_other(engine: Engine):
    """Begun as a reader, the second one would be refused on SQLite as soon as it writes."""

    def count_up() -> None:
        for _ in range(10):
            with transaction(engine) as db:
                audit.recent(db, 1)
                audit.record(db, now=NOW, actor="a", action="b", subject="c")

    threads = [threading.Thread(target=count_up) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert records(engine) == 40


def test_a_reader_does_not_wait_for_a_writer(engine: Engine):
    with transaction(engine) as db:
        audit.record(db, now=NOW, actor="a", action="b", subject="c")

        assert records(engine) == 0


def test_a_write_that_waits_too_long_says_that_the_database_is_busy(sqlite_engine: Engine, sqlite_url: str):
    impatient = open_engine(sqlite_url, pool_size=1)
    with reading(impatient) as db:
        db.exec_driver_sql("PRAGMA busy_timeout = 50")
    with transaction(sqlite_engine), pytest.raises(Unavailable, match="locked"):
        record(impatient)
    impatient.dispose()


def test_connections_that_are_all_in_use_are_named_as_the_cause(sqlite_url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("app.storage.database.BUSY_S", 0.1)
    engine = open_engine(sqlite_url, pool_size=1)
    with reading(engine), pytest.raises(Unavailable, match="All 1 connections") as caught, reading(engine):
        pass
    engine.dispose()

    assert "pool_size" in caught.value.cure


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.mark.parametrize("scheme", ["mysql+pymysql", "mariadb+pymysql", "postgresql+psycopg"])
def test_a_server_that_is_away_is_unavailable_and_its_password_stays_secret(scheme: str, closed_port: int):
    engine = open_engine(f"{scheme}://someone:{SECRET}@127.0.0.1:{closed_port}/flotilla")
    with pytest.raises(Unavailable) as caught, transaction(engine):
        pass

    assert f"127.0.0.1:{closed_port}/flotilla" in str(caught.value)
    assert "database.url" in caught.value.cure
    assert SECRET not in str(caught.value) + caught.value.cure


def test_a_password_is_hidden_also_where_the_server_repeats_it(engine: Engine):
    if engine.dialect.name == "sqlite":
        pytest.skip("A file asks for no password.")
    careless = open_engine(engine.url.set(username=SECRET, password=SECRET).render_as_string(hide_password=False))
    with pytest.raises(Unavailable) as caught, reading(careless):
        pass

    assert "***" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_server_that_says_nothing_is_unavailable_after_a_while(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("app.storage.database.CONNECT_S", 1)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        engine = open_engine(
            f"mysql+pymysql://someone:{SECRET}@127.0.0.1:{silent.getsockname()[1]}/flotilla", answer_s=1
        )
        with pytest.raises(Unavailable), reading(engine):
            pass


def test_a_connection_that_the_server_closed_is_replaced(engine: Engine):
    if engine.dialect.name == "sqlite":
        pytest.skip("A file closes no connections.")
    with reading(engine) as db:
        mysql = engine.dialect.name == "mysql"
        number = db.execute(text("SELECT connection_id()" if mysql else "SELECT pg_backend_pid()")).scalar_one()
    other = open_engine(engine.url.render_as_string(hide_password=False))
    with reading(other) as db:
        db.execute(text(f"KILL {number}" if mysql else f"SELECT pg_terminate_backend({number})"))
    other.dispose()

    record(engine)

    assert records(engine) == 1


def test_a_connection_that_is_cut_off_in_the_middle_is_unavailable(engine: Engine):
    if engine.dialect.name == "sqlite":
        pytest.skip("A file closes no connections.")
    mysql = engine.dialect.name == "mysql"
    with pytest.raises(Unavailable), transaction(engine) as db:
        db.execute(text("KILL connection_id()" if mysql else "SELECT pg_terminate_backend(pg_backend_pid())"))

    assert records(engine) == 0


@contextmanager
def frozen(engine: Engine) -> Iterator[None]:
    """The server hangs: its processes are stopped, while the system still accepts connections for them."""
    with reading(engine) as db:
        mysql = engine.dialect.name == "mysql"
        told = db.execute(text("SELECT @@pid_file" if mysql else "SELECT pg_backend_pid()")).scalar_one()
    try:
        server = psutil.Process(int(Path(told).read_text())) if mysql else psutil.Process(told).parent()
    except (OSError, psutil.Error):
        server = None
    if server is None or server.name() not in ("mariadbd", "mysqld", "postgres"):
        pytest.skip("The server runs elsewhere.")
    processes = [server, *server.children(recursive=True)]
    for process in processes:
        process.suspend()
    try:
        # On a busy machine a thread that runs just now stops a little later.
        wait_for(lambda: all(process.status() == psutil.STATUS_STOPPED for process in processes), within_s=20)
        yield
    finally:
        for process in processes:
            process.resume()


def gives_up(turn: Callable[[], object]) -> threading.Event:
    """Begin a turn that must end as unavailable; the event says that it did."""
    seen = threading.Event()

    def attempt() -> None:
        with suppress(Unavailable):
            turn()
            return
        seen.set()

    threading.Thread(target=attempt, daemon=True).start()
    return seen


GIVEN_UP_WITHIN_S = 60  # it gives up at all; how soon is a matter of the waits below, not of this machine


def test_the_longest_waits_together_are_over_before_the_guard_takes_their_caller_for_stuck():
    guard_s = 10
    a_worker_that_waits_twice, a_server_that_hangs = 2 * BUSY_S, ANSWER_S + CONNECT_S + ANSWER_S

    assert max(a_worker_that_waits_twice, a_server_that_hangs) < guard_s
    assert LOCK_S < ANSWER_S


def test_a_server_that_hangs_is_unavailable(engine: Engine):
    if engine.dialect.name == "sqlite":
        pytest.skip("A file has no server.")
    with frozen(engine):
        assert gives_up(lambda: records(engine)).wait(GIVEN_UP_WITHIN_S)

    record(engine)
    assert records(engine) == 1


def test_a_server_that_hangs_in_the_middle_is_unavailable_too(engine: Engine):
    if engine.dialect.name == "sqlite":
        pytest.skip("A file has no server.")

    begun, hangs = threading.Event(), threading.Event()

    def write() -> None:
        with transaction(engine) as db:
            db.execute(text("SELECT 1"))
            begun.set()
            hangs.wait()
            audit.record(db, now=NOW, actor="a", action="b", subject="c")

    gave_up = gives_up(write)
    begun.wait()
    with frozen(engine):
        hangs.set()
        assert gave_up.wait(GIVEN_UP_WITHIN_S)

    assert records(engine) == 0


def test_a_locked_file_is_unavailable(sqlite_engine: Engine):
    with transaction(sqlite_engine):
        assert gives_up(lambda: record(sqlite_engine)).wait(GIVEN_UP_WITHIN_S)


def test_whoever_changes_tables_may_take_longer(engine: Engine):
    if engine.dialect.name == "sqlite":
        pytest.skip("A file has no server.")
    patient = open_engine(engine.url.render_as_string(hide_password=False), answer_s=60)
    with reading(patient) as db:
        db.execute(text("SELECT sleep(5)" if engine.dialect.name == "mysql" else "SELECT pg_sleep(5)"))
    patient.dispose()


def test_a_folder_that_is_not_there_is_unavailable_with_a_cure(tmp_path: Path):
    engine = open_engine(f"sqlite:///{tmp_path / 'nowhere' / 'flotilla.db'}")
    with pytest.raises(Unavailable, match="nowhere") as caught, reading(engine) as db:
        schema_version(db)

    assert "folder" in caught.value.cure


def test_a_file_that_is_not_there_is_not_made_by_whoever_only_opens_it(tmp_path: Path):
    """An empty one in the place of one that was moved away would look as if all were well, and cost its WAL."""
    path = tmp_path / "flotilla.db"
    engine = open_engine(f"sqlite:///{path}")
    for turn in (reading, transaction):
        with pytest.raises(Unavailable) as caught, turn(engine):
            pass
        assert "Its file is not there" in caught.value.cure
    engine.dispose()

    assert not path.exists()


def test_a_file_that_is_no_database_is_said_to_be_damaged(tmp_path: Path):
    (tmp_path / "flotilla.db").write_bytes(b"not a database at all" * 200)
    engine = open_engine(f"sqlite:///{tmp_path / 'flotilla.db'}")
    with pytest.raises(Misconfigured, match="damaged"), reading(engine) as db:
        schema_version(db)
    engine.dispose()


@pytest.mark.parametrize("url", ["no address", "oracle://host/name", "sqlite+nosuch:///x", ""])
def test_what_is_no_address_of_a_known_database_is_misconfigured(url: str):
    with pytest.raises(Misconfigured):
        open_engine(url)


@pytest.mark.parametrize("value", [{"not": object()}, {"not a number": float("nan")}])
def test_what_json_cannot_say_is_refused(engine: Engine, value: dict):
    with pytest.raises(InvalidInput), transaction(engine) as db:
        checkpoints.save(db, "a", "b", value, NOW)


def test_a_value_that_is_there_twice_is_refused(engine: Engine):
    with pytest.raises(InvalidInput, match=r"(?i)unique|duplicate"), transaction(engine) as db:
        db.execute(insert(symbols), [{"symbol": "BTCUSDT"}, {"symbol": "BTCUSDT"}])


def test_addresses_are_shown_without_user_and_password():
    shown = [
        shown_url(make_url(url))
        for url in ("mysql+pymysql://u:secret@h:1/n", "postgresql://u:secret@h/n", "sqlite:////a/b")
    ]

    assert shown == ["mysql://h:1/n", "postgresql://h/n", "sqlite:////a/b"]


def test_a_new_file_of_sqlite_can_hand_back_its_free_pages_and_an_old_one_is_left_as_it_was(tmp_path: Path):
    with closing(sqlite3.connect(tmp_path / "old.db")) as old:
        old.execute("CREATE TABLE t (a INTEGER)").close()
    found = []
    for name in ("new.db", "old.db"):
        for _ in range(2):  # made, and opened again
            engine = open_engine(f"sqlite:///{tmp_path / name}", create=True)
            with transaction(engine) as db:
                db.execute(text("CREATE TABLE IF NOT EXISTS t (a INTEGER)"))
            with reading(engine) as db:
                found.append((name, db.execute(text("PRAGMA auto_vacuum")).scalar()))
            engine.dispose()

    assert found == [("new.db", 2), ("new.db", 2), ("old.db", 0), ("old.db", 0)]


def test_opening_a_database_waits_for_no_writer(sqlite_url: str, sqlite_engine: Engine):
    with transaction(sqlite_engine) as db:
        audit.record(db, now=NOW, actor="a", action="b", subject="c")
        other = open_engine(sqlite_url)
        with reading(other) as beside:
            assert beside.execute(select(func.count()).select_from(audit_log)).scalar() == 0
        other.dispose()
