"""The past of a token: its history in words, its state at any moment, and what decided it."""

import asyncio
from hashlib import sha256
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from domain import account, client, client_secret, consent
from eventstore import issued as present
from eventstore.command import Command
from eventstore.database.engines import migrating
from eventstore.stored import head
from projections import digests, sessions, tokens
from security.clock import SECOND, format_rfc3339, parse_rfc3339
from tests.any_command import any_command
from tests.cases import cases
from tests.scenarios.administration import administering, ok, problem
from tests.scenarios.asking import Scene
from tests.scenarios.histories import Past, disable_client, erase, lived, rotate
from tests.scenarios.world import ENABLES_CLIENT

pytestmark = pytest.mark.anyio

YEAR = 366 * 86_400


async def asked(asking: httpx.AsyncClient, raw: str, **more: Any) -> dict[str, Any]:
    """The answer about a token's state."""
    found: dict[str, Any] = ok(await asking.post("/audit/token-state", json={"token": raw} | more))
    return found


async def just_before_and_at(past: Past, asking: httpx.AsyncClient, raw: str, position: int) -> tuple[str, str]:
    """The reasons a microsecond before an event, and at its recorded instant; there it must be what decides."""
    event = ok(await asking.get(f"/audit/events/{position}"))
    moment = event["time"]
    before = format_rfc3339(past.world.clock.now() - 60 * SECOND - 1)
    assert before < moment
    at = await asked(asking, raw, at=moment)
    assert at["decided_by"] == [position]
    assert at["as_of_position"] >= position
    return (await asked(asking, raw, at=before))["reason"], at["reason"]


async def ended_by(past: Past, command: Command[Any], raw: str) -> tuple[str, str]:
    """The reasons before and after a command, which comes a minute after everything else."""
    asking = await administering(past.world)
    past.world.clock.advance(60)
    position = (await past.world.execute(command)).recorded[-1].position
    past.world.clock.advance(60)
    asking = await administering(past.world)
    return await just_before_and_at(past, asking, raw, position)


async def test_at_the_instant_of_its_revocation_it_is_revoked(scene: Scene) -> None:
    past = await lived(scene)
    raw = past.tokens["access_token"]
    scene.world.clock.advance(60)
    await scene.world.client.post("/oauth/revoke", data={"token": raw}, auth=scene.shop.auth)
    (revoked,) = await scene.world.events("grant.token_revoked")
    scene.world.clock.advance(60)
    asking = await administering(scene.world)
    assert await just_before_and_at(past, asking, raw, revoked.position) == ("active", "revoked")
    for position, reason in ((revoked.position - 1, "active"), (revoked.position, "revoked")):
        assert (await asked(asking, raw, position=position))["reason"] == reason


async def test_cut_off_tokens_stay_dead_when_the_client_is_enabled(scene: Scene) -> None:
    past = await lived(scene)
    position = await disable_client(scene.world, scene.shop)
    await scene.world.execute(any_command(client.stream(scene.shop.client_id), client.enable, ENABLES_CLIENT))
    found = await asked(await administering(scene.world), past.tokens["refresh_token"])
    assert (found["reason"], found["decided_by"]) == ("client_disabled", [position])


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda s: any_command(client.stream(s.shop.client_id), client.disable), "client_disabled"),
        (lambda s: any_command(client.stream(s.shop.client_id), client.delete), "client_deleted"),
        (
            lambda s: any_command(
                account.stream(s.person.account_id), account.disable, {"leaves_no_administrator": False}
            ),
            "person_disabled",
        ),
        (
            lambda s: any_command(
                account.stream(s.person.account_id), account.erase, {"leaves_no_administrator": False}
            ),
            "person_erased",
        ),
        (
            lambda s: any_command(
                account.stream(s.person.account_id),
                account.change_password,
                {"password_hash": "another", "role_scopes": {}, "caller_scope": frozenset()},
            ),
            "grant_ended",
        ),
        (lambda s: any_command(consent.stream(s.person.account_id, s.shop.client_id), consent.withdraw), "grant_ended"),
    ],
)
async def test_what_others_decided_is_found_on_their_streams(scene: Scene, make: Any, reason: str) -> None:
    past = await lived(scene)
    assert await ended_by(past, make(scene), past.tokens["access_token"]) == ("active", reason)


async def test_a_secret_version_takes_its_tokens_with_it(scene: Scene) -> None:
    past = await lived(scene)
    asking = await administering(scene.world)
    history = ok(await asking.post("/audit/token-history", json={"token": past.tokens["access_token"]}))
    facts = {"secret_id": history["secret"]["id"], "tokens": "revoke"}
    command = any_command(client.stream(scene.shop.client_id), client_secret.revoke, facts)
    assert await ended_by(past, command, past.tokens["access_token"]) == ("active", "secret_ended")


async def test_codes_and_refresh_tokens_are_used_up_by_their_event(scene: Scene) -> None:
    past = await lived(scene)
    first = past.tokens["refresh_token"]
    await past.refresh()
    asking = await administering(scene.world)
    (redeemed,) = await scene.world.events("grant.code_redeemed")
    (refreshed,) = await scene.world.events("grant.tokens_refreshed")
    code = await asked(asking, past.code)
    assert (code["kind"], code["reason"], code["decided_by"]) == ("code", "redeemed", [redeemed.position])
    used = await asked(asking, first)
    assert (used["kind"], used["reason"], used["decided_by"]) == ("refresh", "rotated", [refreshed.position])
    assert (await asked(asking, first, position=refreshed.position - 1))["reason"] == "active"
    assert (await asked(asking, past.code, position=redeemed.position - 1))["active"] is True


async def test_a_grant_that_was_replayed_ended_with_everything(scene: Scene) -> None:
    past = await lived(scene)
    first, access = past.tokens["refresh_token"], past.tokens["access_token"]
    await past.refresh()
    assert (await past.refresh(first))["error"] == "invalid_grant"
    (ended,) = await scene.world.events("grant.ended")
    asking = await administering(scene.world)
    found = await asked(asking, access)
    assert (found["reason"], found["decided_by"]) == ("grant_ended", [ended.position])


async def test_before_it_was_issued_and_after_its_time(scene: Scene) -> None:
    past = await lived(scene)
    asking = await administering(scene.world)
    (issued,) = [e for e in await scene.world.events("grant.tokens_issued") if e.event.account_id]
    raw = past.tokens["access_token"]
    assert (await asked(asking, raw, at=format_rfc3339(issued.time)))["reason"] == "active"
    early = await asked(asking, raw, at=format_rfc3339(issued.time - 1))
    assert (early["reason"], early["active"]) == ("not_yet_issued", False)
    assert early["as_of_position"] < issued.position
    expiry = issued.time + 600 * SECOND
    assert (await asked(asking, raw, at=format_rfc3339(expiry - 1)))["reason"] == "active"
    late = await asked(asking, raw, at=format_rfc3339(expiry))
    assert (late["reason"], late["decided_by"]) == ("expired", [issued.position])


async def test_a_living_token_names_everything_that_keeps_it_alive(scene: Scene) -> None:
    past = await lived(scene)
    found = await asked(await administering(scene.world), past.tokens["access_token"])
    assert found["active"] is True
    streams = {
        each.stream.partition(":")[0] for each in await scene.world.events() if each.position in found["decided_by"]
    }
    assert streams == {"grant", "client", "account", "consent"}


async def test_answer_about_now_waits_for_pending_writes_and_stays(scene: Scene, database_url: str) -> None:
    past, engine = await lived(scene), migrating(database_url)
    asking = await administering(scene.world)
    raw, now = past.tokens["access_token"], format_rfc3339(scene.world.clock.now())
    with engine.begin() as writing:
        writing.execute(select(head).with_for_update())
        disabled = asyncio.create_task(disable_client(scene.world, scene.shop))
        for _turn in range(20):
            await asyncio.sleep(0)
        told = asyncio.create_task(asked(asking, raw, at=now))
        for _turn in range(200):
            await asyncio.sleep(0)
        assert not told.done()
    await disabled
    first = await told
    assert (first["active"], first["reason"]) == (False, "client_disabled")
    assert await asked(asking, raw, at=now) | {"as_of_position": 0} == first | {"as_of_position": 0}
    engine.dispose()


async def test_what_was_never_issued_is_unknown(scene: Scene) -> None:
    asking = await administering(scene.world)
    found = await asked(asking, "a password, perhaps")
    assert found | {"at": "", "as_of_position": 0} == {
        "active": False,
        "reason": "unknown",
        "kind": None,
        "decided_by": [],
        "at": "",
        "as_of_position": 0,
        "offline_until": None,
    }
    problem(await asking.post("/audit/token-history", json={"token": "a password, perhaps"}), 404)
    digest = sha256(b"a password, perhaps").hexdigest()
    assert all(digest not in str(each) for each in await scene.world.events("audit.*"))


@cases(
    "body",
    [
        {},
        {"token": "x", "sha256": "0" * 64},
        {"sha256": "0" * 63},
        {"sha256": "G" * 64},
        {"token": ""},
        {"token": "x", "at": "yesterday"},
        {"token": "x", "position": 0},
        {"token": "x", "position": 10_000},
        {"token": "x", "position": 5, "at": "2020-01-01T00:00:00Z"},
        {"token": "x", "colour": "red"},
    ],
)
async def test_a_malformed_question_is_refused(scene: Scene, body: dict[str, Any]) -> None:
    problem(await (await administering(scene.world)).post("/audit/token-state", json=body), 400)


async def test_blanks_around_what_was_pasted_are_none_of_it(scene: Scene) -> None:
    raw = (await lived(scene)).tokens["access_token"]
    asking = await administering(scene.world)
    plain = await asked(asking, raw)
    assert plain["kind"] == "access"
    for pasted in (f"{raw}\n", f"  {raw}", f"\t{raw}\r\n"):
        found = await asked(asking, pasted)
        assert (found["kind"], found["reason"], found["decided_by"]) == ("access", plain["reason"], plain["decided_by"])
        told = ok(await asking.post("/audit/token-history", json={"token": pasted}))
        assert told["sha256"] == sha256(raw.encode()).hexdigest()


# History ----------------------------------------------------------------------------------------------------------


async def test_history_tells_who_got_a_token_how_and_its_descendants(scene: Scene) -> None:
    past = await lived(scene)
    first = past.tokens
    await past.refresh()
    await past.refresh(first["refresh_token"])
    asking = await administering(scene.world)
    told = ok(await asking.post("/audit/token-history", json={"token": first["access_token"]}))
    assert told["kind"] == "access"
    assert told["sha256"] == sha256(first["access_token"].encode()).hexdigest()
    assert told["state"] == "grant_ended"
    assert (told["client_id"], told["client_name"]) == (scene.shop.client_id, "Shop")
    assert told["account_id"] == scene.person.account_id
    assert told["scope"] == "orders catalog:read"
    assert told["secret"]["version"] == 1
    of_grant = [each["type"] for each in told["events"] if each["stream"] == f"grant:{told['grant_id']}"]
    assert of_grant == [
        "grant.code_issued",
        "grant.code_redeemed",
        "grant.tokens_issued",
        "grant.tokens_refreshed",
        "grant.refresh_replayed",
        "grant.ended",
    ]
    assert "in two hands" in told["events"][-1]["meaning"]
    assert all(each["meaning"].endswith(".") for each in told["events"])
    by_digest = ok(await asking.post("/audit/token-history", json={"sha256": told["sha256"]}))
    assert by_digest == told


async def test_a_history_is_found_by_an_id_too(scene: Scene) -> None:
    past = await lived(scene)
    asking = await administering(scene.world)
    told = ok(await asking.post("/audit/token-history", json={"token": past.tokens["access_token"]}))
    by_jti = ok(await asking.post("/audit/token-history", json={"id": told["sha256"][:32]}))
    assert by_jti["sha256"] == told["sha256"]
    by_grant = ok(await asking.post("/audit/token-history", json={"id": told["grant_id"]}))
    assert (by_grant["kind"], by_grant["grant_id"]) == ("code", told["grant_id"])
    by_version = ok(await asking.post("/audit/token-history", json={"id": told["secret"]["id"]}))
    assert by_version["kind"] == "client_secret"
    problem(await asking.post("/audit/token-history", json={"id": "nobody"}), 404)
    problem(await asking.post("/audit/token-history", json={"id": "nobody", "sha256": "0" * 64}), 400, field="id")


async def test_client_secret_history_has_rotations_and_ends(scene: Scene) -> None:
    world, shop = scene.world, scene.shop
    assert shop.secret is not None
    second, secret_id = await rotate(world, shop, others_expire_in=60)
    asking = await administering(world)
    told = ok(await asking.post("/audit/token-history", json={"token": shop.secret}))
    assert (told["kind"], told["state"], told["grant_id"]) == ("client_secret", "active", None)
    assert told["expires_at"] == format_rfc3339(world.clock.now() + 60 * SECOND)
    assert [each["type"] for each in told["events"]] == [
        "client.registered",
        "client.secret_issued",
        "client.secret_rotated",
    ]
    assert told["events"][-1]["meaning"] == "Version 2 of the secret was made; the others end after 60 seconds."
    rotation = told["events"][-1]["position"]
    world.clock.advance(60)
    found = await asked(asking, shop.secret)
    assert (found["reason"], found["decided_by"]) == ("expired", [rotation])
    facts = {"secret_id": secret_id}
    revoked = await world.execute(any_command(client.stream(shop.client_id), client_secret.revoke, facts))
    found = await asked(asking, second.reveal())
    assert (found["kind"], found["reason"]) == ("client_secret", "revoked")
    assert found["decided_by"] == [revoked.recorded[0].position]


async def test_a_client_secret_that_begins_later_is_not_active_before(scene: Scene) -> None:
    world, shop = scene.world, scene.shop
    secret, _ = await rotate(world, shop, not_before_in=60)
    (rotated,) = await world.events("client.secret_rotated")
    asking = await administering(world)
    for seconds, reason in ((59, "not_yet_issued"), (60, "active")):
        found = await asked(asking, secret.reveal(), at=format_rfc3339(world.clock.now() + seconds * SECOND))
        assert (found["kind"], found["active"], found["reason"]) == ("client_secret", reason == "active", reason)
        assert rotated.position in found["decided_by"]
    for seconds, state, status in ((0, "not_yet_issued", 401), (60, "active", 200)):
        world.clock.advance(seconds)
        told = ok(await asking.post("/audit/token-history", json={"token": secret.reveal()}))
        found = ok(await asking.post("/leaks/investigate", json={"secret": secret.reveal()}))
        assert (told["state"], found["state"]) == (state, state)
        meaning = "Version 2 of the secret was made, to work after 60 seconds; the others stay as they were."
        assert told["events"][-1]["meaning"] == meaning
        # What begins later is ended by a containment all the same.
        assert found["containment"]["secrets_ended"] == 1
        body = {"token": "nothing"}
        answer = await world.client.post("/oauth/revoke", data=body, auth=(shop.client_id, secret.reveal()))
        assert answer.status_code == status
    await disable_client(world, shop)
    assert (await asked(asking, secret.reveal()))["reason"] == "client_disabled"


async def test_a_browsers_session_is_known_after_it_ended(scene: Scene) -> None:
    world = scene.world
    await lived(scene)
    (started,) = await world.events("session.started")
    sha = started.event.sha256
    asking = await administering(world)
    told = ok(await asking.post("/audit/token-history", json={"sha256": sha}))
    assert (told["kind"], told["state"], told["account_id"]) == ("session", "active", scene.person.account_id)
    disabled = any_command(account.stream(scene.person.account_id), account.disable, {"leaves_no_administrator": False})
    await world.execute(disabled)
    assert ok(await asking.post("/audit/token-state", json={"sha256": sha}))["reason"] == "person_disabled"


# Long ago ---------------------------------------------------------------------------------------------------------


async def prune_everything(past: Past) -> None:
    """As the background does, after all that was issued has expired."""
    ledger = past.world.services.ledger
    for prune in (tokens.prune, sessions.prune):
        while await ledger.maintain(prune, ledger.clock.now(), 100):
            pass


async def test_history_and_state_outlive_the_rows_of_tokens(scene: Scene) -> None:
    past = await lived(scene)
    raw = past.tokens["access_token"]
    before = await asked(await administering(scene.world), raw)
    scene.world.clock.advance(YEAR)
    await prune_everything(past)
    digest = sha256(raw.encode()).digest()
    assert await scene.world.services.ledger.look(present.find_token, digest) is None
    assert await scene.world.services.ledger.read(digests.find, digest) is not None
    asking = await administering(scene.world)
    told = ok(await asking.post("/audit/token-history", json={"token": raw}))
    assert told["state"] == "expired"
    assert told["grant_id"]
    again = await asked(asking, raw, at=before["at"], position=before["as_of_position"])
    assert again == before
    by_jti = ok(await asking.post("/audit/token-history", json={"id": told["sha256"][:32]}))
    assert by_jti["sha256"] == told["sha256"]


async def test_pruned_used_refresh_token_still_ends_its_grant(scene: Scene) -> None:
    past = await lived(scene)
    first = past.tokens["refresh_token"]
    for _ in range(3):
        scene.world.clock.advance(20 * 86_400)
        assert "access_token" in await past.refresh()
    await prune_everything(past)
    digest = sha256(first.encode()).digest()
    assert await scene.world.services.ledger.look(present.find_token, digest) is None
    assert (await past.refresh(first))["error"] == "invalid_grant"
    (ended,) = await scene.world.events("grant.ended")
    assert ended.event.reason == "refresh_replay"
    assert (await past.refresh())["error"] == "invalid_grant"


# State of anything ------------------------------------------------------------------------------------------------


async def test_any_aggregate_is_shown_as_it_was(scene: Scene) -> None:
    world = scene.world
    asking = await administering(world)
    await disable_client(world, scene.shop)
    streams = {each.stream for each in await world.events()}
    assert len({stream.partition(":")[0] for stream in streams}) >= 6
    for stream in streams:
        for position in (1, await world.head()):
            found = ok(await asking.get(f"/audit/state/{stream}", params={"position": position}))
            history = [each for each in await world.events(stream=stream) if each.position <= position]
            assert (found["stream"], found["version"]) == (stream, len(history))
            assert found["as_of_position"] == position
    shop = client.stream(scene.shop.client_id)
    now = ok(await asking.get(f"/audit/state/{shop}"))
    assert (now["state"]["enabled"], now["state"]["client_name"]) == (False, "Shop")
    # Also what stands in lists is shown as events show it.
    assert [parse_rfc3339(each["created_at"]) for each in now["state"]["secrets"]] == [
        each.time for each in await world.events("client.secret_issued", stream=shop)
    ]
    earlier = ok(await asking.get(f"/audit/state/{shop}", params={"position": now["as_of_position"] - 20}))
    assert earlier["version"] <= now["version"]
    for nothing in ("client:nobody", "nonsense:1", "nonsense"):
        problem(await asking.get(f"/audit/state/{nothing}"), 404)
    problem(await asking.get(f"/audit/state/{shop}", params={"at": "noon"}), 400, field="at")
    assert "nonsense" not in str(await world.events("audit.*"))


async def test_sealed_values_of_a_state_are_rendered_as_in_events(scene: Scene) -> None:
    stream = account.stream(scene.person.account_id)
    seeing = await administering(scene.world, "audit:read", "audit:personal")
    blind = await administering(scene.world, "audit:read")
    shown = ok(await seeing.get(f"/audit/state/{stream}"))
    assert shown["state"]["username"] == scene.person.username
    assert shown["state"]["password_hash"] is None
    assert shown["sealed"] == ["state.password_hash"]
    hidden = ok(await blind.get(f"/audit/state/{stream}"))
    assert hidden["state"]["username"] is None
    assert set(hidden["sealed"]) == {"state.username", "state.email", "state.password_hash"}
    registered = shown["as_of_position"]
    await erase(scene.world, scene.person.account_id)
    then = ok(await seeing.get(f"/audit/state/{stream}", params={"position": registered}))
    assert set(then["erased"]) == {"state.username", "state.email", "state.password_hash"}
    assert then["state"]["username"] is None


async def test_a_history_tells_what_it_rests_on_and_how_it_stood(scene: Scene) -> None:
    past = await lived(scene)
    raw, world = past.tokens["access_token"], scene.world
    world.clock.advance(60)
    await world.client.post("/oauth/revoke", data={"token": raw}, auth=scene.shop.auth)
    (revoked,) = await world.events("grant.token_revoked")
    world.clock.advance(60)
    await world.client.post("/oauth/introspect", data={"token": raw}, auth=scene.shop.auth)
    await world.services.token_uses.record(everything=True)
    disabled = await disable_client(world, scene.shop)
    asking = await administering(world)
    found = ok(await asking.post("/audit/token-history", json={"token": raw}))
    positions = [each["position"] for each in found["events"]]
    assert {found["consent"]["position"], found["sign_in"]["position"]} <= set(positions)
    assert (found["consent"]["scope"], found["sign_in"]["amr"]) == (found["scope"].split(), ["pwd"])
    assert (found["uses"]["count"], found["uses"]["after_end"]) == (1, 1)
    standing = found["standing"]
    assert [(each["state"], each["to"]) for each in standing["token"]] == [
        ("active", format_rfc3339(revoked.time)),
        ("revoked", None),
    ]
    assert [each["position"] for each in standing["client"]][1:] == [disabled]
    assert [each["state"] for each in standing["client"]] == ["enabled", "disabled"]
    assert [each["state"] for each in standing["secret"]] == ["active", "client_disabled"]
    assert [each["state"] for each in standing["person"]] == ["enabled"]
    by_secret = ok(await asking.post("/audit/token-history", json={"token": scene.shop.secret}))
    assert (by_secret["consent"], by_secret["sign_in"]) == (None, None)
    assert by_secret["standing"]["token"] == by_secret["standing"]["secret"] == standing["secret"]
