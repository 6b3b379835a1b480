"""A grant type is one file and one line: what these tests register is all that the server is told about it."""

from dataclasses import replace
from typing import Any

import httpx
import pytest

from domain import grant
from domain.decision import InvalidGrant, Outcome, Reason, refuse
from domain.event import Moment
from domain.grants import GRANTS, refresh_token, validity
from domain.grants.grant_type import Credential, GrantType, Lifetimes, Minted, Parties, TokenRequest, admitted, begin
from tests.scenarios.administration import administering
from tests.scenarios.asking import Scene, set_scene
from tests.scenarios.world import Client, World

pytestmark = pytest.mark.anyio

EXCHANGE, RESUME, VOUCHER = "urn:example:exchange", "urn:example:resume", "urn:example:voucher"
REFRESHED = ("authorization_code", "refresh_token")


def _first(
    parties: Parties, request: TokenRequest, name: str, now: Moment, minted: Minted, given: Lifetimes
) -> Outcome:
    secret = admitted(parties, name, now)
    if isinstance(secret, Reason):
        return refuse(secret)
    return begin(
        request,
        grant_type=name,
        parties=parties,
        secret=secret,
        roles=None,
        minted=minted,
        lifetimes=given,
        refreshable=False,
    )


def exchange(
    state: grant.State, *, now: Moment, request: TokenRequest, parties: Parties, minted: Minted, lifetimes: Lifetimes
) -> Outcome:
    """A living access token of anybody's grant is exchanged for one of a grant of its own (RFC 8693)."""
    assert not state.exists
    if parties.subject is None or validity.reason(parties.subject.standing, now) != "active":
        return refuse(InvalidGrant.EXPIRED)
    return _first(parties, request, EXCHANGE, now, minted, lifetimes)


def voucher(
    state: grant.State, *, now: Moment, request: TokenRequest, parties: Parties, minted: Minted, lifetimes: Lifetimes
) -> Outcome:
    """Whoever knows the word gets a token."""
    if request.own.get("voucher") != "sesame":
        return refuse(InvalidGrant.CREDENTIALS)
    return _first(parties, request, VOUCHER, now, minted, lifetimes)


MADE_UP = (
    GrantType(
        grant_type=EXCHANGE,
        issue=exchange,
        granted="for a token of another grant",
        credential=Credential("subject_token", "access", "subject token", of_another=True),
    ),
    GrantType(
        grant_type=RESUME,
        issue=refresh_token.issue,
        granted="never first",
        credential=Credential("resumption", "refresh", "resumption"),
    ),
    GrantType(
        grant_type=VOUCHER,
        issue=voucher,
        granted="for a voucher",
        parameters={"voucher": "The word."},
        confidential=True,
    ),
)


@pytest.fixture
def settings_given(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    for each in MADE_UP:
        monkeypatch.setitem(GRANTS, each.grant_type, each)
    # Routes of its own: the document is made with them.
    return {"body_limit": 65_000}


async def approved(world: World, *more: str) -> tuple[Scene, dict[str, Any], str]:
    """A shop that may use those grant types too, the tokens that a person gave it, and a code."""
    scene = await set_scene(world)
    scene = replace(scene, shop=await world.register_client(grant_types=(*REFRESHED, *more)))
    browser = await scene.signed_in()
    tokens = await scene.redeem(await scene.approved(browser))
    code = (await browser.open(scene.address())).parameters["code"]
    return scene, tokens, code


async def asked(world: World, client: Client, grant_type: str, **given: str) -> httpx.Response:
    return await world.client.post("/oauth/token", data={"grant_type": grant_type} | given, auth=client.auth)


def refused(answer: httpx.Response) -> tuple[int, str, str]:
    body = answer.json()
    return answer.status_code, body["error"], body.get("error_description", "")


async def test_made_up_grant_without_credential_gives_tokens(world: World) -> None:
    client = await world.register_client(grant_types=(VOUCHER,))
    assert refused(await asked(world, client, VOUCHER))[:2] == (400, "invalid_grant")
    given = (await asked(world, client, VOUCHER, voucher="sesame", scope="orders")).json()
    assert given.keys() == {"access_token", "token_type", "expires_in", "scope"}
    (issued,) = await world.events("grant.tokens_issued")
    assert (issued.event.grant_type, issued.event.account_id) == (VOUCHER, None)
    told = await world.client.post("/oauth/introspect", data={"token": given["access_token"]}, auth=client.auth)
    assert told.json()["active"]


async def test_made_up_credential_of_another_grant_starts_a_grant(world: World) -> None:
    scene, tokens, _ = await approved(world)
    other = await world.register_client("Other", grant_types=(EXCHANGE,), scope=("orders",))
    given = await asked(world, other, EXCHANGE, subject_token=tokens["access_token"])
    assert given.status_code == 200, given.text
    first, second = await world.events("grant.tokens_issued")
    assert first.stream != second.stream
    assert second.event.account_id == first.event.account_id == scene.person.account_id
    await world.client.post("/oauth/revoke", data={"token": tokens["access_token"]}, auth=scene.shop.auth)
    again = await asked(world, other, EXCHANGE, subject_token=tokens["access_token"])
    assert refused(again) == (400, "invalid_grant", "This subject token has expired.")


async def test_made_up_credential_of_its_own_grant_goes_on_with_it(world: World) -> None:
    scene, tokens, _ = await approved(world, RESUME)
    given = await asked(world, scene.shop, RESUME, resumption=tokens["refresh_token"])
    assert given.json()["refresh_token"] != tokens["refresh_token"]
    (issued,), (refreshed,) = await world.events("grant.tokens_issued"), await world.events("grant.tokens_refreshed")
    assert issued.stream == refreshed.stream
    again = await asked(world, scene.shop, RESUME, resumption=tokens["refresh_token"])
    assert refused(again) == (400, "invalid_grant", "This resumption was used before; its grant has ended.")


@pytest.mark.parametrize(("grant_type", "parameter"), [(EXCHANGE, "subject_token"), (RESUME, "resumption")])
async def test_known_token_of_another_kind_is_invalid_grant(world: World, grant_type: str, parameter: str) -> None:
    scene, tokens, code = await approved(world, EXCHANGE, RESUME)
    shop = scene.shop
    right = "access_token" if grant_type == EXCHANGE else "refresh_token"
    wrong = [value for name, value in tokens.items() if name.endswith("_token") and name != right]
    before = await world.head()
    for value in (code, *wrong, shop.secret or "", "x" * 3_000, "ü"):
        answer = await asked(world, shop, grant_type, **{parameter: value})
        assert refused(answer)[:2] == (400, "invalid_grant"), value
    assert refused(await asked(world, shop, grant_type))[1:] == ("invalid_request", f"{parameter} is missing.")
    assert await world.types_after(before) == []
    job = await world.register_client("Job", grant_types=("client_credentials",))
    answer = await asked(world, job, grant_type, **{parameter: tokens[right]})
    assert refused(answer)[:2] == (400, "unauthorized_client")


async def test_made_up_grants_are_registered_announced_and_documented(world: World) -> None:
    metadata = (await world.client.get("/.well-known/oauth-authorization-server")).json()
    assert metadata["grant_types_supported"][-3:] == [EXCHANGE, RESUME, VOUCHER]
    document = (await world.client.get("/schema/openapi.json")).json()
    described = document["components"]["schemas"]["TokenParameters"]["properties"]
    assert described["grant_type"]["enum"] == list(GRANTS)
    assert described["voucher"]["description"] == "The word."
    assert described["subject_token"]["description"] == f"For `{EXCHANGE}`."
    admin = await administering(world, "clients:read", "clients:write")
    registration = {"client_name": "A", "grant_types": [VOUCHER], "scope": ""}
    made = await admin.post("/admin/clients", json=registration)
    assert made.status_code == 201, made.text
    public = await admin.post("/admin/clients", json=registration | {"token_endpoint_auth_method": "none"})
    assert (public.status_code, public.json()["errors"][0]["field"]) == (400, "grant_types")
