"""Requests that the server makes itself, to URLs that settings name: never into its own network unless it may.

What is checked is the address that is connected to, not the name: a name is resolved once, here, and the connection
goes to an address of that answer, the next one where one cannot be reached. Redirects are not followed.
"""

import asyncio
import socket
import ssl
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from itertools import chain, zip_longest
from typing import Any, NamedTuple

import httpcore
import httpx

TIMEOUT_S = 10.0
LARGEST_ANSWER = 1024 * 1024

ADDRESSES_TRIED, NEXT_AFTER_S = 4, 2.0
"""So many of a name's, each for so long before the next one is tried."""

_NAT64 = ip_network("64:ff9b::/96")


class NotAllowed(Exception):
    """The address is one that this server does not connect to."""


class NoAnswer(Exception):
    """There was no answer, or one too long; the message says why in few words and repeats nothing of it."""


class FetchedResponse(NamedTuple):
    """What came back; `body` is whole, or empty when nobody asked for it."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def is_public(address: str) -> bool:
    """Whether an address is one of the public internet's, whatever it is written or wrapped as."""
    found = ip_address(address.partition("%")[0])
    if isinstance(found, IPv6Address):
        return found.is_global and not found.is_multicast and all(_public_v4(inner) for inner in _inside(found))
    return _public_v4(found)


def _public_v4(address: IPv4Address) -> bool:
    return address.is_global and not address.is_multicast


def _inside(address: IPv6Address) -> Iterable[IPv4Address]:
    """The IPv4 addresses that packets to an IPv6 address may be sent on to (RFC 4291 §2.5.5.2, 3056, 4380, 6052)."""
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    if address in _NAT64:
        yield IPv4Address(int(address) & 0xFFFFFFFF)


def _both_families(addresses: Iterable[str]) -> list[str]:
    """The addresses in their order, those of IPv6 and of IPv4 in turn (RFC 8305 §4), each once: often the whole of one
    family cannot be reached from here."""
    found = list(dict.fromkeys(addresses))
    first = [each for each in found if (":" in each) == (":" in found[0])]
    others = [each for each in found if (":" in each) != (":" in found[0])]
    return [each for each in chain.from_iterable(zip_longest(first, others)) if each is not None]


class PublicOnly(httpcore.AsyncNetworkBackend):
    """Opens connections to public addresses alone, or to any when told so."""

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Resolves the name and connects to the first address of the answer that takes the connection; one that is not
        public spoils it all."""
        addresses = await self._resolve(host, port)
        if not self._allow_private and not all(is_public(each) for each in addresses):
            raise NotAllowed
        *before, last = _both_families(addresses)[:ADDRESSES_TRIED]
        named: dict[str, Any] = {"local_address": local_address, "socket_options": socket_options}
        for address in before:
            with suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                return await self._inner.connect_tcp(address, port, timeout=NEXT_AFTER_S, **named)
        return await self._inner.connect_tcp(last, port, timeout=timeout, **named)

    async def _resolve(self, host: str, port: int) -> list[str]:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError("the name is unknown") from error
        return [str(each[4][0]) for each in found]


class OutgoingRequests:
    """Sends requests, each on a connection of its own."""

    def __init__(self, *, allow_private: bool, timeout: float = TIMEOUT_S, tls: ssl.SSLContext | None = None) -> None:
        self._backend = PublicOnly(allow_private=allow_private)
        self._timeout = timeout
        self._tls = tls

    @cached_property
    def tls(self) -> ssl.SSLContext:
        """Whom it trusts: the file or directory of `SSL_CERT_FILE` and `SSL_CERT_DIR`, as other programs here do, else
        the public authorities. To read them takes so long that nothing waits for it before the first request."""
        return self._tls or httpx.create_ssl_context()

    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        content: bytes = b"",
        largest: int | None = LARGEST_ANSWER,
    ) -> FetchedResponse:
        """Sends it and reads the answer in time, without a body if `largest` is None. Raises NotAllowed and
        NoAnswer."""
        try:
            async with asyncio.timeout(self._timeout):
                return await self._send(method, url, headers, content, largest)
        except TimeoutError:
            raise NoAnswer("no answer in time") from None
        except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, ssl.SSLError) as error:
            raise NoAnswer(type(error).__name__) from None
        except (httpcore.UnsupportedProtocol, httpx.InvalidURL, OSError) as error:
            raise NoAnswer(type(error).__name__) from None

    async def _send(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes, largest: int | None
    ) -> FetchedResponse:
        parsed = httpx.URL(url)
        target = httpcore.URL(
            scheme=parsed.raw_scheme, host=parsed.raw_host, port=parsed.port, target=parsed.raw_path or b"/"
        )
        given = {"Host": parsed.netloc.decode("ascii"), "Content-Length": str(len(content)), **headers}
        async with (
            httpcore.AsyncConnectionPool(ssl_context=self.tls, network_backend=self._backend, retries=0) as pool,
            pool.stream(method, target, headers=list(given.items()), content=content) as answer,
        ):
            body = bytearray()
            if largest is not None:
                async for chunk in answer.aiter_stream():
                    body += chunk
                    if len(body) > largest:
                        raise NoAnswer("the answer is too long")
            found = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in answer.headers}
            return FetchedResponse(answer.status, found, bytes(body))
