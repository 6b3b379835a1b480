"""Somebody puts well-formed events into the log, with all that the server's own role may do."""

import asyncio
import json
from contextlib import suppress
from hashlib import sha256
from typing import Any

import httpx
import pytest
from sqlalchemy import insert, select, update

from domain.client_secret import find as find_version
from eventstore.database.engines import migrating
from eventstore.stored import events, head
from eventstore.transparency import published
from eventstore.unavailable import Forged
from projections import tokens
from security.tokens import Kind
from tests.scenarios.administration import administering
from tests.scenarios.asking import Scene
from tests.scenarios.jobs import token
from tests.scenarios.world import World

pytestmark = pytest.mark.anyio


async def put(world: World, stream: str, tag: str, data: dict[str, Any]) -> int:
    """An event at the head, as like one of the server's as somebody without a key can make it; its position."""
    engine = migrating(world.settings.database_url)
    with engine.begin() as connection:
        last = json.loads(connection.scalars(select(events.c.state).order_by(events.c.id.desc()).limit(1)).one())
        of_stream = select(events.c.originator_version).where(events.c.originator_id == stream)
        version = (connection.scalars(of_stream.order_by(events.c.originator_version.desc())).first() or 0) + 1
        position = last["position"] + 1
        form = last | {"position": position, "id": "forged", "type": tag, "stream": stream, "version": version}
        form |= {"data": data, "mac": last["mac"]}
        row = {"id": position, "originator_id": stream, "originator_version": version, "topic": tag}
        connection.execute(insert(events), row | {"state": json.dumps(form, separators=(",", ":"))})
        connection.execute(update(head).values(position=position))
    engine.dispose()
    # Whatever asks next comes in another turn of the loop.
    await asyncio.sleep(0)
    return int(position)


async def stopped_at(world: World, position: int) -> None:
    """Nothing is written or signed, people are told, and what was known is validated as ever."""
    ready = await world.operators.get("/health/ready")
    assert ready.status_code == 503
    assert ready.json()["checks"]["log"] == f"forged at position {position}"
    assert "grantlog_log_forged 1" in (await world.operators.get("/metrics")).text.replace(".0", "")
    keeper = world.services.transparency.keeper
    assert keeper is not None
    with suppress(Forged):
        await keeper.step()
    assert await world.services.ledger.read(published.size) < position


def refused(answer: httpx.Response) -> None:
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "60"), answer.text
    assert answer.json()["error"] == "temporarily_unavailable"


async def test_forged_secret_opens_nothing_and_stops_all_writing(world: World, scene: Scene) -> None:
    job = await world.register_client("Job", grant_types=("client_credentials",))
    issued = (await token(world, job)).json()["access_token"]
    secret = world.services.format.mint(Kind.CLIENT_SECRET)
    stream = f"client:{job.client_id}"
    data = {"secret_id": "forged", "sha256": secret.hex, "others_expire_in": None, "lifetime": None}
    position = await put(world, stream, "client.secret_rotated", data)

    answer = await world.client.post(
        "/oauth/token", data={"grant_type": "client_credentials"}, auth=(job.client_id, secret.reveal())
    )
    assert answer.status_code in (401, 503), answer.text
    assert "access_token" not in answer.json()
    refused(await token(world, job))
    asked = await world.client.post("/oauth/introspect", data={"token": issued}, auth=job.auth)
    assert asked.json()["active"] is True
    state = await world.services.ledger.state(stream)
    assert find_version(state.secrets, "forged") is None
    await stopped_at(world, position)


async def test_forged_token_with_every_admin_scope_is_no_token(world: World, scene: Scene) -> None:
    admin = await administering(world)
    client_id = (await admin.get("/admin/clients")).json()["items"][0]["client_id"]
    raw = world.services.format.mint(Kind.ACCESS_TOKEN)
    data = {
        "client_id": client_id,
        "account_id": None,
        "secret_id": None,
        "scope": "clients:read clients:write people:write audit:read",
        "grant_type": "client_credentials",
        "access_token": raw.hex,
        "lifetime": 3600,
        "refresh_token": None,
    }
    position = await put(world, "grant:forged", "grant.tokens_issued", data)
    engine = migrating(world.settings.database_url)
    with engine.begin() as connection:
        genuine = dict(connection.execute(select(tokens.TABLE).limit(1)).mappings().one())
        forged = {"digest": sha256(raw.reveal().encode()).digest(), "position": position, "scope": data["scope"]}
        connection.execute(insert(tokens.TABLE), genuine | forged | {"grant_id": "forged"})
    engine.dispose()
    answer = await world.client.get("/admin/clients", headers={"authorization": f"Bearer {raw.reveal()}"})
    assert answer.status_code in (401, 503), answer.text
    assert "items" not in answer.json()
    await stopped_at(world, position)


async def test_an_altered_event_is_not_shown_to_an_auditor(world: World, scene: Scene) -> None:
    auditor = await administering(world, "audit:read", "audit:personal")
    position = await put(world, "client:forged", "client.disabled", {})
    answer = await auditor.get(f"/audit/events/{position}")
    assert answer.status_code in (404, 503), answer.text
