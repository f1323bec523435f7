"""The clock of the chaos bench: the time of day jumps for the processes of one fleet, and for nobody else."""

import os
import subprocess
import sys
import time
from pathlib import Path

from app.settings import ROOT
from ops.bench import jumping_clock

TELL = """
import os, sys, time
from datetime import UTC, datetime
steady = time.monotonic()
os.utime(sys.argv[1])
print(datetime.now(UTC).timestamp(), time.time(), time.time_ns() / 1e9, os.stat(sys.argv[1]).st_mtime, steady)
"""


def test_every_clock_but_the_steady_one_jumps(tmp_path: Path):
    touched = tmp_path / "touched"
    touched.touch()
    env = os.environ | jumping_clock.sitecustomize(tmp_path)
    jumping_clock.jump(tmp_path / "seconds", 3_600)

    said = subprocess.run(
        [sys.executable, "-c", TELL, str(touched)], env=env, cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    *clocks, steady = (float(word) for word in said)

    assert all(3_500 < clock - time.time() < 3_600.5 for clock in clocks)
    assert abs(steady - time.monotonic()) < 60
