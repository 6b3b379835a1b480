"""oidc-agent, which keeps a person's grants for their command line and hands out access tokens like ssh-agent keys."""

import asyncio
import re
import shlex
import shutil
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests import plain_http
from tests.clients.conftest import Stage
from tests.clients.program import WITHIN
from tests.clients.recipes import ISSUER, filled
from tests.scenarios.world import World
from tests.started import free_port, started

# For whoever is not there to be asked, and nobody's browser is opened; its output is read while it comes.
ALONE = ("--no-url-call", "--no-scheme", "--pw-env", "--confirm-yes")


@pytest.fixture
async def environment(tmp_path: Path) -> AsyncIterator[dict[str, str]]:
    """That of a person whose home is the test's folder, with an agent that runs."""
    if shutil.which("oidc-gen") is None:
        pytest.skip("no oidc-agent")
    (tmp_path / ".oidc-agent").mkdir(mode=0o700)
    found = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "OIDC_SOCK": str(tmp_path / "agent"),
        "OIDC_ENCRYPTION_PW": "only for this test",
    }
    agent = ("oidc-agent", "--console", f"--socket-path={tmp_path}/agent")
    with started(agent, env=found, cwd=tmp_path, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL):
        async with asyncio.timeout(WITHIN):
            while not (tmp_path / "agent").exists():
                await asyncio.sleep(0.05)
        yield found


async def test_tokens_on_the_command_line(
    stage: Stage,
    world: World,  # noqa: F811
    environment: dict[str, str],
) -> None:
    callback = f"http://localhost:{free_port()}"
    client = await world.register_client("Agent", redirect_uris=(callback,), scope=("openid", "offline_access"))
    assert client.secret is not None
    values = {
        ISSUER: stage.issuer,
        "CLIENT_ID": client.client_id,
        "CLIENT_SECRET": client.secret,
        "http://localhost:4242": callback,
    }
    generate, ask = filled("oidc-agent", values).replace("\\\n", "").splitlines()
    async with asyncio.timeout(WITHIN):
        generating = await asyncio.create_subprocess_exec(
            *("stdbuf", "-oL", *shlex.split(generate), *ALONE),
            env=environment,
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=STDOUT,
        )
        printed = ""
        while (address := re.search(rf"{stage.issuer}/oauth/authorize\S+", printed)) is None:
            more = await generating.stdout.readline()
            assert more, printed
            printed += more.decode()
        async with plain_http.caller() as browser:
            await browser.get(await stage.approve(address[0], callback))
        said, _ = await generating.communicate()
        assert b"Everything setup correctly!" in said
        asked = await asyncio.create_subprocess_exec(*shlex.split(ask), env=environment, stdout=PIPE)
        token, _ = await asked.communicate()
    async with plain_http.caller(stage.issuer) as caller:
        answer = await caller.post("/oauth/introspect", data={"token": token.decode().strip()}, auth=client.auth)
    assert answer.json()["sub"] == stage.person.account_id
