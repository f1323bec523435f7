"""One process of the fleet alone at a terminal, with the same settings: `make worker NAME=monitor`, to debug it."""

import os
import shlex
import sys

from app.host.fleet_file import read_commands
from app.settings import ROOT


def main() -> None:
    """Replace this process by the one that was named, as supervisord.conf starts it."""
    commands = read_commands(ROOT / "supervisord.conf")
    name = sys.argv[1] if len(sys.argv) == 2 else ""
    if name not in commands:
        sys.exit(f"There is no process {name!r} to run alone. Known: {', '.join(commands)}.")
    words = [word.replace("%(ENV_FLOTILLA_PYTHON)s", sys.executable) for word in shlex.split(commands[name])]
    os.chdir(ROOT)
    os.execv(words[0], words)  # noqa: S606 - the command of our own supervisord.conf


if __name__ == "__main__":
    main()
