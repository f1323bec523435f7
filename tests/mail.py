"""A server that plays a mail server, on a real socket, with TLS where a test asks for it."""

import base64
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class PlayedMail:
    """What it was told, and which commands it answers differently: ``{"RCPT": "550 no such user"}``, or ``"hang up"``."""

    port: int = 0
    answers: dict[str, str] = field(default_factory=dict)
    offers: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)


def certificate(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's TLS for localhost, and a client's that trusts it."""
    key, cert = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost "
        f"-addext subjectAltName=DNS:localhost -keyout {key} -out {cert}",
        shell=True,
        check=True,
        capture_output=True,
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(cert, key)
    return server, ssl.create_default_context(cafile=str(cert))


class Talk(socketserver.StreamRequestHandler):
    """One connection: each command has a method."""

    timeout = 30
    server: "_Server"

    def handle(self) -> None:
        self.encrypted = False
        try:
            if self.server.at_once:
                self.encrypt()
            self.say("220 played")
            while (line := self.rfile.readline().decode().strip()) and self.answer(line.split()[0].upper(), line):
                pass
        except (OSError, ssl.SSLError):
            return
        finally:
            self.rfile.close()
            self.wfile.close()
            self.connection.close()

    def finish(self) -> None:
        """Everything is closed by then."""

    def say(self, line: str) -> None:
        self.wfile.write(line.encode() + b"\r\n")

    def encrypt(self) -> None:
        assert self.server.tls is not None
        self.connection = self.server.tls.wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", buffering=0)
        self.encrypted = True

    def answer(self, word: str, line: str) -> bool:
        """Answer a command; False hangs up."""
        played = self.server.played
        played.said.append(word)
        answer = played.answers.get(word)
        if answer == "hang up":
            return False
        if answer is not None:
            self.say(answer)
        else:
            getattr(self, f"on_{word.lower()}", self.on_other)(line)
        return word != "QUIT"

    def on_ehlo(self, _line: str) -> None:
        may_encrypt = self.server.tls and not self.encrypted
        self.say("250-played")
        for offer in [*self.server.played.offers, *(["STARTTLS"] if may_encrypt else [])]:
            self.say(f"250-{offer}")
        self.say("250 HELP")

    def on_starttls(self, _line: str) -> None:
        self.say("220 go on")
        self.encrypt()

    def on_auth(self, line: str) -> None:
        self.server.played.logins.append(base64.b64decode(line.split()[2]).decode())
        self.say("235 welcome")

    def on_data(self, _line: str) -> None:
        self.say("354 go on")
        lines = []
        while (line := self.rfile.readline().decode()) not in (".\r\n", ""):
            lines.append(line.replace("\r\n", "\n").removeprefix("." if line.startswith("..") else ""))
        if answer := self.server.played.answers.get("END"):
            self.say(answer)
            return
        self.server.played.taken.append("".join(lines))
        self.server.played.encrypted.append(self.encrypted)
        self.say("250 taken")

    def on_quit(self, _line: str) -> None:
        self.say("221 bye")

    def on_other(self, _line: str) -> None:
        self.say("250 ok")


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, tls: ssl.SSLContext | None, *, at_once: bool) -> None:
        super().__init__(("127.0.0.1", 0), Talk)
        self.tls, self.at_once = tls, at_once
        self.played = PlayedMail(self.server_address[1])


@contextmanager
def played_mail(tls: ssl.SSLContext | None = None, *, at_once: bool = False) -> Iterator[PlayedMail]:
    """Run the server for the time of a test; with ``at_once`` its connections begin with TLS."""
    with _Server(tls, at_once=at_once) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server.played
        finally:
            server.shutdown()
            thread.join()
