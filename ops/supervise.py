"""supervisord, made to outlive a full disk: `python -m ops.supervise -c supervisord.conf`, with supervisord's own words.

Of its own, supervisord answers a log line that it cannot write with a traceback on its standard error, which usually lies on
the same disk, and ends of that, and every process with it: on the night on which the fleet is to clean up. Here the line is
dropped.
"""

import contextlib
import sys
from pathlib import Path
from typing import Any

from supervisor import loggers, supervisord


class PatientLog(loggers.RotatingFileHandler):  # type: ignore[misc] # supervisor has no types
    """A log file that takes lines while there is room, and goes on by itself once there is again."""

    stream: Any

    def handleError(self) -> None:  # noqa: N802 - supervisor's name
        """Nobody can be told: what cannot be written here cannot be written to standard error either."""

    def doRollover(self) -> None:  # noqa: N802 - supervisor's name
        """Turn the file over when it is full; where that fails, the next line tries again."""
        with contextlib.suppress(OSError, ValueError):  # ValueError: an earlier try left it closed
            super().doRollover()
        if self.stream.closed:
            with contextlib.suppress(OSError):
                self.stream = Path(self.baseFilename).open("ab")  # noqa: SIM115 - the handler's for its life


def main(words: list[str] | None = None) -> Any:
    """Be supervisord."""
    loggers.RotatingFileHandler = PatientLog
    return supervisord.main(words)


if __name__ == "__main__":
    sys.exit(main())
