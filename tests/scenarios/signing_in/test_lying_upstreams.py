"""Other OpenID providers that lie, fail or have become others: nobody is signed in by what they say."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from api.http.outgoing_requests import PublicOnly
from domain.event import SECOND
from security.keyring import Keyring
from tests.cases import cases
from tests.scenarios.administration import administering, ok
from tests.scenarios.asking import APPROVE, CONSENT, SIGN_IN, Scene
from tests.scenarios.assertions import encoded, made_key, public, signed
from tests.scenarios.browser import Page
from tests.scenarios.signing_in.test_upstreams import link_question
from tests.scenarios.signing_in.test_upstreams import scene as scene
from tests.scenarios.signing_in.upstreams import CORP, ONE, Provider, provider_beside

KEYS = "/.well-known/jwks.json"
TOKEN = "/oauth/token"  # noqa: S105 - a path
DISCOVERY = "/.well-known/openid-configuration"
KEY, OTHER = made_key("ES256", "corp"), made_key("ES256", "corp's next")
HEADER = {"alg": "ES256", "kid": KEY.as_dict()["kid"]}


@pytest.fixture
async def corp(
    scene: Scene, sqlite_url: str, tmp_path: Path, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Provider]:
    """The other server, set up at this one. What it signs with is ours."""
    async with provider_beside(scene, sqlite_url, tmp_path, keyring) as provider:
        monkeypatch.setattr(scene.world.services.outgoing, "send", provider.send)
        provider.answers[KEYS] = key_set(KEY)
        await provider.configure()
        yield provider


def key_set(*keys: Any) -> bytes:
    return msgspec.json.encode({"keys": [public(each) for each in keys]})


async def told(
    scene: Scene, corp: Provider, change: Any = None, header: dict[str, Any] = HEADER, key: Any = KEY
) -> Page:
    """What a person sees who comes back with an id_token of these claims."""
    browser = scene.world.browser()
    url = await corp.leave(browser, await browser.open(scene.address()), SIGN_IN)
    back, (nonce,) = await corp.sign_in(url), parse_qs(urlsplit(url).query)["nonce"]
    at = scene.world.clock.now() // SECOND
    claims: dict[str, Any] = {
        "iss": CORP, "aud": corp.client.client_id, "sub": "paul-there", "nonce": nonce, "iat": at, "exp": at + 60,
        "email": scene.person.email, "email_verified": True,
    }  # fmt: skip
    claims |= change(claims) if callable(change) else change or {}
    claims = {name: value for name, value in claims.items() if value is not None}
    unsigned = f"{encoded(msgspec.json.encode(header))}.{encoded(msgspec.json.encode(claims))}."
    token = unsigned if key is None else signed(header, claims, key)
    corp.answers[TOKEN] = msgspec.json.encode({"id_token": token, "access_token": "x", "token_type": "Bearer"})
    page = await browser.open(back)
    del corp.answers[TOKEN]
    return page


LIES: list[Any] = [
    {"iss": "https://evil.example"},
    {"iss": CORP + "/"},
    {"iss": None},
    {"aud": "somebody else"},
    {"aud": ["somebody else"]},
    {"aud": []},
    {"azp": "somebody else"},
    lambda claims: {"aud": [claims["aud"], "somebody else"]},
    lambda claims: {"nonce": claims["nonce"][:-1]},
    {"nonce": None},
    {"nonce": ["x"]},
    lambda claims: {"exp": claims["iat"] - 3_600},
    {"exp": None},
    {"exp": "tomorrow"},
    lambda claims: {"iat": claims["iat"] + 3_600, "exp": claims["iat"] + 7_200},
    {"iat": None},
    lambda claims: {"nbf": claims["iat"] + 3_600},
    {"sub": None},
    {"sub": ""},
    {"sub": 7},
    {"sub": "x" * 256},
    {"sub": "line\nbreak"},
]


async def test_id_token_that_lies_signs_nobody_in(scene: Scene, corp: Provider) -> None:
    for lie in LIES:
        page = await told(scene, corp, lie)
        assert (page.status, link_question(page)) == (403, False), lie
    assert await scene.world.events("session.started") == ()
    assert link_question(await told(scene, corp))


async def test_id_token_by_a_key_of_another_is_no_good(scene: Scene, corp: Provider) -> None:
    forged: list[tuple[dict[str, Any], Any]] = [
        ({"alg": "none"}, None),
        ({"alg": "none", "kid": HEADER["kid"]}, None),
        (HEADER, OTHER),
        ({"alg": "ES256"}, OTHER),
        ({"alg": "ES256", "kid": "nobody's"}, OTHER),
        ({"alg": "ES256", "kid": "nobody's", "jwk": public(OTHER)}, OTHER),
        ({"alg": "ES256", "kid": "nobody's", "jku": "https://evil.example/keys"}, OTHER),
        (HEADER | {"crit": ["exp"]}, KEY),
        (HEADER | {"alg": "PS256"}, made_key("PS256")),
    ]
    for header, key in forged:
        page = await told(scene, corp, header=header, key=key)
        assert (page.status, link_question(page)) == (403, False), header
    assert await scene.world.events("session.started") == ()


async def test_keys_that_changed_are_read_again(scene: Scene, corp: Provider) -> None:
    assert link_question(await told(scene, corp))
    corp.answers[KEYS] = key_set(OTHER)
    scene.world.clock.advance(11)
    assert link_question(await told(scene, corp, header={"alg": "ES256", "kid": OTHER.as_dict()["kid"]}, key=OTHER))
    assert (await told(scene, corp)).status == 403


async def test_userinfo_that_fails_keeps_nobody_out_who_is_linked(scene: Scene, corp: Provider) -> None:
    world, admin = scene.world, await administering(scene.world)
    for answer in (b"\xff", b"[]", b'{"sub": "another", "email_verified": true}', None):
        corp.answers["/oauth/userinfo"] = answer
        page = await told(scene, corp, {"email": None, "email_verified": None})
        assert (page.status, link_question(page)) == (403, False)
    ok(await admin.put(f"/admin/people/{scene.person.account_id}/upstreams/corp", json={"sub": "paul-there"}))
    assert (await told(scene, corp, {"email": None, "email_verified": None})).status == 200
    assert (await world.events("session.started"))[-1].actor.id == scene.person.account_id


DOCUMENT = {
    "issuer": CORP,
    "authorization_endpoint": f"{CORP}/authorize",
    "token_endpoint": f"{CORP}/token",
    "jwks_uri": f"{CORP}/keys",
}


DISCOVERIES: list[Any] = [
    DOCUMENT | {"issuer": "https://evil.example"},
    DOCUMENT | {"issuer": CORP + "/"},
    DOCUMENT | {"issuer": None},
    DOCUMENT | {"authorization_endpoint": "javascript:alert(1)"},
    DOCUMENT | {"authorization_endpoint": "http://evil.example/"},
    DOCUMENT | {"token_endpoint": "file:///etc/passwd"},
    DOCUMENT | {"jwks_uri": "https://evil.example/#here"},
    DOCUMENT | {"jwks_uri": "https://evil.example/" + "x" * 2_100},
    DOCUMENT | {"userinfo_endpoint": 7},
    [],
]


async def test_discovery_that_lies_leads_nobody_anywhere(scene: Scene, corp: Provider) -> None:
    for body in (*map(msgspec.json.encode, DISCOVERIES), b"[" * 60_000, b"\xff", None):
        corp.answers[DISCOVERY] = body
        await leads_nowhere(scene)
        # Nothing is remembered of what was no good for longer than of what is.
        scene.world.clock.advance(601)


async def leads_nowhere(scene: Scene) -> None:
    """The button shows the sign-in page once more, with what is wrong in words, and a password still does."""
    browser = scene.world.browser()
    page = await browser.open(scene.address())
    (form,) = [each for each in page.forms if ("upstream", "corp") in each.buttons]
    page = await browser.submit(form, ("upstream", "corp"))
    assert (page.status, "refresh" in page.answer.headers) == (503, False), page.text
    page = await browser.press(page, SIGN_IN, **scene.person.typed)
    assert (page.status, APPROVE in page.form(CONSENT).buttons) == (200, True)


HTTP = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\n%s\r\n"


@cases(
    ("answer", "private"),
    [
        (HTTP % (b"302 Found", b"Location: http://127.0.0.1:1/\r\nContent-Length: 0\r\n"), True),
        (HTTP % (b"200 OK", b"Content-Length: 70000\r\n") + b" " * 70_000, True),
        (HTTP % (b"200 OK", b"") + b" " * 70_000, True),
        (HTTP % (b"200 OK", b"Content-Length: 100\r\n") + b"{", True),
        (HTTP % (b"500 Oops", b"Content-Length: 2\r\n") + b"{}", True),
        (b"nonsense\r\n\r\n", True),
        (None, True),
        (HTTP % (b"200 OK", b"Content-Length: 2\r\n") + b"{}", False),
    ],
)
async def test_server_that_is_none_of_a_provider_leads_nowhere(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, answer: bytes | None, private: bool
) -> None:
    asked: list[bytes] = []
    silent = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        if answer is None:
            await silent.wait()
        writer.write(answer or b"")
        writer.close()

    outgoing = scene.world.services.outgoing
    monkeypatch.setattr(outgoing, "_backend", PublicOnly(allow_private=private))
    monkeypatch.setattr(outgoing, "_timeout", 0.5 if answer is None else 10.0)
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        issuer = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        admin = await administering(scene.world)
        terms = {"issuer": issuer, "client_id": "grantlog", "client_secret": "secret", "title": "Corp"}
        assert (await admin.put(ONE, json=terms)).is_success
        await leads_nowhere(scene)
        silent.set()
    assert len(asked) == (1 if private else 0)
