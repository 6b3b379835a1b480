"""The blast radius again, by a join over an audit export that knows nothing of how the server counts."""

import asyncio
import json
from collections import defaultdict
from itertools import pairwise
from typing import Any

import httpx
import pytest

from security.clock import SECOND, parse_rfc3339
from tests.scenarios.administration import administering, ok
from tests.scenarios.asking import Scene
from tests.scenarios.histories import lived, rotate
from tests.scenarios.world import Client, World

pytestmark = pytest.mark.anyio


class Export:
    """Every event of an export, and what can be concluded from them alone."""

    def __init__(self, lines: str) -> None:
        self.events: list[dict[str, Any]] = [json.loads(line) for line in lines.splitlines()]

    def tokens(self, secret_id: str) -> dict[str, dict[str, Any]]:
        """The tokens that a secret version authenticated, by digest, each with its kind, grant, person and life."""
        found: dict[str, dict[str, Any]] = {}
        for event in self.events:
            data = event["data"]
            if event["type"] not in ("grant.tokens_issued", "grant.tokens_refreshed"):
                continue
            if data.get("secret_id") != secret_id:
                continue
            for kind, lifetime in (("access_token", "lifetime"), ("refresh_token", "refresh_lifetime")):
                if kind in data:
                    found[data[kind]] = {
                        "kind": kind,
                        "grant": event["stream"],
                        "account": data.get("account_id"),
                        "position": event["position"],
                        "until": parse_rfc3339(event["time"]) + data[lifetime] * SECOND,
                    }
        return found

    def codes(self, secret_id: str) -> int:
        """Codes that were redeemed with it."""
        return sum("code" in each["data"] for each in self.events if each["data"].get("secret_id") == secret_id)

    def alive(self, secret_id: str, client_id: str, now: int) -> list[dict[str, Any]]:
        """Those that nothing has ended: expiry, a successor, a revocation, the end of grant, secret or client."""
        ended, over = set(), defaultdict(int)
        used: dict[str, str] = {}
        for event in self.events:
            data, stream = event["data"], event["stream"]
            match event["type"]:
                case "grant.ended":
                    over[stream] = event["position"]
                case "grant.token_revoked":
                    ended.add(data["access_token"])
                case "grant.tokens_issued" | "grant.tokens_refreshed" if "refresh_token" in data:
                    if stream in used:
                        ended.add(used[stream])
                    used[stream] = data["refresh_token"]
                case "client.disabled":
                    over[stream] = event["position"]
                case "client.secret_revoked" if data["tokens"] == "revoke":
                    over[data["secret_id"]] = event["position"]
        cut = max(over[f"client:{client_id}"], over[secret_id])
        return [
            each
            for sha256, each in self.tokens(secret_id).items()
            if sha256 not in ended
            and each["until"] > now
            and over[each["grant"]] < each["position"]
            and cut < each["position"]
        ]

    def radius(self, secret_id: str, client_id: str, now: int) -> dict[str, dict[str, int]]:
        """The contract's `derived`."""
        tokens, alive = self.tokens(secret_id), self.alive(secret_id, client_id, now)

        def of(kind: str) -> dict[str, int]:
            return {
                "total": sum(each["kind"] == kind for each in tokens.values()),
                "live": sum(each["kind"] == kind for each in alive),
            }

        return {
            "grants": {
                "total": len({each["grant"] for each in tokens.values()}),
                "live": len({each["grant"] for each in alive}),
            },
            "codes": {"total": self.codes(secret_id), "live": 0},
            "access_tokens": of("access_token"),
            "refresh_tokens": of("refresh_token"),
        }

    def people(self, secret_id: str, client_id: str, now: int) -> int:
        return len({each["account"] for each in self.alive(secret_id, client_id, now)} - {None})


async def compare(world: World, admin: httpx.AsyncClient, client_id: str) -> None:
    """Every secret version of the client, by both ways."""
    answer = await admin.get("/audit/export", params={"format": "jsonl"})
    export, now = Export(answer.text), world.clock.now()
    issued = [
        event["data"]
        for event in export.events
        if event["stream"] == f"client:{client_id}"
        and event["type"] in ("client.secret_issued", "client.secret_rotated")
    ]
    assert issued
    for version in issued:
        found = ok(await admin.post("/leaks/investigate", json={"sha256": version["sha256"]}))
        assert found["derived"] == export.radius(version["secret_id"], client_id, now)
        assert found["containment"]["people_affected"] == export.people(version["secret_id"], client_id, now)
        alive = export.alive(version["secret_id"], client_id, now)
        assert found["containment"]["tokens_ended"] == len(alive)
        listed: list[str] = []
        after: str | None = None
        while True:
            given = {"limit": "3"} | ({"after": after} if after else {})
            page = ok(await admin.get(f"/leaks/investigate/{version['sha256']}/tokens", params=given))
            listed += [each["sha256"] for each in page["items"]]
            after = page["next"]
            if after is None:
                break
        assert sorted(listed) == sorted(export.tokens(version["secret_id"]))


async def test_it_is_the_same_after_everything_a_secret_undergoes(scene: Scene) -> None:
    world, admin = scene.world, await administering(scene.world)
    first = await lived(scene)
    second = await lived(scene)
    await first.refresh()
    await compare(world, admin, scene.shop.client_id)
    used = first.tokens["refresh_token"]
    secret, _ = await rotate(world, scene.shop)
    renewed = Client(scene.shop.client_id, secret.reveal(), scene.shop.redirect_uri)
    answer = await world.client.post(
        "/oauth/token", data={"grant_type": "refresh_token", "refresh_token": used}, auth=renewed.auth
    )
    assert "access_token" in answer.json()
    await world.client.post("/oauth/revoke", data={"token": second.tokens["access_token"]}, auth=renewed.auth)
    await compare(world, admin, scene.shop.client_id)
    # The used token comes again: the grant is in two hands and ends.
    again = {"grant_type": "refresh_token", "refresh_token": used}
    assert (await world.client.post("/oauth/token", data=again, auth=renewed.auth)).status_code == 400
    await compare(world, admin, scene.shop.client_id)
    world.clock.advance(900)
    admin = await administering(world)
    await compare(world, admin, scene.shop.client_id)
    ok(await admin.post("/leaks/contain", json={"secret": scene.shop.secret}))
    await compare(world, admin, scene.shop.client_id)


ROTATIONS = 50
CLIENTS = 8


async def test_8_clients_ask_on_while_their_secrets_rotate_50_times(world: World) -> None:
    admin = await administering(world)
    clients = [
        await world.register_client(f"Job {number}", grant_types=("client_credentials",), scope=("orders",))
        for number in range(CLIENTS)
    ]
    current = {client.client_id: client.secret or "" for client in clients}
    statuses: list[int] = []
    rotating = True

    async def ask(client_id: str) -> None:
        while rotating:
            auth = (client_id, current[client_id])
            answer = await world.client.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=auth)
            statuses.append(answer.status_code)

    async def turn() -> None:
        for _ in range(ROTATIONS):
            # The former secret overlaps for a minute, and its holder learns of the new one a while later.
            body = {"others_expire_in": 60}
            answers = await asyncio.gather(
                *(admin.post(f"/admin/clients/{client_id}/secrets", json=body) for client_id in current)
            )
            made = {client_id: ok(answer, 201) for client_id, answer in zip(current, answers, strict=True)}
            world.clock.advance(5)
            answered = len(statuses)
            while len(statuses) < answered + 2 * CLIENTS:
                await asyncio.sleep(0)
            current.update({client_id: learnt["client_secret"] for client_id, learnt in made.items()})

    asking = [asyncio.create_task(ask(client.client_id)) for client in clients]
    await turn()
    rotating = False
    await asyncio.gather(*asking)
    assert set(statuses) == {200}
    assert len(statuses) >= CLIENTS * ROTATIONS
    for client in clients:
        versions = ok(await admin.get(f"/admin/clients/{client.client_id}/secrets", params={"limit": "200"}))["items"]
        assert len(versions) == ROTATIONS + 1
        assert [each["state"] for each in versions][:-12] == ["expired"] * (ROTATIONS - 11)
        assert sum(each["use_count"] for each in versions) >= ROTATIONS
        # They were used beside their successors.
        beside = [(old["last_used_at"] or "") > new["created_at"] for old, new in pairwise(versions)]
        assert sum(beside) > ROTATIONS // 2
