"""Where a request came from: only what a trusted hop wrote is believed (RFC 7239 §8.1)."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from api.http.request_context import Header, Proxies, RequestContext
from security.clock import ManualClock


def origin(peer: str, *headers: tuple[str, str], header: Header = "x-forwarded-for") -> str | None:
    fields = [(name.encode(), value.encode()) for name, value in headers]
    return Proxies(("10.0.0.0/8", "fd00::/8"), header).arrive({"client": (peer, 1), "headers": fields}, "id").address


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([("x-forwarded-for", "6.6.6.6, 9.9.9.9")], "9.9.9.9"),
        ([("x-forwarded-for", "9.9.9.9, 10.2.2.2")], "9.9.9.9"),
        ([("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "9.9.9.9:1234")], "9.9.9.9"),
        ([("x-forwarded-for", "::ffff:9.9.9.9")], "9.9.9.9"),
        ([("x-forwarded-for", "[2001:DB8::1]:443")], "2001:db8::1"),
        ([("x-forwarded-for", "9.9.9.9, nonsense")], "10.0.0.1"),
        ([("x-forwarded-for", "10.3.3.3")], "10.3.3.3"),
        ([("x-forwarded-for", "9.9.9.9"), ("forwarded", "for=6.6.6.6")], "9.9.9.9"),
        ([("forwarded", "for=6.6.6.6")], "10.0.0.1"),
        ([], "10.0.0.1"),
    ],
)
def test_the_nearest_hop_that_is_not_ours_is_the_client(headers, expected):
    assert origin("10.0.0.1", *headers) == expected
    assert origin("8.8.8.8", *headers) == "8.8.8.8"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([("forwarded", "for=6.6.6.6, for=9.9.9.9;proto=https")], "9.9.9.9"),
        ([("forwarded", 'for="[2001:db8::1]:4711";by=10.0.0.1')], "2001:db8::1"),
        ([("forwarded", "for=unknown")], "10.0.0.1"),
        ([("forwarded", 'for=6.6.6.6, for="x, for="[2001:db8::2]"')], "2001:db8::2"),
        ([("forwarded", 'for="x, for=9.9.9.9;by="_proxy"')], "9.9.9.9"),
        ([("forwarded", 'for="x'), ("forwarded", 'for="[2001:db8::2]:80";proto="https"')], "2001:db8::2"),
        ([("forwarded", 'for="x\\'), ("forwarded", 'for="9.9.9.9"')], "9.9.9.9"),
        # What a client invents in the header that the proxy passes on hides nothing.
        ([("forwarded", "for=9.9.9.9"), ("x-forwarded-for", "6.6.6.6")], "9.9.9.9"),
        ([("x-forwarded-for", "6.6.6.6")], "10.0.0.1"),
        ([], "10.0.0.1"),
    ],
)
def test_proxy_header_forwarded_is_believed_alone(headers, expected):
    assert origin("10.0.0.1", *headers, header="forwarded") == expected
    assert origin("8.8.8.8", *headers, header="forwarded") == "8.8.8.8"


@pytest.mark.parametrize("networks", [(), ("10.0.0.0/8",)])
def test_a_proxy_that_was_not_named_is_warned_of_once_an_hour(networks: tuple[str, ...]) -> None:
    clock = ManualClock()
    proxies = Proxies(networks, timer=clock)

    def warned(*headers: tuple[bytes, bytes], peer: str = "8.8.8.8") -> list[Any]:
        with capture_logs() as lines:
            proxies.arrive({"client": (peer, 1), "headers": headers}, "id")
        return lines

    came = (b"x-forwarded-for", b"9.9.9.9")
    assert warned((b"forwarded", b"for=9.9.9.9")) == []
    (line,) = warned(came)
    assert (line["log_level"], line["setting"]) == ("warning", "GRANTLOG_TRUSTED_PROXIES")
    assert not {"8.8.8.8", "9.9.9.9"} & set(map(str, line.values()))
    clock.advance(3_599)
    assert warned(came) == []
    clock.advance(1)
    assert len(warned(came)) == 1
    if networks:
        clock.advance(3_600)
        assert warned(came, peer="10.0.0.1") == []


def test_a_peer_without_address_is_unknown():
    assert Proxies(("10.0.0.0/8",)).arrive({"client": None, "headers": []}, "id") == RequestContext("id", None)
    assert Proxies().arrive({"client": ("/run/socket", 0), "headers": []}, "id") == RequestContext("id", None)


@pytest.mark.parametrize("networks", [(), ("10.0.0.0/8",)])
def test_head_is_told_from_get_behind_proxies_too(networks: tuple[str, ...]) -> None:
    came = {"client": ("10.0.0.1", 1), "headers": []}
    assert Proxies(networks).arrive({**came, "method": "HEAD"}, "id").head
    assert not Proxies(networks).arrive({**came, "method": "GET"}, "id").head


@given(st.lists(st.text(st.characters(codec="latin-1"), max_size=40), max_size=5))
def test_no_header_of_a_client_names_an_address_no_proxy_saw(values):
    # Whatever stands before it, what the proxy appended decides, or nothing does.
    chain = [*values, "9.9.9.9"]
    fields = [(b"x-forwarded-for", ",".join(chain).encode("latin-1"))]
    assert Proxies(("10.0.0.1",)).arrive({"client": ("10.0.0.1", 1), "headers": fields}, "i").address == "9.9.9.9"
