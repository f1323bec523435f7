"""The probes look at real processes, which use memory, have children and end."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from app.host import probes

HOLDS_50_MB = "held = bytearray(50 * 1024 * 1024); print('ready', flush=True); input()"
PARENT_OF = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"


@contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [sys.executable, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        try:
            yield process
        finally:
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
            process.kill()


def test_memory_that_a_process_holds_is_seen():
    with running("-c", HOLDS_50_MB) as process:
        held = probes.memory_mb(process.pid)

    assert held is not None
    assert 50 < held < 90


def test_the_memory_of_children_counts_for_their_parent():
    with running("-c", PARENT_OF, HOLDS_50_MB) as process:
        held = probes.memory_mb(process.pid)

    assert held is not None
    assert 50 < held < 110


def test_shared_pages_are_not_counted_twice():
    forked = (
        "import os; held = bytearray(b'x') * (60 << 20); pid = os.fork(); pid and print('ready', flush=True); input()"
    )
    with running("-c", forked) as process:
        held = probes.memory_mb(process.pid)

    assert held is not None
    assert 60 < held < 90


def test_a_process_that_has_ended_has_no_memory():
    with running("-c", HOLDS_50_MB) as process:
        pid = process.pid

    assert probes.memory_mb(pid) is None
    assert probes.footprint(pid) is None


def test_a_process_that_is_dead_but_not_yet_collected_has_no_memory():
    process = subprocess.Popen([sys.executable, "-c", ""])
    while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    seen = probes.memory_mb(process.pid)
    process.wait()

    assert seen is None


def test_children_that_end_while_they_are_measured_are_no_error():
    spawner = (
        "import subprocess, sys\nprint('ready', flush=True)\n"
        "while True: subprocess.run([sys.executable, '-S', '-c', ''])"
    )
    with running("-c", spawner) as process:
        seen = [probes.memory_mb(process.pid) for _ in range(200)]

    assert all(held is not None and held > 0 for held in seen)


def test_handles_and_threads_of_a_process_are_counted():
    threaded = (
        "import threading, time; files = [open('/dev/null') for _ in range(20)]\n"
        "for _ in range(3): threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
        "print('ready', flush=True); input()"
    )
    with running("-c", threaded) as process:
        found = probes.footprint(process.pid)

    assert found is not None
    assert found.threads == 4
    assert found.handles >= 23


def test_the_machine_is_sampled_without_waiting(tmp_path: Path):
    probe = probes.HostProbe(tmp_path)
    deadline = time.monotonic() + 30
    busy = None
    while time.monotonic() < deadline and not busy:
        sum(range(1_000_000))  # keeps one core at work, so that there is something to see
        busy = probe.sample().cpu_percent
    sample = probe.sample()

    assert busy is not None
    assert 0 < busy <= 100
    assert 0 < sample.memory_used_mb < sample.memory_total_mb
    assert 0 < sample.memory_percent < 100
    assert 0 < sample.disk_percent <= 100
    assert sample.disk_free_mb > 0
    assert sample.load_1m >= 0


def test_a_second_look_at_once_says_unknown_rather_than_idle(tmp_path: Path):
    probe = probes.HostProbe(tmp_path)
    looks = [probe.sample().cpu_percent for _ in range(50)]

    assert None in looks


def test_the_boot_clock_only_goes_forward():
    looks = [probes.boot_s() for _ in range(100)]

    assert looks == sorted(looks)
    assert looks[0] > 0


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="needs root, to become somebody else")
def test_the_memory_of_somebody_elses_process_is_its_resident_size():
    look_as_nobody = (
        "import os, sys; from app.host import probes; os.setuid(65534); print(probes.memory_mb(int(sys.argv[1])))"
    )
    with running("-c", HOLDS_50_MB) as process:
        measured = subprocess.run(
            [sys.executable, "-c", look_as_nobody, str(process.pid)],
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    assert float(measured) > 50
