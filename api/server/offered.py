"""The body of a request that offers another protocol beside it (RFC 9110 §7.8), such as h2c: nobody has to take it up.

The parser hands the connection over to that protocol behind the head, with or without a body. A second one, which is
told nothing but how long the body is, reads on from there.
"""

from collections.abc import Iterable
from typing import Protocol

import httptools

FRAMING = (b"content-length", b"transfer-encoding")


class Receiver(Protocol):
    """What takes the body."""

    def on_body(self, body: bytes) -> None: ...

    def on_message_complete(self) -> None: ...


class _Behind:
    """The parser's callbacks behind the head: no other one is to be had."""

    def __init__(self, receiver: Receiver) -> None:
        self.on_body = receiver.on_body
        self.on_message_complete = receiver.on_message_complete


def has_body(fields: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether something follows a head with these fields, names in lower case."""
    return any(name in FRAMING and value.strip(b"0") != b"" for name, value in fields)


def behind(fields: Iterable[tuple[bytes, bytes]], receiver: Receiver) -> httptools.HttpRequestParser:
    """A parser of what follows such a head, up to the end of its body; what comes then is an error."""
    parser = httptools.HttpRequestParser(_Behind(receiver))
    framing = b"".join(b"%b: %b\r\n" % field for field in fields if field[0] in FRAMING)
    parser.feed_data(b"POST / HTTP/1.1\r\nConnection: close\r\n" + framing + b"\r\n")
    return parser
