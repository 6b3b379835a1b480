"""Scanners that are not ours find nothing in what a run of every flow leaves behind: database, log, exports."""

import io
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex

import pytest

from eventstore import export_import
from eventstore.database.engines import snapshot
from eventstore.mapper import authenticate
from security.clock import ManualClock
from security.keyring import Keyring
from security.tokens import DEFAULT, Kind
from security.vault import Vault
from tests.scenarios.leak_flows import GITLAB_TOKEN, published
from tests.scenarios.secret_flows import STEPS, exported
from tests.scenarios.test_no_secret import log as log
from tests.scenarios.test_no_secret import prepare
from tests.scenarios.traces import database
from tests.scenarios.watching import Watch
from tests.scenarios.world import open_world
from tests.security.scanners import FILES, scanner_for

pytestmark = pytest.mark.anyio

PIECE = 50_000
"""Characters of one file that is scanned; a longer line is one alone."""


async def leave(url: str, directory: Path, keyring: Keyring, log: io.StringIO) -> dict[str, bytes]:
    """Plays every flow; what is left of it, part by part."""
    keys = directory / "github-keys.json"
    keys.write_bytes(published())
    given = {
        "github_keys_file": keys,
        "gitlab_token": GITLAB_TOKEN,
        "dead_secret_incidents": True,
        "registration": "open",
    }
    left = {}
    async with open_world(
        url, directory, keyring, ManualClock(), throttle=False, log_requests=True, log_level="debug", **given
    ) as world:
        flows = await prepare(world, Watch(), lambda beginning: f"{beginning}{token_hex(8)}")
        for step in STEPS:
            await step(flows)
        for number, content in enumerate(await exported(flows)):
            left[f"export{number}"] = content
        left["metrics"] = (await world.operators.get("/metrics")).content
    file = io.BytesIO()
    with snapshot(url) as connection:
        authenticate(connection, Vault(keyring))
        export_import.write(connection, file)
    left |= {"carried": file.getvalue(), "log": log.getvalue().encode()}
    left |= {f"database-{name}": content for name, content in database(url)}
    return left


async def test_they_find_nothing_in_what_is_left_and_would_have(
    database_url: str, tmp_path: Path, keyring: Keyring, log: io.StringIO
) -> None:
    (tmp_path / "server").mkdir()
    left = await leave(database_url, tmp_path / "server", keyring, log)
    assert {"database-stored_events", "carried", "log", "export0"} <= left.keys()
    seen: set[bytes] = set()
    pieces = {
        f"{name}-{number}.txt": piece
        for name, content in left.items()
        for number, piece in enumerate(pieced(content, seen))
    }
    for what in ("clean", "planted"):
        (tmp_path / what).mkdir()
        for name, piece in pieces.items():
            planted = f"{DEFAULT.mint(Kind.REFRESH_TOKEN).reveal()}\n".encode() if what == "planted" else b""
            (tmp_path / what / name).write_bytes(piece + planted)
    for name in FILES:
        scanner = scanner_for(name, tmp_path, DEFAULT)
        assert scanner.scan(tmp_path / "clean") == {}, name
        assert scanner.scan(tmp_path / "planted") == Counter({Kind.REFRESH_TOKEN: len(pieces)}), name


def pieced(content: bytes, seen: set[bytes]) -> Iterator[bytes]:
    """Its text, in whole lines: scanners pass over what does not look like text, and read long files in parts. A line
    that was `seen` is left out, since they look at each line by itself, and an event stands in half a dozen places."""
    lines: list[bytes] = []
    size = 0
    for line in re.split(rb"[^ -~]+", content):
        if line in seen:
            continue
        seen.add(line)
        if size + len(line) > PIECE:
            yield b"\n".join([*lines, b""])
            lines, size = [], 0
        lines.append(line)
        size += len(line)
    yield b"\n".join([*lines, b""])
