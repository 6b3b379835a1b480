"""openid-client of the Node world, which checks more of an answer than any other client: `iss`, types, metadata."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from domain.keys.signing_key import ALGORITHMS
from tests.clients.conftest import CALLBACK, SCOPE, Stage
from tests.scenarios.world import Client, World

WITHIN = 60
"""Seconds until a client that hangs is given up."""


async def play(folder: Path, stage: Stage, client: Client, program: str = "flow.mjs", **more: str) -> Any:
    """The program's flow from beginning to end; what it says it got."""
    process = await asyncio.create_subprocess_exec(
        "node",
        program,
        cwd=folder,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    told = {
        "issuer": stage.issuer,
        "client_id": client.client_id,
        "client_secret": client.secret,
        "redirect_uri": CALLBACK,
        "scope": " ".join(SCOPE),
    } | more
    try:
        async with asyncio.timeout(WITHIN):
            process.stdin.write(json.dumps(told).encode() + b"\n")
            begun = await process.stdout.readline()
            assert begun, (await process.stderr.read()).decode()
            response = await stage.approve(json.loads(begun)["address"])
            process.stdin.write(json.dumps(response).encode() + b"\n")
            ended = await process.stdout.readline()
            assert ended, (await process.stderr.read()).decode()
            await process.wait()
            return json.loads(ended)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        process.stdin.close()


async def test_the_whole_flow(stage: Stage, openid_client: Path) -> None:
    got = await play(openid_client, stage, stage.client)
    assert got["metadata"]["authorization_response_iss_parameter_supported"] is True
    assert got["token"]["token_type"] == "bearer"
    assert set(got["token"]["scope"].split()) == set(SCOPE)
    assert got["refreshed"]["refresh_token"] != got["token"]["refresh_token"]
    assert got["introspected"]["active"] is True
    assert got["introspected"]["sub"] == stage.person.account_id
    assert got["after_access_token"] == {"active": False}
    assert got["after_refresh_token"] == {"active": False}
    assert set(got["own"]["scope"].split()) == set(SCOPE)
    assert got["replay"] == {"error": "invalid_grant", "status": 400}


async def test_the_whole_flow_of_a_public_client(stage: Stage, openid_client: Path) -> None:
    got = await play(openid_client, stage, stage.public)
    assert got["refreshed"]["refresh_token"] != got["token"]["refresh_token"]
    assert got["replay"] == {"error": "invalid_grant", "status": 400}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_signing_in(stage: Stage, openid_client: Path, world: World, algorithm: str) -> None:  # noqa: F811
    shop = await world.register_client(
        "Shop", redirect_uris=(CALLBACK,), scope=("openid", "offline_access"), id_token_signed_response_alg=algorithm
    )
    got = await play(openid_client, stage, shop, "openid.mjs", algorithm=algorithm)
    claims, refreshed = got["claims"], got["refreshed"]
    assert claims["sub"] == refreshed["sub"] == stage.person.account_id
    assert claims["auth_time"] == refreshed["auth_time"]
    assert claims["sid"] == refreshed["sid"]
    assert "nonce" not in refreshed
    assert algorithm in got["metadata"]["id_token_signing_alg_values_supported"]
