"""Requests of the benchmark: each is sent once, and answers are read whole."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bench.load import asking
from bench.load.asking import Answer


@asynccontextmanager
async def echoing(broken_in: int = 0, status: str = "200 OK") -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server that answers each request with its body, in pieces of so many bytes; its port and the bodies."""
    bodies: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readline():
            length = 0
            while head.strip():
                name, _, value = head.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
                head = await reader.readline()
            bodies.append(body := await reader.readexactly(length))
            answer = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nX-Kind: echo\r\n\r\n".encode() + body
            for start in range(0, len(answer), broken_in or len(answer)):
                writer.write(answer[start : start + (broken_in or len(answer))])
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], bodies


def asked(port: int, count: int) -> list[bytes]:
    return [asking.request(port, "POST", "/", body=f"number={number}") for number in range(count)]


def test_each_request_is_sent_once_and_answered_in_its_place() -> None:
    async def work() -> tuple[list[Answer], list[bytes]]:
        async with echoing(broken_in=7) as (port, bodies):
            return await asking.each_once(port, asked(port, 40), at_a_time=3), bodies

    answers, bodies = asking.run(work())
    assert [answer.body for answer in answers] == [b"number=%d" % number for number in range(40)]
    assert sorted(bodies) == sorted(answer.body for answer in answers)
    assert {answer.header("x-kind") for answer in answers} == {"echo"}
