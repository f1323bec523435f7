"""`make bench`: every benchmark, one after the other."""

import subprocess
import sys
from pathlib import Path


def main() -> int:
    """Run them all; 1 when one of them missed a goal."""
    missed = 0
    for path in sorted(Path(__file__).parent.glob("bench_*.py")):
        print(f"== {path.stem}", flush=True)
        missed |= subprocess.call([sys.executable, "-m", f"ops.bench.{path.stem}", *sys.argv[1:]])
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
