"""The monitor: its parts, the whole process with everything else away, and its watch over a real guard that hangs."""

import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis

from app.domain.alerts.stepping import AlertState
from app.domain.fleet import ProcessSpec
from app.host import acknowledgements, alert_file, heartbeat, probes, recoveries, samples
from app.host.acknowledgements import Acknowledgement
from app.host.fleet_file import read_fleet
from app.host.fleet_report import ProcessReport
from app.host.metrics import Metrics, Series, read_all
from app.host.samples import HealthSample
from app.host.supervisor import ProcessInfo, Supervisor
from app.notify import outbox
from app.notify.outbox import Notice
from app.settings import ROOT
from tests.builders import Valkey, wait_for
from tests.telegram import TOKEN, played_telegram
from workers.monitor import GUARD, GuardWatch, HealthMinutes, RedisProbe

AT = datetime(2026, 11, 21, 5, 24, tzinfo=UTC)


def a_report(name: str = "broker", state: str = "RUNNING", *, fresh: bool = True) -> ProcessReport:
    return ProcessReport(
        name=name,
        pid=1,
        state=state,
        uptime_s=60,
        restarts=0,
        memory_mb=10.0,
        ceiling_mb=80,
        heartbeat_age_s=1.0 if fresh else 14.0,
        last_work="worked",
        role="core",
        explanation="Exited too quickly",
        fresh=fresh,
    )


def gauges(metrics: Metrics) -> dict[str, tuple[Series, ...]]:
    return {family.name: family.series for family in metrics.snapshot("monitor").families}


def test_looks_are_gathered_by_the_minute():
    minutes = HealthMinutes()
    during = [minutes.add([a_report()], AT + timedelta(seconds=second)) for second in range(0, 60, 5)]
    finished = minutes.add([a_report()], AT + timedelta(seconds=60))

    assert during == [[]] * 12
    assert finished == [HealthSample(AT, "broker", 12, 12)]


def test_a_process_that_is_not_well_is_counted_with_what_was_last_wrong():
    minutes = HealthMinutes()
    minutes.add([a_report(), a_report("feed", "BACKOFF", fresh=False)], AT)
    minutes.add([a_report(fresh=False), a_report("feed", "BACKOFF", fresh=False)], AT + timedelta(seconds=5))
    minutes.add([a_report(), a_report("feed", "STARTING", fresh=False)], AT + timedelta(seconds=10))

    assert minutes.finish() == [
        HealthSample(AT, "broker", 2, 3, "it did no work for 14 s"),
        HealthSample(AT, "feed", 0, 3, "STARTING: Exited too quickly"),
    ]


def test_what_somebody_stopped_is_neither_well_nor_unwell():
    minutes = HealthMinutes()
    minutes.add([a_report(state="STOPPED", fresh=False)], AT)

    assert minutes.finish() == []


def test_an_unfinished_minute_is_given_out_once():
    minutes = HealthMinutes()
    minutes.add([a_report()], AT)
    first, second = minutes.finish(), minutes.finish()

    assert first == [HealthSample(AT, "broker", 1, 1)]
    assert second == []


def test_a_clock_that_is_set_back_ends_the_minute_too():
    minutes = HealthMinutes()
    minutes.add([a_report()], AT)

    assert minutes.add([a_report()], AT - timedelta(hours=1)) == [HealthSample(AT, "broker", 1, 1)]


def test_redis_is_measured_while_it_is_there_and_unknown_while_it_is_not(tmp_path: Path):
    server, metrics = Valkey(tmp_path), Metrics()
    probe = RedisProbe(server.url, {"strategy": "strategy-worker", "cleaner": "data-cleaner"})
    server.start()
    with redis.Redis.from_url(server.url) as client:
        client.lpush("cleaner", "a", "b")
        client.get("nothing")
        client.lrange("cleaner", 0, 1)
    up = probe.look(metrics)
    while_up = gauges(metrics)
    hit_ratio = while_up["flotilla_redis_hit_ratio"][0].value or 0.0
    server.kill()
    down = probe.look(metrics)
    while_down = gauges(metrics)
    server.start()
    up_again = probe.look(metrics)
    server.kill()
    probe.close()

    assert hit_ratio == 0.5
    assert (up, down, up_again) == (True, False, True)
    assert while_up["flotilla_redis_up"][0].value == 1
    assert (while_up["flotilla_redis_memory_bytes"][0].value or 0) > 100_000
    assert {series.labels["queue"]: series.value for series in while_up["flotilla_queue_length"]} == {
        "strategy": 0,
        "cleaner": 2,
    }
    assert while_up["flotilla_redis_clients"][0].value == 1
    assert while_up["flotilla_redis_evicted_keys"][0].value == 0
    assert while_down["flotilla_redis_up"][0].value == 0
    unknown = [*while_down["flotilla_redis_memory_bytes"], *while_down["flotilla_queue_length"]]
    assert all(series.value is not None and math.isnan(series.value) for series in unknown)


def test_a_queue_that_is_no_queue_leaves_the_rest_known(tmp_path: Path):
    server, metrics = Valkey(tmp_path), Metrics()
    server.start()
    with redis.Redis.from_url(server.url) as client:
        client.set("cleaner", "not a list")
    probe = RedisProbe(server.url, {"cleaner": "data-cleaner"})
    up = probe.look(metrics)
    probe.close()
    server.kill()
    (length,) = gauges(metrics)["flotilla_queue_length"]

    assert up is True
    assert length.value is not None
    assert math.isnan(length.value)


def test_the_monitor_loads_nothing_that_it_watches():
    script = (
        "import sys; import workers.monitor, redis\n"
        "sys.exit(bool({'sqlalchemy', 'celery', 'kombu', 'numpy', 'flask', 'gevent'} & set(sys.modules)))"
    )

    assert subprocess.run([sys.executable, "-c", script], check=False, cwd=ROOT).returncode == 0


@contextmanager
def alone(folder: Path, **env: str) -> Iterator[subprocess.Popen[bytes]]:
    """A monitor with no supervisord, no database and no Redis."""
    with (folder / "monitor.log").open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "workers.monitor"],
            env=os.environ | {"FLOTILLA__STATE__DIR": str(folder), "no_proxy": "127.0.0.1"} | env,
            cwd=ROOT,
            stdout=out,
            stderr=out,
        )
    try:
        wait_for(lambda: heartbeat.read(folder / "run", "monitor"), within_s=30)
        yield process
    finally:
        process.kill()
        process.wait()


def test_with_everything_else_away_it_beats_measures_and_tells(tmp_path: Path):
    with played_telegram() as telegram:
        settings = {
            "FLOTILLA__TELEGRAM__TOKEN": TOKEN,
            "FLOTILLA__TELEGRAM__CHAT_ID": "42",
            "FLOTILLA__TELEGRAM__BASE_URL": telegram.base_url,
        }
        outbox.post(tmp_path / "notices", Notice("one", AT, "critical", "broker", "It ends."))
        with alone(tmp_path, **settings) as process:
            wait_for(lambda: telegram.taken, within_s=30)
            wait_for(lambda: read_all(tmp_path / "run", time.time()).found, within_s=30)
            first = heartbeat.read(tmp_path / "run", "monitor")
            assert first is not None
            wait_for(
                lambda: (beat := heartbeat.read(tmp_path / "run", "monitor")) and beat.at_ns > first.at_ns, within_s=30
            )
            used_mb = probes.memory_mb(process.pid)
            process.terminate()
            ended = process.wait(timeout=30)
    (snapshot,) = read_all(tmp_path / "run", time.time()).found

    assert ended == 0
    assert "It ends." in telegram.taken[0]
    assert outbox.pending(tmp_path / "notices") == []
    assert {family.name: family.series[0].value for family in snapshot.families}["flotilla_redis_up"] == 0
    assert used_mb is not None
    ceiling_mb = next(spec.ceiling_mb for spec in read_fleet(ROOT / "supervisord.conf") if spec.name == "monitor")
    assert used_mb < 0.7 * ceiling_mb


def test_with_everything_else_away_it_still_answers_and_says_what_is_away(tmp_path: Path):
    with played_telegram() as telegram:
        settings = {
            "FLOTILLA__TELEGRAM__TOKEN": TOKEN,
            "FLOTILLA__TELEGRAM__CHAT_ID": "42",
            "FLOTILLA__TELEGRAM__BASE_URL": telegram.base_url,
            "FLOTILLA__API__PORT": "1",
        }
        with alone(tmp_path, **settings):
            telegram.write("/status", at_s=time.time())
            telegram.write("/positions", at_s=time.time())
            telegram.write("/status", at_s=time.time(), chat_id=7)
            wait_for(lambda: len(telegram.taken) >= 2, within_s=30)

    assert "supervisord" in telegram.taken[0]
    assert "memory" in telegram.taken[0]
    assert telegram.taken[1].startswith("The API does not answer")
    assert {message["chat_id"] for message in telegram.received} == {"42"}
    assert int((tmp_path / "commands.offset").read_text()) >= 3


def test_it_hears_who_knows_of_an_alert(tmp_path: Path):
    (tmp_path / "run").mkdir()
    firing = AlertState("firing", since=AT, fired_at=AT, told_at=AT, value=1.0)
    alert_file.write(tmp_path, alert_file.Kept({"redis-away/": firing}))
    acknowledgements.ask(tmp_path / "run", Acknowledgement("redis-away/", "ann", AT))

    with alone(tmp_path):
        wait_for(
            lambda: (state := alert_file.read(tmp_path).states.get("redis-away/")) and state.acknowledged_by == "ann",
            within_s=30,
        )


def test_killed_while_it_tells_it_tells_the_rest_after_its_restart(tmp_path: Path):
    with played_telegram() as telegram:
        settings = {
            "FLOTILLA__TELEGRAM__TOKEN": TOKEN,
            "FLOTILLA__TELEGRAM__CHAT_ID": "42",
            "FLOTILLA__TELEGRAM__BASE_URL": telegram.base_url,
        }
        for number in range(3):
            text = f"Disaster {number}! " + "x" * 3_000  # one message each
            outbox.post(tmp_path / "notices", Notice(f"c{number}", AT, "critical", "broker", text))
        for messages in (1, 2, 3):
            with alone(tmp_path, **settings):
                wait_for(lambda: len(telegram.taken) >= messages, within_s=30)  # noqa: B023 - it is called at once
                wait_for(
                    lambda: len(outbox.pending(tmp_path / "notices")) <= 3 - messages,  # noqa: B023 - likewise
                    within_s=30,
                )

    assert [text.splitlines()[1][:28] for text in telegram.taken] == [
        f"CRITICAL broker: Disaster {number}!" for number in range(3)
    ]


CONF = """
[unix_http_server]
file={folder}/run/supervisor.sock
[supervisord]
nodaemon=true
logfile={folder}/supervisord.log
pidfile={folder}/supervisord.pid
directory={root}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[program:monitor]
command={python} -m workers.monitor {folder}/supervisord.conf
environment=MEMORY_LIMIT_MB="50",HEARTBEAT_S="10",WHEN_EXHAUSTED="run",ROLE="core"
stopwaitsecs=5
stdout_logfile={folder}/monitor.log
redirect_stderr=true
[eventlistener:process-guard]
command={python} -m ops.process_guard {folder}/supervisord.conf
environment=MEMORY_LIMIT_MB="40",HEARTBEAT_S="2",WHEN_EXHAUSTED="run",ROLE="core"
events=PROCESS_STATE_EXITED,PROCESS_STATE_BACKOFF,PROCESS_STATE_FATAL
stopwaitsecs=5
stderr_logfile={folder}/guard.log
"""


@pytest.fixture
def small_fleet() -> Iterator[tuple[Path, Supervisor]]:
    with tempfile.TemporaryDirectory(prefix="fl-", dir="/tmp") as name:
        folder = Path(name)
        (folder / "run").mkdir()
        conf = folder / "supervisord.conf"
        conf.write_text(CONF.format(folder=folder, root=ROOT, python=sys.executable), encoding="utf-8")
        with (folder / "out").open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "ops.supervise", "-c", str(conf)],
                env=os.environ | {"FLOTILLA__STATE__DIR": str(folder), "PYTHONPATH": str(ROOT)},
                stdout=out,
                stderr=out,
            )
        try:
            for process_name in ("monitor", "process-guard"):
                wait_for(lambda: heartbeat.read(folder / "run", process_name), within_s=30)  # noqa: B023 - called at once
            yield folder, Supervisor(folder / "run" / "supervisor.sock")
        finally:
            process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()


def guard_pid(supervisor: Supervisor) -> int | None:
    return next(info.pid for info in supervisor.processes() if info.name == "process-guard")


class PlayedSupervisor:
    """What it says of the guard, one look after the other."""

    def __init__(self, *looks: tuple[str, int | None]) -> None:
        self._looks = iter(looks)

    def processes(self) -> list[ProcessInfo]:
        state, pid = next(self._looks)
        return [ProcessInfo(GUARD, state, pid, 0, 1, "")]


@pytest.mark.parametrize(
    ("between", "noted"), [("BACKOFF", ["it ended by itself"]), ("EXITED", ["it ended by itself"]), ("STOPPED", [])]
)
def test_an_end_of_the_guard_is_seen_even_if_a_look_falls_between_two_of_them(
    tmp_path: Path, between: str, noted: list[str]
):
    """Those who live are looked at each second, and supervisord takes a second to start the next one."""
    looks = (("RUNNING", 11), (between, None), ("RUNNING", 12))
    played: Any = PlayedSupervisor(*looks)
    watch = GuardWatch(ProcessSpec(GUARD, 40, 5.0, 5.0, "run", "core"), played, tmp_path, tmp_path / "notices")
    for _ in looks:
        watch.look(AT)

    told = [one.reason for segment in recoveries.spool_in(tmp_path).segments() for one in recoveries.read(segment)[0]]
    assert told == noted


@pytest.mark.fleet
def test_a_guard_that_hangs_is_replaced_and_a_person_is_told(small_fleet: tuple[Path, Supervisor]):
    folder, supervisor = small_fleet
    frozen = guard_pid(supervisor)
    assert frozen is not None
    os.kill(frozen, signal.SIGSTOP)
    wait_for(lambda: not psutil.pid_exists(frozen), within_s=30)
    wait_for(lambda: guard_pid(supervisor) not in (None, frozen), within_s=30)
    notices = wait_for(lambda: outbox.recent(folder / "notices", 10), within_s=30)

    assert [(notice.subject, notice.level) for notice in notices] == [("process-guard", "critical")]
    assert "no work for" in notices[0].text


@pytest.mark.fleet
def test_a_guard_that_is_killed_once_or_works_is_left_alone(small_fleet: tuple[Path, Supervisor]):
    folder, supervisor = small_fleet
    killed = guard_pid(supervisor)
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    second = wait_for(lambda: (pid := guard_pid(supervisor)) != killed and pid, within_s=30)
    first_beat = heartbeat.read(folder / "run", "monitor")
    assert first_beat is not None
    wait_for(  # longer than the guard could be silent without being noticed
        lambda: (beat := heartbeat.read(folder / "run", "monitor")) and beat.at_ns - first_beat.at_ns > 8e9,
        within_s=60,
    )

    assert guard_pid(supervisor) == second
    assert outbox.recent(folder / "notices", 10) == []


@pytest.mark.fleet
def test_what_it_saw_of_each_process_is_spooled_when_it_is_asked_to_end(small_fleet: tuple[Path, Supervisor]):
    folder, supervisor = small_fleet
    wait_for(lambda: read_all(folder / "run", time.time()).found, within_s=30)
    supervisor.signal("monitor", "TERM")
    wait_for((folder / "run" / "samples.jsonl").exists, within_s=30)
    (segment,) = samples.spool_in(folder / "run").segments()
    found, damaged = samples.read(segment)

    assert damaged == 0
    assert {sample.component for sample in found} == {"monitor", "process-guard"}
    assert all(sample.total_count >= 1 for sample in found)
