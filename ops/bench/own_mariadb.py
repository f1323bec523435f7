"""A MariaDB server of our own, to be hurt: in a folder, on a socket file there, gone with it."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from sqlalchemy import URL, create_engine, text
from sqlalchemy.exc import OperationalError

_START_S = 60.0
_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))


class OwnMariaDb:
    """Makes its data when it is made. It loses nothing that was committed, whatever it is ended by."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._socket = folder, folder / "socket"
        self._server: subprocess.Popen[bytes] | None = None
        user = ["--user=root"] if os.geteuid() == 0 else []
        self._common = ["--no-defaults", f"--datadir={folder / 'data'}", *user, "--innodb-buffer-pool-size=32M"]
        self._common += [
            f"--tmpdir={folder}"
        ]  # one that starts removes the temporary tables of others in the same place
        made = ["--auth-root-authentication-method=normal", "--skip-test-db"]
        subprocess.run([_found("mariadb-install-db"), *self._common, *made], check=True, capture_output=True)
        self.start()
        with create_engine(self._address(None), isolation_level="AUTOCOMMIT").connect() as db:
            db.execute(text("CREATE DATABASE flotilla CHARACTER SET utf8mb4"))

    @staticmethod
    def installed() -> bool:
        """Whether this machine has the programs."""
        return all(shutil.which(name, path=_PATH) for name in ("mariadbd", "mariadb-install-db"))

    @property
    def url(self) -> str:
        """The address of its one database, as the settings want it."""
        return self._address("flotilla").render_as_string(hide_password=False)

    def start(self) -> None:
        """Start it and wait until it answers."""
        with (self._folder / "log").open("ab") as log:
            command = [_found("mariadbd"), *self._common, "--skip-networking", f"--socket={self._socket}"]
            self._server = subprocess.Popen(command, stdout=log, stderr=log)
        until_s = time.monotonic() + _START_S
        while not answers(self._address(None)):
            if self._server.poll() is not None or time.monotonic() > until_s:
                raise RuntimeError((self._folder / "log").read_text(errors="replace")[-2_000:])
            time.sleep(0.1)

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it, and wait until it is gone."""
        if self._server is not None:
            self._server.send_signal(how)
            self._server.wait()

    def _address(self, database: str | None) -> URL:
        query = {"unix_socket": str(self._socket)}
        return URL.create("mysql+pymysql", username="root", host="localhost", database=database, query=query)


def answers(url: URL) -> bool:
    """Whether a database server takes connections there."""
    engine = create_engine(url)
    try:
        with engine.connect():
            return True
    except OperationalError:
        return False
    finally:
        engine.dispose()


def _found(name: str) -> str:
    return shutil.which(name, path=_PATH) or name
