"""A process that falls ill on purpose: python patient.py NAME ILLNESS RUN_DIR."""

import signal
import sys
import time
from pathlib import Path

from app.host import lifecycle

name, illness, run_dir = sys.argv[1], sys.argv[2], Path(sys.argv[3])
life = lifecycle.begin(name, run_dir)
if illness == "ignores-term":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)

started_s, held, units = time.monotonic(), [], 0
while not life.draining.is_set():
    time.sleep(0.2)
    units += 1
    life.beat(f"unit {units}")
    ill_for_s = time.monotonic() - started_s
    if illness in {"leaks", "ignores-term"} and len(held) < 30:
        held.append(bytearray(b"x" * 5_000_000))
    if illness == "blocks" and ill_for_s > 2:
        time.sleep(10_000)
    if illness.startswith("dies-after-") and ill_for_s > float(illness.removeprefix("dies-after-")):
        sys.exit(1)
    if illness.startswith("leaves-after-") and ill_for_s > float(illness.removeprefix("leaves-after-")):
        sys.exit(0)
(run_dir / f"{name}.checkpoint").write_text(f"{units} units", encoding="utf-8")
