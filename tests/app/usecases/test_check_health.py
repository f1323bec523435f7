"""Every dependency is asked, and each one that is away is named with its real state."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import Engine, text

from app.domain.fleet import ProcessSpec
from app.host.supervisor import Supervisor
from app.storage import processes
from app.storage.database import open_engine, transaction
from app.storage.tables import SCHEMA_VERSION
from app.usecases.check_health import Check, check_health
from ops.migrate import upgrade
from tests.builders import NOW, Valkey

SPECS = tuple(
    ProcessSpec(name, ceiling_mb=50, heartbeat_s=5, grace_s=5, when_exhausted="run", role=role)
    for name, role in (("broker", "core"), ("monitor", "core"), ("market-feed", "work"))
)
Ask = Callable[..., dict[str, Check]]


@pytest.fixture
def ask(sqlite_engine: Engine, valkey_url: str, tmp_path: Path) -> Iterator[Ask]:
    """Check everything; a test names only what it changes."""
    redis = Redis.from_url(valkey_url)

    def check(**changes) -> dict[str, Check]:
        handles = {"engine": sqlite_engine, "redis": redis, "supervisor": Supervisor(tmp_path / "s"), "specs": SPECS}
        rest = {"state_dir": tmp_path, "run_dir": tmp_path, "unneeded": (), "now": NOW}
        health = check_health(**(handles | rest | changes))
        assert health.ready is all(check.ok for check in health.checks)
        return {check.name: check for check in health.checks}

    yield check
    redis.close()


def test_a_database_with_the_schema_of_this_version_is_up(ask: Ask):
    assert ask()["database"] == Check("database", ok=True, state="up", detail=f"Schema {SCHEMA_VERSION}.")


def test_a_database_of_another_version_is_named_with_its_cure(ask: Ask, sqlite_engine: Engine):
    with transaction(sqlite_engine) as db:
        db.execute(text("UPDATE alembic_version SET version_num = '0000'"))

    check = ask()["database"]

    assert (check.ok, check.state) == (False, "wrong schema")
    assert "flotilla migrate" in check.detail


def test_an_empty_database_is_not_up(ask: Ask, tmp_path: Path):
    (tmp_path / "empty.db").touch()
    engine = open_engine(f"sqlite:///{tmp_path}/empty.db")

    assert ask(engine=engine)["database"].state == "wrong schema"
    engine.dispose()


def test_a_database_file_that_was_moved_away_is_gone(ask: Ask, tmp_path: Path):
    engine = open_engine(f"sqlite:///{tmp_path}/moved.db")

    assert ask(engine=engine)["database"].state == "gone"
    engine.dispose()


def test_a_database_file_in_whose_place_another_one_is_is_gone(ask: Ask, tmp_path: Path):
    """Such as an empty one: the fleet goes on writing into the one that was moved away."""
    path = tmp_path / "moved.db"
    upgrade(f"sqlite:///{path}")
    engine = open_engine(f"sqlite:///{path}")
    assert ask(engine=engine)["database"].state == "up"
    path.rename(tmp_path / "elsewhere.db")
    upgrade(f"sqlite:///{path}")

    assert ask(engine=engine)["database"].state == "gone"
    (tmp_path / "elsewhere.db").rename(path)
    assert ask(engine=engine)["database"].state == "up"
    engine.dispose()


def test_a_database_that_is_away_is_away(ask: Ask):
    engine = open_engine("mysql+pymysql://nobody@127.0.0.1:1/nothing")

    assert ask(engine=engine)["database"].state == "away"
    engine.dispose()


def test_every_kind_of_database_is_asked(ask: Ask, engine: Engine):
    assert ask(engine=engine)["database"].ok


def test_a_redis_that_answers_is_up_and_one_that_does_not_is_away(ask: Ask, tmp_path: Path):
    with Redis.from_url(f"unix://{tmp_path}/nothing") as nobody:
        assert ask(redis=nobody)["redis"].state == "away"
    assert ask()["redis"].ok


def test_a_redis_that_accepts_and_says_nothing_is_away(ask: Ask):
    with tempfile.TemporaryDirectory(prefix="fl-", dir="/tmp") as folder:
        server = Valkey(Path(folder))
        server.start()
        try:
            with Redis.from_url(server.url, socket_timeout=0.2, socket_connect_timeout=0.2) as redis:
                server.freeze()
                assert ask(redis=redis)["redis"].state == "away"
        finally:
            server.thaw()
            server.kill()


def test_without_supervisord_no_process_is_guessed_at(ask: Ask):
    found = ask()

    assert found["supervisord"].state == "away"
    assert found.keys() == {"database", "redis", "supervisord", "disk"}


def test_a_disk_that_is_nearly_full_is_not_up(ask: Ask, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("app.usecases.check_health.DISK_FLOOR_MB", 10**12)

    assert ask()["disk"].state == "full"


def test_a_state_folder_that_is_gone_is_away(ask: Ask, tmp_path: Path):
    assert ask(state_dir=tmp_path / "gone")["disk"].state == "away"


@pytest.mark.fleet
def test_processes_are_told_apart_by_what_they_really_do(ask: Ask, sqlite_engine: Engine):
    from dataclasses import replace

    from tests.api.conftest import Fleet
    from tests.builders import wait_for

    with tempfile.TemporaryDirectory(prefix="fl-", dir="/tmp") as folder:
        fleet = Fleet(Path(folder))
        try:
            fleet.start()
            fleet.supervisor.stop("main-app")
            wait_for(lambda: fleet.states()["main-app"] == "STOPPED", within_s=20)
            (Path(folder) / "run" / "broker").unlink()
            fleet.supervisor.signal("broker", "STOP")
            fleet.supervisor.stop("strategy-worker")  # by nobody's wish, as when it crashed
            with transaction(sqlite_engine) as db:
                processes.ensure(db, [spec.name for spec in fleet.specs], NOW)
            wait_for(lambda: fleet.states()["strategy-worker"] == "STOPPED", within_s=20)
            crashed = ask(supervisor=fleet.supervisor, specs=fleet.specs, run_dir=Path(folder) / "run")
            with transaction(sqlite_engine) as db:
                processes.want(db, "strategy-worker", "stop", actor="anna", now=NOW)
            specs = (*fleet.specs, replace(fleet.specs[0], name="nobody"))
            now = NOW.fromtimestamp((Path(folder) / "run" / "monitor").stat().st_mtime + 4, NOW.tzinfo)
            with_broker = ask(supervisor=fleet.supervisor, specs=specs, run_dir=Path(folder) / "run", now=now)
            much_later = now.replace(year=now.year + 1)
            without = ask(
                supervisor=fleet.supervisor,
                specs=specs,
                run_dir=Path(folder) / "run",
                now=much_later,
                unneeded={"broker"},
            )
            fleet.supervisor.signal("broker", "CONT")
        finally:
            fleet.stop()

    assert with_broker["monitor"].ok
    assert (with_broker["main-app"].state, with_broker["broker"].state) == ("stopped", "starting")
    assert with_broker["nobody"].state == "unknown"
    assert crashed["strategy-worker"].state == "stopped"
    assert "strategy-worker" not in with_broker  # it was wished so
    assert with_broker["market-feed"].ok
    assert (without["monitor"].state, without["market-feed"].state) == ("silent", "silent")
    assert "broker" not in without  # somebody else's
