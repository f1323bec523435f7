"""The registry, its snapshots on disk, and the text that Prometheus reads."""

import os
import re
import threading
import time
from pathlib import Path

import pytest

from app.host.metrics import (
    BOUNDS_S,
    CURRENT_S,
    DROPPED,
    HELP,
    MAX_SERIES,
    SKIPPED,
    Metrics,
    Snapshots,
    exposition,
    read_all,
)

LINE = re.compile(r"^[a-z_]+(\{[a-z_]+=\"([^\"\\]|\\.)*\"(,[a-z_]+=\"([^\"\\]|\\.)*\")*\})? (\S+)$")


def text_of(metrics: Metrics, process: str = "monitor") -> str:
    return exposition(Snapshots((metrics.snapshot(process),)))


def test_a_counter_adds_up_for_each_combination_of_labels():
    metrics = Metrics()
    metrics.count("flotilla_http_requests_total", method="GET", status=200)
    metrics.count("flotilla_http_requests_total", 2, method="GET", status=200)
    metrics.count("flotilla_http_requests_total", method="POST", status=409)

    text = text_of(metrics, "main-app")

    assert 'flotilla_http_requests_total{process="main-app",method="GET",status="200"} 3\n' in text
    assert 'flotilla_http_requests_total{process="main-app",method="POST",status="409"} 1\n' in text


def test_a_gauge_keeps_the_last_value():
    metrics = Metrics()
    metrics.gauge("flotilla_disk_free_bytes", 5)
    metrics.gauge("flotilla_disk_free_bytes", 2.5)

    assert 'flotilla_disk_free_bytes{process="monitor"} 2.5\n' in text_of(metrics)


def test_a_histogram_counts_each_duration_in_its_bucket_and_all_above():
    metrics = Metrics()
    for seconds in (0.001, 0.02, 99):  # on a bound, between two, beyond the last
        metrics.observe("flotilla_http_request_seconds", seconds)

    text = text_of(metrics)

    assert 'flotilla_http_request_seconds_bucket{process="monitor",le="0.001"} 1\n' in text
    assert 'flotilla_http_request_seconds_bucket{process="monitor",le="0.01"} 1\n' in text
    assert 'flotilla_http_request_seconds_bucket{process="monitor",le="0.025"} 2\n' in text
    assert 'flotilla_http_request_seconds_bucket{process="monitor",le="10"} 2\n' in text
    assert 'flotilla_http_request_seconds_bucket{process="monitor",le="+Inf"} 3\n' in text
    assert 'flotilla_http_request_seconds_sum{process="monitor"} 99.021\n' in text
    assert 'flotilla_http_request_seconds_count{process="monitor"} 3\n' in text


def test_each_metric_is_explained_once_even_when_two_processes_count_it(tmp_path: Path):
    for process in ("monitor", "main-app"):
        metrics = Metrics()
        metrics.gauge("flotilla_disk_free_bytes", 1)
        metrics.publish(tmp_path, process)

    text = exposition(read_all(tmp_path, time.time()))

    assert text.count("# TYPE flotilla_disk_free_bytes gauge\n") == 1
    assert text.count(f"# HELP flotilla_disk_free_bytes {HELP['flotilla_disk_free_bytes']}\n") == 1
    assert text.count("\nflotilla_disk_free_bytes{") == 2


def test_values_of_labels_are_escaped():
    metrics = Metrics()
    metrics.gauge("flotilla_up", 1, note='a "quoted" \\ and\nbroken line')

    assert '{process="monitor",note="a \\"quoted\\" \\\\ and\\nbroken line"} 1\n' in text_of(metrics)


def test_a_series_that_names_a_process_keeps_that_name():
    metrics = Metrics()
    metrics.gauge("flotilla_up", 0, process="broker")

    assert 'flotilla_up{process="broker"} 0\n' in text_of(metrics, "main-app")


def test_every_line_is_in_the_text_format_and_numbers_can_be_read():
    metrics = Metrics()
    for value in (0.1, 1e20, float("inf"), float("-inf"), float("nan"), -3):
        metrics.gauge("flotilla_disk_free_bytes", value, given=value)
    metrics.observe("flotilla_http_request_seconds", 0.3, route="/")

    for line in text_of(metrics).splitlines():
        if not line.startswith("#"):
            assert LINE.match(line), line
            float(line.rpartition(" ")[2])


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("count", "flotilla_requests"),
        ("observe", "flotilla_http_ms"),
        ("gauge", "Flotilla_up"),
        ("gauge", "other_up"),
        ("gauge", "flotilla_up{evil}"),
    ],
)
def test_a_name_without_its_unit_or_from_elsewhere_is_refused(kind: str, name: str):
    with pytest.raises(ValueError, match=name):
        getattr(Metrics(), kind)(name, 1)


def test_one_name_is_one_kind():
    metrics = Metrics()
    metrics.count("flotilla_http_requests_total")

    with pytest.raises(ValueError, match="is a counter"):
        metrics.gauge("flotilla_http_requests_total", 1)


def test_too_many_label_values_are_dropped_and_counted():
    metrics = Metrics()
    for number in range(MAX_SERIES + 7):
        metrics.gauge("flotilla_up", 1, who=number)

    text = text_of(metrics)

    assert text.count("\nflotilla_up{") == MAX_SERIES
    assert f'{DROPPED}{{process="monitor",metric="flotilla_up"}} 7\n' in text


def test_torn_and_foreign_files_are_left_out_and_counted(tmp_path: Path):
    metrics = Metrics()
    metrics.observe("flotilla_http_request_seconds", 1)
    metrics.publish(tmp_path, "monitor")
    folder = tmp_path / "metrics"
    whole = (folder / "monitor.json").read_bytes()
    (folder / "torn.json").write_bytes(whole[: len(whole) // 2])
    (folder / "foreign.json").write_text('{"hello": 1}')
    (folder / "copied.json").write_bytes(whole)  # says that it is the monitor
    (folder / "binary.json").write_bytes(b"\xff\xfe\x00")
    (folder / "empty.json").write_bytes(b"")
    (folder / "older.json").write_bytes(whole.replace(b'"monitor"', b'"older"').replace(b"[0,", b"[", 1))
    (folder / ".data-cleaner.new").write_bytes(whole[:10])

    snapshots = read_all(tmp_path, time.time())

    assert [snapshot.process for snapshot in snapshots.found] == ["monitor"]
    assert snapshots.skipped == 6
    assert "flotilla_metric_snapshots_skipped 6\n" in exposition(snapshots)


def test_a_state_folder_without_metrics_gives_none(tmp_path: Path):
    assert read_all(tmp_path, time.time()) == Snapshots(())


def test_a_process_that_died_leaves_its_counts_but_says_nothing_of_now(tmp_path: Path):
    metrics = Metrics()
    metrics.gauge("flotilla_redis_up", 1)
    metrics.count("flotilla_jobs_total", job="purge", outcome="done")
    metrics.observe("flotilla_job_seconds", 1, job="purge")
    metrics.publish(tmp_path, "monitor")
    died_s = time.time() - CURRENT_S - 1
    os.utime(tmp_path / "metrics" / "monitor.json", (died_s, died_s))

    dead = exposition(read_all(tmp_path, time.time()))
    assert exposition(read_all(tmp_path, died_s - 3_600)) == dead, "from before a clock was set back"
    metrics.publish(tmp_path, "monitor")
    alive = exposition(read_all(tmp_path, time.time()))

    assert "flotilla_redis_up" not in dead
    assert 'flotilla_jobs_total{process="monitor",job="purge",outcome="done"} 1\n' in dead
    assert 'flotilla_job_seconds_count{process="monitor",job="purge"} 1\n' in dead
    assert 'flotilla_redis_up{process="monitor"} 1\n' in alive


def test_publishing_replaces_the_last_snapshot_whole(tmp_path: Path):
    metrics = Metrics()
    for value in range(3):
        metrics.gauge("flotilla_disk_free_bytes", value)
        metrics.publish(tmp_path, "monitor")

    (snapshot,) = read_all(tmp_path, time.time()).found

    assert snapshot == metrics.snapshot("monitor")
    assert [path.name for path in (tmp_path / "metrics").iterdir()] == ["monitor.json"]


def test_a_folder_that_cannot_be_written_does_not_stop_the_process(tmp_path: Path):
    (tmp_path / "metrics").write_text("a file where a folder should be")
    metrics = Metrics()
    metrics.gauge("flotilla_disk_free_bytes", 1)

    metrics.publish(tmp_path, "monitor")

    assert read_all(tmp_path, time.time()) == Snapshots(())


def test_no_count_is_lost_between_threads():
    metrics = Metrics()

    def work() -> None:
        for _ in range(2_000):
            metrics.count("flotilla_http_requests_total")
            metrics.observe("flotilla_http_request_seconds", 0.01)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    text = text_of(metrics)
    assert 'flotilla_http_requests_total{process="monitor"} 8000\n' in text
    assert 'flotilla_http_request_seconds_count{process="monitor"} 8000\n' in text
    assert tuple(sorted(BOUNDS_S)) == BOUNDS_S


def test_every_metric_that_the_code_counts_is_explained_and_no_other():
    code = [
        path.read_text(encoding="utf-8")
        for room in ("app", "api", "workers", "ops")
        for path in Path(room).rglob("*.py")
        if path != Path("app/host/metrics.py")
    ]
    counted = {name for text in code for name in re.findall(r'\.(?:count|gauge|observe)\(\s*"(flotilla_\w+)"', text)}
    named = {DROPPED, SKIPPED} | {name for text in code for name in re.findall(r'"(flotilla_\w+)"', text)}

    assert counted <= set(HELP), f"Explain {counted - set(HELP)} in HELP of app/host/metrics.py."
    assert set(HELP) <= named, f"Nobody counts {set(HELP) - named} of HELP in app/host/metrics.py."
