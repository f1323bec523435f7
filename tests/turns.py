"""Whose turn it is among parallel test runners: tests that hold real processes to their times want the machine to themselves.

What only waits for processes of its own, and may be slow, runs ``beside`` everything and takes no turn: all would wait with it.
"""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def turn(*, alone: bool = False, beside: bool = False) -> Iterator[None]:
    """While one runner is ``alone`` in here, no other one is. Without parallel runners there is nothing to wait for."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    if run is None or beside:
        yield
        return
    folder = Path(tempfile.gettempdir())
    with (folder / f"fl-{run}.door").open("w") as door, (folder / f"fl-{run}.room").open("w") as room:
        # Who wants to be alone waits in the door, so that the others, who come one after another, cannot keep it out for ever.
        fcntl.flock(door, fcntl.LOCK_EX)
        fcntl.flock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        if not alone:
            fcntl.flock(door, fcntl.LOCK_UN)
        try:
            yield
        finally:  # closing would not do: a process that a test forked holds the files, too
            fcntl.flock(room, fcntl.LOCK_UN)
            fcntl.flock(door, fcntl.LOCK_UN)
