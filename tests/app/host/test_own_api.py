"""Asking our own API: away, foreign, refusing or slow are all one error with what was said."""

import socket
import threading

import pytest

from app.errors import Unavailable
from app.host.own_api import OwnApi


def answered(answer: bytes) -> str:
    """Ask a server that says just this; what became of the question."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        asked = []

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                asked.append(connection.recv(1000))
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            return str(OwnApi(f"http://127.0.0.1:{server.getsockname()[1]}").ask("GET", "/x"))
        except Unavailable as error:
            return f"{error} {error.cure}"
        finally:
            thread.join()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b'HTTP/1.0 200 OK\r\n\r\n{"success": true, "data": {"a": 1}}', "{'a': 1}"),
        (b'HTTP/1.0 409 Conflict\r\n\r\n{"success": false, "error": {"message": "It rests."}}', "refuses: It rests."),
        (b"HTTP/1.0 200 OK\r\n\r\n[]", "refuses: without a reason"),
        (b"HTTP/1.0 200 OK\r\n\r\n" + b"[" * 100_000, "is not the API"),
        (b"HTTP/1.0 200 OK\r\n\r\n\xff\xfe", "is not the API"),
        (b"nonsense\r\n", "does not answer"),
        (b"", "does not answer"),
    ],
)
def test_every_answer_is_data_or_a_sentence(answer: bytes, said: str):
    assert said in answered(answer)


def test_nobody_there_is_a_sentence_with_what_to_do():
    with pytest.raises(Unavailable) as away:
        OwnApi("http://127.0.0.1:1").ask("GET", "/x")
    assert "flotilla logs main-app" in away.value.cure
