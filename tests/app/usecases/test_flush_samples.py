"""Flushing samples: each becomes one row, whoever is killed and whatever is away in between."""

import shutil
import subprocess
import sys
import textwrap
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from app.errors import FlotillaError, Unavailable
from app.host import samples
from app.host.samples import HealthSample
from app.storage import monitoring
from app.storage.database import open_engine, reading, transaction
from app.usecases.flush_samples import Flushed, flush_samples

AT = datetime(2026, 11, 21, 5, 24, tzinfo=UTC)
NOW = AT + timedelta(hours=9)


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


def a_sample(number: int = 0, success: int = 12, error: str | None = None) -> HealthSample:
    return HealthSample(AT + timedelta(minutes=number), "strategy-worker", success, 12, error)


def rows(engine: Engine) -> list[monitoring.Sample]:
    with reading(engine) as db:
        return monitoring.recent(db, limit=100_000)[::-1]


def left_behind(run_dir: Path) -> Path:
    """A segment, as somebody leaves it who is killed right after cutting it off."""
    return next(iter(samples.spool_in(run_dir).segments()))


def test_a_sample_becomes_a_row(engine: Engine, run_dir: Path):
    samples.append(run_dir, [a_sample(success=11, error="silent for 14 s")])
    done = flush_samples(engine, run_dir, now=NOW)

    assert done == Flushed(rows=1)
    assert rows(engine) == [
        monitoring.Sample(
            metric_type="SYSTEM_HEALTH",
            component="strategy-worker",
            success_count=11,
            total_count=12,
            success_rate=Decimal("91.67"),
            avg_response_time=None,
            created_at=AT,
            error_message="silent for 14 s",
        )
    ]


def test_nothing_sampled_stores_nothing(sqlite_engine: Engine, run_dir: Path):
    assert flush_samples(sqlite_engine, run_dir, now=NOW) == Flushed()
    assert rows(sqlite_engine) == []


def test_no_looks_have_no_rate(sqlite_engine: Engine, run_dir: Path):
    samples.append(run_dir, [HealthSample(AT, "broker", 0, 0)])
    flush_samples(sqlite_engine, run_dir, now=NOW)

    assert [row.success_rate for row in rows(sqlite_engine)] == [None]


def test_each_flush_stores_what_is_new(sqlite_engine: Engine, run_dir: Path):
    for number in range(5):
        samples.append(run_dir, [a_sample(number)])
        flush_samples(sqlite_engine, run_dir, now=NOW)

    assert [row.created_at for row in rows(sqlite_engine)] == [AT + timedelta(minutes=number) for number in range(5)]
    assert [path.name for path in run_dir.glob("samples*")] == []


def test_killed_before_storing_it_stores_later(engine: Engine, run_dir: Path):
    samples.append(run_dir, [a_sample(0)])
    left_behind(run_dir)
    samples.append(run_dir, [a_sample(1)])
    flush_samples(engine, run_dir, now=NOW)

    assert [row.created_at for row in rows(engine)] == [AT, AT + timedelta(minutes=1)]


def test_killed_between_storing_and_removing_it_does_not_store_again(engine: Engine, run_dir: Path, tmp_path: Path):
    samples.append(run_dir, [a_sample(0)])
    segment = left_behind(run_dir)
    shutil.copy(segment, tmp_path / "copy")
    flush_samples(engine, run_dir, now=NOW)
    shutil.copy(tmp_path / "copy", segment)  # as if it had never been removed
    samples.append(run_dir, [a_sample(1)])
    flush_samples(engine, run_dir, now=NOW)

    assert [row.created_at for row in rows(engine)] == [AT, AT + timedelta(minutes=1)]
    assert list(run_dir.glob("samples*")) == []


def test_while_the_database_is_away_the_samples_wait(tmp_path: Path, run_dir: Path, sqlite_engine: Engine):
    away = open_engine(f"sqlite:///{tmp_path / 'no' / 'such' / 'folder.db'}")
    for number in range(3):
        samples.append(run_dir, [a_sample(number)])
        with pytest.raises(Unavailable):
            flush_samples(away, run_dir, now=NOW)
    flush_samples(sqlite_engine, run_dir, now=NOW)
    away.dispose()

    assert len(rows(sqlite_engine)) == 3


def test_a_database_that_can_only_be_read_loses_nothing(sqlite_engine: Engine, run_dir: Path):
    with transaction(sqlite_engine) as db:
        db.execute(
            text("CREATE TRIGGER full BEFORE INSERT ON checkpoints BEGIN SELECT RAISE(ABORT, 'disk is full'); END")
        )
    for number in range(3):
        samples.append(run_dir, [a_sample(number)])
        with pytest.raises(FlotillaError):
            flush_samples(sqlite_engine, run_dir, now=NOW)
    during = rows(sqlite_engine)
    with transaction(sqlite_engine) as db:
        db.execute(text("DROP TRIGGER full"))
    flush_samples(sqlite_engine, run_dir, now=NOW)

    assert during == []
    assert len(rows(sqlite_engine)) == 3


def test_damaged_lines_hold_up_nothing(sqlite_engine: Engine, run_dir: Path):
    samples.append(run_dir, [a_sample(0)])
    with (run_dir / "samples.jsonl").open("ab") as spool:
        spool.write(b"\xff{torn\n")
    samples.append(run_dir, [a_sample(1)])

    assert flush_samples(sqlite_engine, run_dir, now=NOW) == Flushed(rows=2, damaged=1)
    assert len(rows(sqlite_engine)) == 2


def test_somebody_who_already_flushes_is_left_alone(sqlite_engine: Engine, run_dir: Path):
    samples.append(run_dir, [a_sample(0)])
    with samples.spool_in(run_dir).alone():
        during = flush_samples(sqlite_engine, run_dir, now=NOW)

    assert during == Flushed()
    assert flush_samples(sqlite_engine, run_dir, now=NOW) == Flushed(rows=1)


def test_a_flusher_killed_at_many_moments_stores_each_sample_once(sqlite_url: str, run_dir: Path):
    script = textwrap.dedent("""
        import sys
        from datetime import UTC, datetime
        from pathlib import Path
        from app.storage.database import open_engine
        from app.usecases.flush_samples import flush_samples
        engine = open_engine(sys.argv[1])
        print("ready", flush=True)
        while True:
            flush_samples(engine, Path(sys.argv[2]), now=datetime.now(UTC))
    """)
    number = 0
    for turn in range(12):
        with subprocess.Popen(
            [sys.executable, "-c", script, sqlite_url, str(run_dir)], stdout=subprocess.PIPE
        ) as flusher:
            assert flusher.stdout is not None
            flusher.stdout.readline()
            for _ in range(20 + turn):
                samples.append(run_dir, [a_sample(number)])
                number += 1
                time.sleep(0.0013 * (turn % 4))
            flusher.kill()
    engine = open_engine(sqlite_url)
    flush_samples(engine, run_dir, now=NOW)
    stored = [row.created_at for row in rows(engine)]
    engine.dispose()

    assert sorted(stored) == [AT + timedelta(minutes=minute) for minute in range(number)]
