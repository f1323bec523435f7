"""One process of the fleet alone at a terminal, with the same settings: `make worker NAME=monitor`, to debug it."""

import configparser
import os
import shlex
import sys

from app.settings import ROOT


def main() -> None:
    """Replace this process by the one that was named, as supervisord.conf starts it."""
    parser = configparser.RawConfigParser(inline_comment_prefixes=(" ;",))
    parser.read(ROOT / "supervisord.conf", encoding="utf-8")
    commands = {
        section.partition(":")[2]: parser[section]["command"]
        for section in parser.sections()
        if section.startswith("program:")
    }
    name = sys.argv[1] if len(sys.argv) == 2 else ""
    if name not in commands:
        sys.exit(f"There is no process {name!r} to run alone. Known: {', '.join(commands)}.")
    words = shlex.split(commands[name].replace("%(ENV_FLOTILLA_PYTHON)s", sys.executable))
    os.chdir(ROOT)
    os.execv(words[0], words)  # noqa: S606 - the command of our own supervisord.conf


if __name__ == "__main__":
    main()
