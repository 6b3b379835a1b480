"""The server's own requests never end up in its own network, whatever a name resolves to and however it is written."""

import socket
import ssl
from typing import Any

import httpcore
import pytest

from api.http import outgoing_requests
from api.http.outgoing_requests import TIMEOUT_S, NoAnswer, NotAllowed, OutgoingRequests, is_public
from tests.api.notifications.receiver import Receiver

pytestmark = pytest.mark.anyio

PRIVATE = (
    *("127.0.0.1", "127.8.9.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254"),  # noqa: S104 - listens nowhere
    *("100.64.0.1", "224.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1"),
    *("::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "ff02::1", "2001:db8::1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:7f00:1::", "2002:a00:1::1"),
)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """Python's own event loop, which asks `socket` for the addresses of a name."""
    return "asyncio"


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_that_are_nobodys_in_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["93.184.215.14", "8.8.8.8", "2606:2800:21f::1", "64:ff9b::808:808"])
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@pytest.fixture
def resolves_to(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lets every name resolve to these addresses; it counts how often one was asked for."""
    asked: list[str] = []

    def to(*addresses: str) -> list[str]:
        def getaddrinfo(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
            asked.append(host)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in addresses]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        return asked

    return to


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]"]
)
async def test_loopback_in_any_spelling_is_not_called(receiver: Receiver, host: str) -> None:
    url = f"http://{host}:{receiver.url.rpartition(':')[2]}"
    with pytest.raises(NotAllowed):
        await OutgoingRequests(allow_private=False).send("POST", url, headers={})
    assert receiver.requests == []


async def test_a_name_with_one_private_address_is_not_called(receiver: Receiver, resolves_to: Any) -> None:
    resolves_to("8.8.8.8", "127.0.0.1")
    with pytest.raises(NotAllowed):
        await OutgoingRequests(allow_private=False).send(
            "POST", receiver.url.replace("127.0.0.1", "hooks.example"), headers={}
        )


async def test_name_is_resolved_once_and_connected_to_that_address(receiver: Receiver, resolves_to: Any) -> None:
    asked = resolves_to("127.0.0.1")
    url = receiver.url.replace("127.0.0.1", "hooks.example")
    answer = await OutgoingRequests(allow_private=True).send("POST", url, headers={}, content=b"x")
    assert answer.status == 401
    # Whatever asks again gets an address, not the name.
    assert asked.count("hooks.example") == 1
    assert receiver.requests[0][1]["Host"] == url.split("/")[2]


async def test_the_next_address_of_a_name_is_tried(receiver: Receiver, resolves_to: Any) -> None:
    """A server without IPv6 is told of such addresses too, and one of several may be away."""
    resolves_to("::1", "127.0.0.9", "127.0.0.1")
    url = receiver.url.replace("127.0.0.1", "hooks.example")
    answer = await OutgoingRequests(allow_private=True).send("POST", url, headers={}, content=b"x")
    assert (answer.status, len(receiver.requests)) == (401, 1)


async def test_an_address_that_is_silent_does_not_take_all_the_time(
    receiver: Receiver, resolves_to: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolves_to("127.0.0.9", "127.0.0.1")
    connect, tried = httpcore.AnyIOBackend.connect_tcp, list[str]()

    async def silent(self: Any, host: str, port: int, timeout: float | None = None, **named: Any) -> Any:
        tried.append(host)
        if host != "127.0.0.9":
            return await connect(self, host, port, timeout=timeout, **named)
        assert timeout is not None
        assert timeout < TIMEOUT_S / 2
        raise httpcore.ConnectTimeout

    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", silent)
    url = receiver.url.replace("127.0.0.1", "hooks.example")
    assert (await OutgoingRequests(allow_private=True).send("POST", url, headers={})).status == 401
    assert tried == ["127.0.0.9", "127.0.0.1"]


async def test_the_addresses_of_a_name_are_not_tried_without_end(
    receiver: Receiver, resolves_to: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolves_to(*(f"2001:db8::{n}" for n in range(9)), *(f"127.0.0.{n}" for n in range(2, 9)))
    tried: list[str] = []

    async def away(self: Any, host: str, port: int, **named: Any) -> Any:
        tried.append(host)
        raise httpcore.ConnectError

    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", away)
    with pytest.raises(NoAnswer):
        await OutgoingRequests(allow_private=True).send("POST", "http://hooks.example/", headers={})
    assert tried == ["2001:db8::0", "127.0.0.2", "2001:db8::1", "127.0.0.3"]


async def test_an_answer_of_thousands_of_addresses_holds_nobody_up(resolves_to: Any) -> None:
    """Each is looked at, since one that is not public spoils it all, and compared with no other."""
    compared = [0]

    class Address(str):
        __slots__ = ()
        __hash__ = str.__hash__

        def __eq__(self, other: object) -> bool:
            compared[0] += 1
            return str.__eq__(self, other)

    resolves_to(*(f"93.184.{n // 250}.{n % 250}" for n in range(4_000)), "127.0.0.1")
    with pytest.raises(NotAllowed):
        await OutgoingRequests(allow_private=False).send("POST", "http://hooks.example/", headers={})
    compared[0] = 0
    both = outgoing_requests._both_families([Address(f"93.184.{n // 250}.{n % 250}") for n in range(4_000)])
    assert len(both) == 4_000
    assert compared[0] < 4_000


async def test_who_does_not_answer_or_answers_too_much_is_given_up(receiver: Receiver) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        with pytest.raises(NoAnswer):
            await OutgoingRequests(allow_private=True, timeout=0.05).send("POST", url, headers={})


async def test_a_server_without_a_valid_certificate_is_told_nothing(receiver: Receiver) -> None:
    with pytest.raises(NoAnswer):
        await OutgoingRequests(allow_private=True).send(
            "POST", receiver.url.replace("http:", "https:"), headers={}, content=b"news"
        )
    assert receiver.requests == []


async def test_an_unknown_name_is_no_answer() -> None:
    with pytest.raises(NoAnswer):
        await OutgoingRequests(allow_private=True).send("GET", "https://nobody.invalid/", headers={})


def test_certificates_are_verified() -> None:
    outgoing = OutgoingRequests(allow_private=False)
    assert outgoing.tls.verify_mode is ssl.CERT_REQUIRED
    assert outgoing.tls.check_hostname
