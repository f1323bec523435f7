"""Telling systemd how we are, where it started us: over the socket that it names, as its own library does."""

import os
import socket
from contextlib import suppress


def listens() -> bool:
    """Whether systemd started us and wants to hear."""
    return bool(os.environ.get("NOTIFY_SOCKET"))


def tell(state: str) -> bool:
    """Send ``READY=1``, ``WATCHDOG=1`` or ``STOPPING=1``. False where nobody listens; that is no trouble."""
    name = os.environ.get("NOTIFY_SOCKET", "")
    if not name:
        return False
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
        door.connect("\0" + name[1:] if name.startswith("@") else name)
        door.send(state.encode())
        return True
    return False
