"""WebSocket frames of a server, made once and sent to many. RFC 6455, section 5: no mask, no extension, no fragments."""

import zlib

_TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x81, 0x82, 0x88, 0x89, 0x8A
_GZIP = 31  # zlib's number for a gzip header around the data


def text(payload: bytes) -> bytes:
    """A text message."""
    return _frame(_TEXT, payload)


def binary(payload: bytes) -> bytes:
    """A binary message."""
    return _frame(_BINARY, payload)


def gzipped(payload: bytes) -> bytes:
    """A binary message that holds gzip, as HTX sends all."""
    packer = zlib.compressobj(1, zlib.DEFLATED, _GZIP)
    return _frame(_BINARY, packer.compress(payload) + packer.flush())


def ping(payload: bytes = b"") -> bytes:
    """A ping of the protocol."""
    return _frame(_PING, payload)


def pong(payload: bytes) -> bytes:
    """The answer to one."""
    return _frame(_PONG, payload)


def close(code: int, reason: str = "") -> bytes:
    """A close."""
    return _frame(_CLOSE, code.to_bytes(2, "big") + reason.encode())


def _frame(first: int, payload: bytes) -> bytes:
    length = len(payload)
    if length < 126:
        return bytes((first, length)) + payload
    if length < 65_536:
        return bytes((first, 126)) + length.to_bytes(2, "big") + payload
    return bytes((first, 127)) + length.to_bytes(8, "big") + payload
