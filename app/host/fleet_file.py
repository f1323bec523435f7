"""Reading supervisord.conf: the one list of processes, with each one's ceiling and promises beside its command."""

import configparser
import re
from pathlib import Path

from app.domain.fleet import ProcessSpec
from app.errors import Misconfigured

_WORDS = {"WHEN_EXHAUSTED": ("run", "stop"), "ROLE": ("core", "work")}


def read_fleet(path: Path) -> tuple[ProcessSpec, ...]:
    """All processes in the order of the file. Raises Misconfigured where one lacks a promise."""
    return tuple(_spec(name, block) for name, block in _blocks(path, ("program", "eventlistener")))


def read_commands(path: Path) -> dict[str, str]:
    """The command of each process that can also run without supervisord."""
    return {name: block["command"] for name, block in _blocks(path, ("program",))}


def _blocks(path: Path, kinds: tuple[str, ...]) -> list[tuple[str, configparser.SectionProxy]]:
    parser = configparser.RawConfigParser(inline_comment_prefixes=(" ;", "\t;"), strict=True)
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
    except (OSError, configparser.Error) as error:
        raise Misconfigured(f"{path} cannot be read: {error}") from error
    named = [(*section.partition(":")[::2], parser[section]) for section in parser.sections()]
    return [(name, block) for kind, name, block in named if kind in kinds]


def _spec(name: str, block: configparser.SectionProxy) -> ProcessSpec:
    words = dict(re.findall(r'(\w+)="([^"]*)"', block.get("environment", "")))
    for word, allowed in _WORDS.items():
        if words.get(word) not in allowed:
            raise Misconfigured(f"{name} in supervisord.conf needs {word} to be one of: {', '.join(allowed)}.")
    try:
        return ProcessSpec(
            name=name,
            ceiling_mb=int(words["MEMORY_LIMIT_MB"]),
            heartbeat_s=float(words["HEARTBEAT_S"]),
            grace_s=float(block["stopwaitsecs"]),
            when_exhausted="stop" if words["WHEN_EXHAUSTED"] == "stop" else "run",
            role="work" if words["ROLE"] == "work" else "core",
        )
    except (KeyError, ValueError) as error:
        raise Misconfigured(
            f"{name} in supervisord.conf lacks a number: {error}.",
            cure='Give it stopwaitsecs=... and environment=MEMORY_LIMIT_MB="...",HEARTBEAT_S="...".',
        ) from error
