"""Client programs that are not Python, or that are servers themselves.

A program that is played is told its registration on the first line of its standard input and prints the address to lead
the person to; where the browser was sent back to is its second line, and then it prints what it got.
"""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from tests import plain_http
from tests.clients.conftest import CALLBACK, SCOPE, Stage
from tests.scenarios.world import Client
from tests.started import started

WITHIN = 60
"""Seconds until a client that hangs is given up."""


async def play(command: Sequence[str | Path], folder: Path, stage: Stage, client: Client, **more: str) -> Any:
    """The program's flow from beginning to end; what it says it got."""
    process = await asyncio.create_subprocess_exec(
        *command,
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


@asynccontextmanager
async def serving(command: Sequence[str | Path], address: str, folder: Path) -> AsyncIterator[None]:
    """A program that answers at this address, until the end; `folder` is its own, and keeps what it printed."""
    log = folder / "program.log"
    with (
        log.open("wb") as printed,
        started(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=printed, stderr=printed) as process,
    ):
        async with plain_http.caller() as caller:
            for _ in range(WITHIN * 20):
                try:
                    await caller.get(address)
                    break
                except httpx.TransportError:
                    assert process.poll() is None, log.read_text(errors="replace")
                    await asyncio.sleep(0.05)
            else:
                raise AssertionError(f"nobody answers at {address}: {log.read_text(errors='replace')}")
        yield
