"""A sign-in's requests go past the framework, and nobody can tell: what answers them is the same to the byte."""

from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import pytest

from tests.scenarios.dashboards.platform import Platform, make_platform
from tests.scenarios.http.raw import Headers, Raw, send
from tests.scenarios.world import World

FORM = (b"content-type", b"application/x-www-form-urlencoded")
JSON = (b"content-type", b"application/json")
SECRET = (b"cookie", b"grantlog-form=abc")
"""Whose browser has it is sent no new one, so that the tokens of forms are alike."""

HTML = (b"accept", b"text/html")
SIGN_IN = b"/account/sign-in?realm=platform&to=factors"
ONWARD = quote("/oauth/authorize?client_id=a&state=%C3%BC", safe="").encode()
AUTHORIZE = b"/oauth/authorize?client_id=nobody&redirect_uri=https://app.example/cb&response_type=code"


class Sent(NamedTuple):
    """A request, and whether it is usual."""

    method: str
    target: bytes
    headers: Headers = ()
    body: bytes = b""
    usual: bool = True


def requests(platform: Platform) -> list[Sent]:
    at, person = f"/dashboards/{platform.client.slug}".encode(), platform.paul
    login, own = at + b"/login", (b"origin", platform.client.origin.encode())
    typed = {"username": person.username, "password": "not that"}
    form, listed = urlencode(typed).encode(), str(typed).replace("'", '"').encode()
    stale = b"csrf=x&" + form
    return [
        Sent("GET", b"/account/sign-in"),
        Sent("GET", SIGN_IN + b"&onward=" + ONWARD, [(b"accept-language", b"de")]),
        Sent("HEAD", SIGN_IN),
        Sent("GET", b"/account/sign-in?realm=nobodys", [HTML]),
        Sent("GET", b"/account/sign-in?to=nowhere"),
        Sent("GET", b"/account/sign-in?to=factors&to=data", usual=False),
        Sent("GET", SIGN_IN + b"&ui_locales=de", usual=False),
        Sent("GET", b"/account/sign-in?realm=", usual=False),
        Sent("GET", b"/account/sign-in?onward=" + b"a" * 5_000, usual=False),
        Sent("GET", b"/account/sign-in/", usual=False),
        Sent("PUT", SIGN_IN, [FORM], form, usual=False),
        Sent("POST", SIGN_IN, [FORM], stale),
        Sent("POST", SIGN_IN, [FORM, (b"sec-fetch-site", b"cross-site")], stale),
        Sent("POST", SIGN_IN, [FORM], stale + b"&username=again"),
        Sent("POST", SIGN_IN, [FORM], b"username=%zz"),
        Sent("POST", SIGN_IN, [FORM], b"username=" + b"a" * 2_000_000),
        Sent("POST", SIGN_IN, [JSON], listed),
        Sent("POST", SIGN_IN, [], form),
        Sent("POST", SIGN_IN, [FORM], usual=False),
        Sent("GET", AUTHORIZE, [HTML]),
        Sent("GET", AUTHORIZE + b"&client_id=another", [HTML]),
        Sent("POST", AUTHORIZE.replace(b"?", b"/sign-in?"), [FORM], stale),
        Sent("GET", at, [HTML]),
        Sent("GET", at, [(b"origin", b"https://elsewhere.example")]),
        Sent("GET", at + b"?signed_in=1", [HTML], usual=False),
        Sent("GET", b"/dashboards/nobodys", [HTML]),
        Sent("POST", at, [FORM], form, usual=False),
        Sent("GET", login, [own], usual=False),
        Sent("OPTIONS", login, [own], usual=False),
        Sent("POST", login, [JSON, own], listed),
        Sent("POST", login, [FORM, own], form),
        Sent("POST", login, [JSON], b'{"username": "paul"}'),
        Sent("POST", login, [JSON], b'{"username": 5, "password": ""}'),
        Sent("POST", login, [JSON], b'{"username": "a", "username": "b"}'),
        Sent("POST", login, [JSON], b'{"auth_session": "x", "totp": "123456"}'),
        Sent("POST", login, [JSON, (b"origin", b"https://elsewhere.example")], listed),
        Sent("POST", login + b"?a=b", [JSON], listed, usual=False),
        Sent("POST", login, [JSON, own], usual=False),
        Sent("POST", b"/dashboards/nobodys/login", [JSON], listed),
    ]


def comparable(answer: Raw) -> tuple[Any, ...]:
    """All of an answer but the request's id."""
    id_sent = (answer.header("x-request-id") or "").encode()
    fields = [each for each in answer.headers if each[1] != id_sent]
    return answer.status, fields, answer.body.replace(id_sent, b"")


async def test_both_ways_answer_alike(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    platform = await make_platform(world)
    inner, passed = world.app.app, 0

    async def counted(*given: Any) -> None:
        nonlocal passed
        passed += 1
        await inner(*given)

    monkeypatch.setattr(world.app, "app", counted)
    measured: list[Any] = []
    monkeypatch.setattr(world.app, "measure", lambda *given: measured.append(given[:3]))
    past = world.app.usual
    for each in requests(platform):
        passed = 0
        given = each.method, each.target, [SECRET, *each.headers], each.body
        usual = comparable(await send(world.app, *given))
        assert passed == (0 if each.usual else 1), each
        monkeypatch.setattr(world.app, "usual", lambda _: None)
        assert comparable(await send(world.app, *given)) == usual, each
        monkeypatch.setattr(world.app, "usual", past)
        assert measured[-1] == measured[-2], each
