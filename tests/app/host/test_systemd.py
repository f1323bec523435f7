"""What systemd is told over its socket."""

import socket
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from app.host import systemd


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The socket of a systemd that listens."""
    with (
        TemporaryDirectory(prefix="fl-", dir="/tmp") as folder,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door,
    ):
        place = str(Path(folder) / "notify")
        door.bind(place)
        door.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", place)
        yield door


def test_what_is_told_arrives(heard: socket.socket):
    assert systemd.listens()
    assert systemd.tell("READY=1")

    assert heard.recv(100) == b"READY=1"


def test_without_systemd_nothing_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)

    assert not systemd.listens()
    assert not systemd.tell("READY=1")


def test_a_socket_that_is_gone_is_no_trouble(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere/notify")

    assert not systemd.tell("WATCHDOG=1")
