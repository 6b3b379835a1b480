"""A person signs in at a dashboard with user name and password alone; every use and every failure is a fact."""

import asyncio
from collections import Counter
from typing import Any
from unittest.mock import Mock

import pytest

from api.oauth import person_authentication
from domain import account
from eventstore.appending.batch import Batch
from eventstore.unavailable import DatabaseAway
from security.passwords import Hasher
from tests.any_command import any_command
from tests.cases import cases
from tests.scenarios.dashboards.platform import (
    PLATFORM,
    Platform,
    introspect,
    make_dashboard,
    make_platform,
)
from tests.scenarios.world import Person, World


@pytest.fixture
async def platform(world: World) -> Platform:
    return await make_platform(world)


async def test_sign_in_gives_a_token_and_the_refresh_token_as_cookie(world, platform):
    before = await world.head()
    answer = await platform.client.login(platform.paul)
    assert answer.status_code == 200
    body = answer.json()
    assert set(body) == {"token_type", "expires_in", "access_token", "scope"}
    assert body["token_type"] == "Bearer"
    assert body["expires_in"] == 600
    assert body["scope"] == " ".join(PLATFORM)
    value, attributes = platform.client.set_cookie(answer)
    assert value.startswith("glog_rt_")
    assert attributes == {"path": "/", "max-age": str(30 * 86_400), "httponly": "", "samesite": "Strict"}

    (issued,) = await world.events(after=before)
    assert issued.type == "grant.tokens_issued"
    assert issued.actor.kind == "person"
    assert issued.actor.id == platform.paul.account_id
    assert issued.actor.credential == {
        "client_id": platform.client.client_id,
        "secret_id": platform.client.secret_ids[0],
    }
    assert issued.request_id == answer.headers["x-request-id"]
    assert issued.event.grant_type == "password"
    assert issued.event.client_id == platform.client.client_id
    assert issued.event.account_id == platform.paul.account_id
    assert (issued.event.secret_id, issued.event.secret_version) == (platform.client.secret_ids[0], 1)
    assert body["access_token"] not in str(issued)
    assert value not in str(issued)
    assert (await introspect(world, platform.client, body["access_token"]))["sub"] == platform.paul.account_id


@cases("name", ["PAUL", "paul@example.test", "Paul@Example.TEST"])
async def test_any_spelling_of_the_login_names_will_do_in_a_form_too(platform, name):
    answer = await platform.client.call("POST", "/login", data={"username": name, "password": platform.paul.password})
    assert answer.status_code == 200
    assert answer.json()["scope"] == " ".join(PLATFORM)


async def test_a_dashboards_own_lifetimes_count(world, platform):
    at = await make_dashboard(world, "brief", access_token_lifetime=60, refresh_token_lifetime=3600)
    answer = await at.login(platform.paul)
    assert answer.json()["expires_in"] == 60
    assert at.set_cookie(answer)[1]["max-age"] == "3600"


async def test_a_third_dashboard_works_like_the_first_two(world, platform):
    third = await make_dashboard(world, "support", realm="administration", scope=("clients:read",))
    access, cookie = await third.sign_in(platform.ada)
    assert (await introspect(world, third, access))["scope"] == "clients:read"
    answer = await third.refresh(cookie)
    assert answer.status_code == 200
    assert (await third.logout(cookie=third.cookie(answer))).status_code == 204
    assert (await third.login(platform.paul)).status_code == 401


@pytest.mark.parametrize("settings_given", [{"issuer": "https://login.example.test"}])
async def test_over_tls_the_cookie_is_bound_to_the_host(world, platform):
    answer = await platform.client.login(platform.paul)
    value, attributes = platform.client.set_cookie(answer)
    assert platform.client.cookie_name == "__Host-grantlog-client"
    assert attributes == {
        "path": "/",
        "max-age": str(30 * 86_400),
        "httponly": "",
        "samesite": "Strict",
        "secure": "",
    }
    refreshed = await platform.client.refresh(value)
    assert refreshed.status_code == 200
    assert set(platform.client.set_cookie(refreshed)[1]) == set(attributes)
    # A cookie without the prefix could have been planted by another host of the domain.
    planted = await platform.client.call(
        "POST", "/refresh", headers={"cookie": f"grantlog-client={platform.client.cookie(refreshed)}"}
    )
    assert planted.status_code == 401


# -- refusals ---------------------------------------------------------------------------------------------------------


async def test_wrong_credentials_are_one_answer_and_one_verification(world, platform, monkeypatch):
    disabled = await world.register_person("dora")
    await world.execute(
        any_command(account.stream(disabled.account_id), account.disable, {"leaves_no_administrator": False})
    )
    verified = Counter[str]()
    genuine = Hasher.verify

    async def counted(self: Hasher, encoded: str | None, password: str, *given: Any, **named: Any) -> Any:
        verified["calls"] += 1
        return await genuine(self, encoded, password, *given, **named)

    monkeypatch.setattr(Hasher, "verify", counted)
    before = await world.head()
    attempts = {
        "unknown_user": {"username": "nobody", "password": platform.paul.password},
        "wrong_password": {"username": "paul", "password": "not his password"},
        "wrong_realm": {"username": "ada", "password": platform.ada.password},
        "disabled": {"username": "dora", "password": disabled.password},
    }
    bodies, headers = [], []
    for number, body in enumerate(attempts.values()):
        answer = await platform.client.call("POST", "/login", json=body)
        assert answer.status_code == 401
        assert verified["calls"] == number + 1
        members = answer.json()
        assert members.pop("request_id") == answer.headers["x-request-id"]
        bodies.append(members)
        fields = dict(answer.headers)
        del fields["x-request-id"]
        headers.append(fields)
    assert bodies[0]["error"] == "invalid_grant"
    assert all(body == bodies[0] for body in bodies)
    assert all(fields == headers[0] for fields in headers)
    assert "set-cookie" not in headers[0]

    recorded = await world.events(after=before)
    # A person of another realm does not exist in this one: they count as unknown, without a trace of who it was.
    assert [(each.stream.partition(":")[0], each.type) for each in recorded] == [
        ("realm", "realm.unknown_user_refused"),
        ("account", "account.sign_in_failed"),
        ("realm", "realm.unknown_user_refused"),
        ("account", "account.sign_in_failed"),
    ]
    assert [each.event.reason for each in recorded[1::2]] == ["wrong_password", "disabled"]
    assert all(each.actor.kind == "anonymous" for each in recorded)
    assert "nobody" not in str(recorded)


async def test_failures_are_grouped(world, platform):
    before = await world.head()
    for _ in range(3):
        await platform.client.login(platform.paul, password="not his password")
    assert await world.types_after(before) == ["account.sign_in_failed"]
    await world.services.repeated_facts.close_elapsed(everything=True)
    first, more = await world.events(after=before)
    assert (first.event.count, more.event.count) == (1, 2)


async def test_a_guesser_is_slowed_down_and_nobody_else(world, platform):
    for _ in range(40):
        answer = await platform.client.login(platform.paul, password="not his password")
        if answer.status_code == 429:
            break
        assert answer.status_code == 401
    before = await world.head()
    answer = await platform.client.login(platform.paul)
    assert answer.status_code == 429
    assert answer.json()["retry_after"] == int(answer.headers["retry-after"]) > 0
    assert answer.headers["access-control-allow-origin"] == platform.client.origin
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["error"] == "temporarily_unavailable"
    assert await world.head() == before

    elsewhere = world.caller("198.51.100.9")
    assert (await platform.client.login(platform.paul, by=elsewhere)).status_code == 200
    world.clock.advance(int(answer.headers["retry-after"]))
    assert (await platform.client.login(platform.paul)).status_code == 200


@pytest.mark.parametrize("name", ["paul", "paul@example.test"])
async def test_no_spelling_of_a_name_counts_anew(world, platform, name):
    spellings = [
        name,
        name.upper(),
        f" {name}",
        f"{name} ",
        f"{name}\u3000",
        f"\t{name}",
        *(name + " " * n for n in range(9)),
    ]
    statuses = []
    for spelling in spellings:
        answer = await platform.client.call("POST", "/login", json={"username": spelling, "password": "wrong"})
        statuses.append(answer.status_code)
    free = world.settings.sign_in_free
    assert statuses == [401] * free + [429] * (len(spellings) - free)


async def test_recorded_failure_takes_as_long_as_a_counted_one(platform, monkeypatch):
    waited: list[float] = []
    genuine = asyncio.sleep

    async def sleep(seconds: float) -> None:
        waited.append(seconds)
        await genuine(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    for typed in ({"username": "nobody"}, {"username": "nobody"}, {"username": "paul"}, {"username": "paul"}):
        answer = await platform.client.call("POST", "/login", json=typed | {"password": "wrong"})
        assert answer.status_code == 401
    assert [seconds for seconds in waited if seconds == person_authentication.REFUSED_AFTER] == [
        person_authentication.REFUSED_AFTER
    ] * 4


@cases(
    ("given", "status"),
    [
        ({"json": {"username": "paul"}}, 400),
        ({"json": {"username": "", "password": "x"}}, 400),
        ({"json": {"username": "paul", "password": 7}}, 400),
        ({"json": {"username": "paul", "password": "x", "scope": "orders"}}, 400),
        ({"json": {"username": "paul", "password": "x", "client_id": "x"}}, 400),
        ({"json": {"username": "p" * 321, "password": "x"}}, 400),
        ({"json": {"username": "paul", "password": "x" * 1025}}, 400),
        ({"json": {"username": "paul\0", "password": "x"}}, 400),
        ({"json": ["paul", "x"]}, 400),
        ({"content": b'{"username":"paul","username":"paul","password":"x"}'}, 400),
        ({"content": b""}, 400),
        ({"data": {"username": "paul", "password": "x", "grant_type": "password"}}, 400),
        ({"content": b"username=paul&password=x&password=x", "type": "application/x-www-form-urlencoded"}, 400),
        ({"content": b"paul", "type": "text/plain"}, 415),
        ({"content": b'{"username":"' + b"p" * 70_000 + b'"}'}, 413),
    ],
)
async def test_what_is_no_sign_in_is_refused_and_leaves_nothing(world, platform, given, status):
    before = await world.head()
    given = {"type": "application/json"} | given
    media_type = given.pop("type")
    headers = {"content-type": media_type} if "content" in given else {}
    answer = await platform.client.call("POST", "/login", headers=headers, **given)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["error"] == "invalid_request"
    assert answer.headers["access-control-allow-origin"] == platform.client.origin
    assert await world.head() == before


async def idle_person(world: World) -> Person:
    """Somebody whose roles allow nothing of what the platform's dashboard has."""
    await world.define_role("platform", "idle", "reports:read")
    return await world.register_person("ingrid", roles_of=("idle",))


async def test_who_may_nothing_here_gets_nothing_and_that_is_a_fact(world, platform):
    idle = await idle_person(world)
    before = await world.head()
    answer = await platform.client.login(idle)
    assert answer.status_code == 400
    assert answer.json()["error"] == "invalid_scope"
    assert "set-cookie" not in answer.headers
    (failed,) = await world.events(after=before)
    assert (failed.stream, failed.type) == (f"account:{idle.account_id}", "account.sign_in_failed")
    assert (failed.event.reason, failed.event.count) == ("invalid_scope", 1)
    assert failed.request_id == answer.headers["x-request-id"]


async def test_right_password_without_scope_is_counted_as_no_guess(world, platform):
    idle = await idle_person(world)
    before = await world.head()
    for _ in range(40):
        assert (await platform.client.login(idle)).status_code == 400
    assert await world.types_after(before) == ["account.sign_in_failed"]
    await world.services.repeated_facts.close_elapsed(everything=True)
    first, more = await world.events(after=before)
    assert (first.event.count, more.event.count, more.event.reason) == (1, 39, "invalid_scope")
    assert (await platform.client.login(platform.paul)).status_code == 200


@pytest.mark.parametrize("scope", ["unheard:of", "clients:read"])
async def test_scope_refused_at_the_token_endpoint_is_an_event_too(world, platform, scope):
    at, given = platform.client, {"grant_type": "password", "scope": scope, **platform.paul.typed}
    before = await world.head()
    answer = await world.client.post("/oauth/token", data=given, auth=(at.client_id, at.secrets[-1].reveal()))
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")
    (failed,) = await world.events(after=before)
    assert (failed.type, failed.event.reason) == ("account.sign_in_failed", "invalid_scope")


async def test_a_sign_in_takes_the_place_of_the_former(world, platform):
    at, person = platform.client, platform.paul
    former, cookie = await at.sign_in(person)
    elsewhere, _ = await at.sign_in(person)
    before = await world.head()
    access, kept = await at.sign_in(person, cookie=cookie)
    ended, issued = await world.events("grant.*", after=before)
    assert (issued.type, ended.type, ended.event.reason) == ("grant.tokens_issued", "grant.ended", "logout")
    assert (ended.actor, ended.request_id, ended.time) == (issued.actor, issued.request_id, issued.time)
    alive = [(await introspect(world, at, each))["active"] for each in (former, elsewhere, access)]
    assert alive == [False, True, True]
    assert (await at.refresh(cookie)).status_code == 401
    # It is over once, and what is no cookie of this dashboard's replaces nothing.
    before = await world.head()
    for other in (cookie, "nonsense", kept[:-1]):
        await at.sign_in(person, cookie=other)
    assert await world.events("grant.ended", after=before) == ()


async def test_a_sign_in_leaves_that_of_somebody_else(world, platform):
    at, petra = platform.client, await world.register_person("petra")
    pauls, cookie = await at.sign_in(platform.paul)
    petras, _ = await at.sign_in(petra, cookie=cookie)
    assert [(await introspect(world, at, each))["active"] for each in (pauls, petras)] == [True, True]
    assert (await at.refresh(cookie)).status_code == 200


async def test_a_sign_in_that_is_refused_ends_no_former(world, platform):
    await world.define_role("platform", "idle", *PLATFORM)
    at, idle = platform.client, await world.register_person("ingrid", roles_of=("idle",))
    former, cookie = await at.sign_in(idle)
    await world.define_role("platform", "idle", "reports:read")
    before = await world.head()
    assert (await at.login(idle, cookie=cookie)).json()["error"] == "invalid_scope"
    assert await world.types_after(before) == ["account.sign_in_failed"]
    assert (await introspect(world, at, former))["active"]


async def test_a_sign_in_and_the_end_of_the_former_are_one(world, platform, monkeypatch):
    """Where the database goes before they are committed, neither has happened."""
    at = platform.client
    former, cookie = await at.sign_in(platform.paul)
    before = await world.head()
    with monkeypatch.context() as away:
        away.setattr(Batch, "finish", Mock(side_effect=DatabaseAway("gone")))
        assert (await at.login(platform.paul, cookie=cookie)).status_code == 503
    assert await world.head() == before
    assert (await introspect(world, at, former))["active"]
    access, kept = await at.sign_in(platform.paul, cookie=cookie)
    assert [(await introspect(world, at, each))["active"] for each in (former, access)] == [False, True]
    assert (await at.refresh(kept)).status_code == 200


async def test_a_cookie_alone_replaces_nothing(world, platform):
    at = platform.client
    former, cookie = await at.sign_in(platform.paul)
    await at.sign_in(platform.paul, cookie=cookie, origin=None)
    assert (await at.login(platform.paul, password="wrong", cookie=cookie)).status_code == 401
    assert (await introspect(world, at, former))["active"]
    await at.sign_in(platform.paul, cookie=cookie, origin=None, headers={"x-grantlog": "1"})
    assert not (await introspect(world, at, former))["active"]
