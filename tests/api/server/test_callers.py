"""One address holds a part of the connections, and a part of the half-sent requests; others have the rest."""

import pytest

from api.http.request_context import Proxies
from api.server.callers import AT_ONCE
from tests.api.server.conftest import App
from tests.api.server.line import Line, Server, request

pytestmark = pytest.mark.anyio

ONE, OTHER, PROXY = "198.51.100.7", "198.51.100.8", "10.0.0.1"
HALF = request(b"/early")[:20]


@pytest.fixture
async def server(app: App) -> Server:
    """64 connections: 16 for each address, 4 of them with a half-sent request; 16 of these for all."""
    return Server(app, connections=64, share=0.25, trusts=Proxies(("10.0.0.0/8",)).trusts)


async def test_one_address_has_its_part_and_others_have_theirs(server: Server, app: App) -> None:
    lines = [Line(server, ONE) for _ in range(16)]
    refused = Line(server, ONE)
    await refused.send(request(b"/early"))
    assert (refused.statuses, refused.field("retry-after"), refused.wire.closed) == ([503], "1", True)
    assert refused.field("x-request-id") is not None
    other = Line(server, OTHER)
    await other.send(request(b"/early"))
    assert (other.statuses, app.begun) == ([200], ["/early"])
    # A refused one takes nothing with it when it goes, and one of the others makes room.
    await refused.goes()
    for expected in (503, 200):
        again = Line(server, ONE)
        await again.send(request(b"/early"))
        assert again.statuses == [expected]
        await lines.pop().goes()


async def test_all_addresses_of_an_ipv6_line_are_one(server: Server) -> None:
    for number in range(16):
        Line(server, f"2001:db8::{number:x}")
    near, far = Line(server, "2001:db8::ffff"), Line(server, "2001:db8:0:1::1")
    await near.send(request(b"/early"))
    await far.send(request(b"/early"))
    assert (near.statuses, far.statuses) == ([503], [200])


async def test_a_proxy_of_ours_holds_as_many_as_there_are(server: Server) -> None:
    lines = [Line(server, PROXY) for _ in range(64)]
    await lines[-1].send(request(b"/early"))
    assert lines[-1].statuses == [200]
    beyond = Line(server, PROXY)
    await beyond.send(request(b"/early"))
    assert beyond.statuses == [503]


async def test_who_holds_half_sent_requests_loses_the_oldest_of_them(server: Server) -> None:
    lines = [Line(server, ONE) for _ in range(6)]
    for line in lines[:4]:
        await line.send(HALF)
    await server.pass_time(AT_ONCE)
    assert not any(line.over for line in lines)
    await lines[4].send(HALF)
    assert (lines[0].statuses, lines[0].over) == ([408], True)
    assert not any(line.over for line in lines[1:])
    other = Line(server, OTHER)
    await other.send(HALF)
    assert not lines[1].over


async def test_many_that_are_on_their_way_at_the_same_time_are_no_harm(server: Server) -> None:
    lines = [Line(server, ONE) for _ in range(10)]
    for line in lines:
        await line.send(HALF)
    await server.pass_time(AT_ONCE / 2)
    for line in lines[:6]:
        await line.send(request(b"/early")[20:])
    assert [line.statuses for line in lines[:6]] == [[200]] * 6
    await server.pass_time(AT_ONCE)
    assert not any(line.over for line in lines)
    for line in lines[:6]:
        await line.send(HALF)
    # Not one of them was there a second ago, but those before were.
    assert [line.over for line in lines[6:]] == [True] * 4
    await server.pass_time(AT_ONCE)
    assert [line.statuses for line in lines[:6]] == [[200, 408]] * 2 + [[200]] * 4


async def test_many_addresses_together_have_a_part_as_well(server: Server) -> None:
    lines = [Line(server, f"203.0.113.{number}") for number in range(17)]
    for line in lines:
        await line.send(HALF)
    assert not any(line.over for line in lines)
    await server.pass_time(AT_ONCE)
    assert [line.statuses for line in lines] == [[408]] + [[]] * 16
