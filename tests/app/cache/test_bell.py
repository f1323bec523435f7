"""The bell against a real Valkey and a real Celery worker."""

import json
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import redis

from app.cache.bell import MAX_WAITING, Bell, broker_url
from tests.builders import Valkey

WORKER = """
    import json, sys
    from celery import Celery
    from app.cache.bell import broker_url

    app = Celery("listener", broker=broker_url(sys.argv.pop(1)))
    heard = sys.argv.pop(1)
    app.conf.update(accept_content=["json"], task_acks_late=True, worker_hijack_root_logger=False)

    @app.task(name="work", bind=True)
    def work(self):
        with open(heard, "a") as file:
            file.write(json.dumps({"id": self.request.id, "trace_id": self.request.trace_id}) + "\\n")

    app.worker_main(["worker", "-P", "solo", "-Q", "strategy", "--without-gossip", "--without-mingle"])
"""


@contextmanager
def celery_worker(url: str, heard: Path) -> Iterator[None]:
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WORKER), url, str(heard)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield
        finally:
            process.kill()


def wait_for(heard: Path, times: int) -> list[dict[str, str | None]]:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        lines = heard.read_text().splitlines() if heard.exists() else []
        if len(lines) >= times:
            return [json.loads(line) for line in lines]
        time.sleep(0.05)
    raise AssertionError(f"The worker heard {len(lines)} of {times} within a minute.")


@pytest.fixture
def bell(own_valkey: Valkey) -> Iterator[Bell]:
    bell = Bell(own_valkey.url)
    yield bell
    bell.close()


def test_a_real_celery_worker_hears_the_bell_with_its_trace_id(own_valkey: Valkey, bell: Bell, tmp_path: Path):
    heard = tmp_path / "heard"
    with celery_worker(own_valkey.url, heard):
        rung = [bell.ring("strategy", trace_id="abc"), bell.ring("strategy")]
        messages = wait_for(heard, 2)

    assert rung == [True, True]
    assert sorted(str(message["trace_id"]) for message in messages) == ["None", "abc"]
    assert messages[0]["id"] != messages[1]["id"]
    assert bell.length("strategy") == 0


def test_a_bell_rung_long_ago_wakes_nobody(own_valkey: Valkey, bell: Bell, tmp_path: Path):
    long_ago = Bell(own_valkey.url, clock=lambda: datetime(2020, 1, 1, tzinfo=UTC))
    assert long_ago.ring("strategy", trace_id="old")
    long_ago.close()
    heard = tmp_path / "heard"
    with celery_worker(own_valkey.url, heard):
        assert bell.ring("strategy", trace_id="new")
        messages = wait_for(heard, 1)

    assert [message["trace_id"] for message in messages] == ["new"]


def test_waiting_bells_are_counted(bell: Bell):
    rung = [bell.ring("strategy") for _ in range(3)]

    assert rung == [True] * 3
    assert bell.length("strategy") == 3
    assert bell.length("cleaner") == 0


def test_a_bell_without_a_broker_answers_false(tmp_path: Path):
    bell = Bell(f"unix://{tmp_path}/nobody.sock")

    assert bell.ring("strategy") is False
    assert bell.length("strategy") is None


def test_the_bell_rings_again_after_the_broker_was_restarted(own_valkey: Valkey, bell: Bell):
    assert bell.ring("strategy")
    own_valkey.kill()
    own_valkey.start()

    assert bell.ring("strategy")
    assert bell.length("strategy") == 1  # the server keeps nothing over its restart


def test_the_bell_finds_the_broker_again_after_an_outage_that_it_saw(own_valkey: Valkey, bell: Bell):
    assert bell.ring("strategy")
    own_valkey.kill()
    during = [bell.ring("strategy") for _ in range(20)]
    own_valkey.start()

    assert during == [False] * 20
    assert bell.ring("strategy")


def test_a_broker_that_hangs_is_given_up(own_valkey: Valkey, bell: Bell):
    assert bell.ring("strategy")
    own_valkey.freeze()
    during = bell.ring("strategy")
    own_valkey.thaw()

    assert during is False
    assert bell.ring("strategy")


def test_a_long_outage_leaves_no_connections_behind(own_valkey: Valkey, bell: Bell):
    own_valkey.kill()
    for _ in range(50):
        bell.ring("strategy")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(300):
        bell.ring("strategy")

    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 50


def test_many_threads_ring_one_bell(bell: Bell):
    rung: list[bool] = []

    def ring_often() -> None:
        rung.extend(bell.ring("strategy") for _ in range(25))

    threads = [threading.Thread(target=ring_often) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert rung == [True] * 200
    assert bell.length("strategy") == 200


def test_greenlets_ring_one_bell(own_valkey: Valkey):
    script = """
        import sys
        from gevent import monkey; monkey.patch_all()
        import gevent
        from app.cache.bell import Bell
        bell = Bell(sys.argv[1])
        rings = [gevent.spawn(bell.ring, "strategy") for _ in range(100)]
        gevent.joinall(rings)
        print(sum(ring.value for ring in rings), bell.length("strategy"))
    """
    said = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), own_valkey.url], check=True, capture_output=True, text=True
    ).stdout

    assert said.split() == ["100", "100"]


def test_a_queue_that_nobody_listens_to_does_not_fill_the_broker(own_valkey: Valkey, bell: Bell):
    with redis.Redis.from_url(own_valkey.url) as client:
        client.lpush("strategy", *range(MAX_WAITING))
    rung = bell.ring("strategy")

    assert rung is False
    assert bell.length("strategy") == MAX_WAITING


def test_the_bell_is_rung_in_the_database_that_the_address_names(own_valkey: Valkey):
    bell = Bell(f"{own_valkey.url}?db=3")
    bell.ring("strategy")
    bell.close()

    with redis.Redis.from_url(own_valkey.url, db=3) as client:
        assert client.llen("strategy") == 1


def test_ringing_does_not_need_celery():
    script = "import sys; import app.cache.bell; sys.exit('celery' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.parametrize(
    ("redis_url", "expected"),
    [
        ("unix:///var/run/b.sock", "redis+socket:///var/run/b.sock?virtual_host=0"),
        ("unix:///var/run/b.sock?db=2", "redis+socket:///var/run/b.sock?virtual_host=2"),
        ("unix://me@/b.sock?password=p%40ss", "redis+socket://me:p%40ss@/b.sock?virtual_host=0"),
        ("redis://localhost:6379", "redis://localhost:6379/0"),
        ("redis://localhost:6379/4", "redis://localhost:6379/4"),
        ("redis://localhost:6379/4?db=5", "redis://localhost:6379/5"),
        ("redis://me:p%2Fss@[::1]:6379/1?socket_timeout=3", "redis://me:p%2Fss@[::1]:6379/1"),
        ("redis://:only@host", "redis://:only@host/0"),
        ("rediss://host:6380/1", "rediss://host:6380/1?ssl_cert_reqs=required"),
        ("rediss://host:6380/1?ssl_cert_reqs=none", "rediss://host:6380/1?ssl_cert_reqs=none"),
    ],
)
def test_an_address_of_redis_is_written_as_kombu_reads_it(redis_url: str, expected: str):
    assert broker_url(redis_url) == expected
