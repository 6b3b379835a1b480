"""No secret stays: whole flows in any order, then a search through database, log and answers for all that they used.
And scanners that are not ours look through what is left of them."""

import asyncio
import io
import json
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from api.http.log_lines import configure
from api.notifications.delivering import Notifier
from eventstore import export_import
from eventstore.database.engines import snapshot
from eventstore.mapper import authenticate
from projections import outbox
from security.clock import ManualClock, SystemClock
from security.keyring import Keyring
from security.vault import Vault
from tests.api.notifications.receiver import SECRET, Receiver, receiving
from tests.databases import BACKENDS, Databases
from tests.explore import exploring
from tests.logging_restored import restoring_logging
from tests.scenarios.administration import EVERYTHING
from tests.scenarios.asking import set_scene
from tests.scenarios.dashboards.platform import make_dashboard
from tests.scenarios.secrecy.leak_flows import GITLAB_TOKEN, published
from tests.scenarios.secrecy.scanned import scan
from tests.scenarios.secrecy.secret_flows import STEPS, exported
from tests.scenarios.secrecy.traces import database, forms, found, holds
from tests.scenarios.secrecy.watching import Flows, Step, Watch
from tests.scenarios.world import World, open_world

ORDERS = 3
"""Orders of the steps that whoever explores tries on each database; each of them runs all the steps."""

SHUFFLED = [*STEPS[1::2], *reversed(STEPS[::2])]
"""The order that is always tried."""


@pytest.fixture
def log() -> Any:
    """All that the server writes to its log, at every level; logging is afterwards as it was."""
    stream = io.StringIO()
    with restoring_logging():
        configure(format="json", level="debug", stream=stream)
        yield stream


def test_the_search_finds_every_form() -> None:
    value = 'glog_at_a&b c"é'
    for form in forms(value):
        assert holds(b"x" + form + b"y", value), form
    assert holds(b"...PAULA@EXAMPLE.TEST", "paula@example.test", any_case=True)
    assert not holds(b"glog_at_a&b", value)


@given(
    texts=st.lists(st.binary(max_size=40), min_size=1, max_size=4),
    at=st.integers(0, 3),
    value=st.text("aé &<", min_size=6, max_size=24),
    chosen=st.integers(0, 20),
)
def test_all_at_once_is_found_what_each_text_holds(texts: list[bytes], at: int, value: str, chosen: int) -> None:
    written = sorted(forms(value))
    texts[at % len(texts)] += written[chosen % len(written)]
    for any_case, more in product((False, True), ((), (bytes(1 << 18),))):
        held = {number for number, text in enumerate(texts) if holds(text, value, any_case=any_case)}
        assert {number for number, _ in found([*texts, *more], [value], any_case=any_case)} == held


@pytest.mark.parametrize("backend", BACKENDS)
@settings(
    max_examples=ORDERS,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate) if exploring() else (Phase.explicit,),
    suppress_health_check=list(HealthCheck),
    report_multiple_bugs=False,
)
@example(order=SHUFFLED, spice="é<'漢")
@given(order=st.permutations(STEPS), spice=st.text("aé ß&<\"'%+/漢", max_size=4))
async def test_nothing_secret_stays(
    backend: Any,
    databases: Databases,
    keyring: Keyring,
    tmp_path_factory: pytest.TempPathFactory,
    log: io.StringIO,
    order: list[Step],
    spice: str,
) -> None:
    url = databases.create(backend)
    try:
        left = await play(url, tmp_path_factory.mktemp("no-secret"), keyring, log, order, spice)
    finally:
        databases.drop(url)
    assert {"database-stored_events", "carried", "log", "export0"} <= left.keys()
    scan(left, tmp_path_factory.mktemp("scanned"))


async def play(
    url: str, directory: Path, keyring: Keyring, log: io.StringIO, order: list[Step], spice: str
) -> dict[str, bytes]:
    """Searches through all that the flows leave; what that is, part by part."""
    watch = Watch()

    def unique(beginning: str) -> str:
        ending = spice if beginning in ("pw-", "wrong-") else ""
        return f"{beginning}{token_hex(8)}{ending}"

    # A receiver takes no signature of another time than its own.
    clock = ManualClock(SystemClock().now())
    with receiving() as receiver:
        given = telling(directory, receiver) | {"throttle": False, "log_requests": True, "log_level": "debug"}
        given["registration"] = "open"
        async with open_world(url, directory, keyring, clock, **given) as world:
            flows = await prepare(world, watch, unique)
            for step in order:
                await step(flows)
            left = {f"export{number}": content for number, content in enumerate(await exported(flows))}
            metrics = await world.operators.get("/metrics")
            assert metrics.status_code == 200
            left["metrics"] = metrics.content
            kinds = {raw[5:7] for raw in watch.secrets if raw.startswith("glog_")}
            assert kinds == {"at", "rt", "ac", "cs", "ss", "ia", "ra"}
            await told(world)
            # What is no secret is found, so the search does look.
            assert any(holds(content, flows.shop.client_id) for _, content in database(url))
            await search(url, watch, log)
        # And once more what a stopped server leaves behind: its last counts, and no write-ahead log.
        await search(url, watch, log)
        assert {each["type"] for each in receiver.taken} >= {"incident.contained", "client.secret_expired_used"}
        sent = json.dumps([receiver.taken, receiver.requests]).encode()
        assert [*found([sent], watch.secrets | watch.personal)] == []
    left |= {"carried": search_carried(url, watch, keyring), "log": log.getvalue().encode()}
    return left | {f"database-{name}": content for name, content in database(url)}


def telling(directory: Path, receiver: Receiver) -> dict[str, Any]:
    """The settings of a server that tells, and is told by GitHub and GitLab."""
    (directory / "webhook").write_text(SECRET)
    (directory / "github-keys.json").write_bytes(published())
    webhook = {"url": receiver.url, "secret_file": str(directory / "webhook"), "name": "pager"}
    return {
        "webhooks": json.dumps([webhook]),
        "allow_private_urls": True,
        "github_keys_file": directory / "github-keys.json",
        "gitlab_token": GITLAB_TOKEN,
        "dead_secret_incidents": True,
    }


async def told(world: World) -> None:
    """Returns once everybody has been told of everything."""
    # On a busy machine the flows take longer than the receiver takes a signature for one of its own time, and what it
    # refused would be due at a time that never comes.
    world.clock.set(SystemClock().now())
    notifier = Notifier(world.services.ledger, world.settings)
    await notifier.distribute()
    async with asyncio.timeout(60):
        while await world.services.ledger.read(outbox.undelivered, dead_only=False, limit=1):
            await notifier.deliver("pager")
            await asyncio.sleep(0)


def search_carried(url: str, watch: Watch, keyring: Keyring) -> bytes:
    """The file in which a log is carried to another database."""
    file = io.BytesIO()
    with snapshot(url) as connection:
        authenticate(connection, Vault(keyring))
        export_import.write(connection, file)
    content = file.getvalue()
    assert content
    assert [*found([content], watch.secrets | watch.personal)] == []
    return content


async def prepare(world: Any, watch: Watch, unique: Any) -> Flows:
    """The parties, whose secrets and names are watched from here on."""
    scene = await set_scene(world)
    assert scene.shop.secret is not None
    password, name = unique("pw-"), unique("paul-")
    someone = await world.register_person(name, password=password)
    dashboard = await make_dashboard(world)
    token = await world.token(*EVERYTHING)
    watch.secrets |= {password, scene.shop.secret, token, *(secret.reveal() for secret in dashboard.secrets)}
    watch.personal |= {name, someone.email}
    flows = Flows(world, type(scene)(world, someone, scene.shop), watch, dashboard, token, unique)
    # With a token's first use the caller's user agent is recorded. A password there is a text like any other: nobody
    # can know it, so that what is sent there later on must not be the first.
    assert (await flows.admin.get("/admin/clients")).status_code == 200
    return flows


async def search(url: str, watch: Watch, log: io.StringIO) -> None:
    parts = dict(database(url))
    assert [(list(parts)[number], value) for number, value in kept(watch, list(parts.values()))] == []
    written = log.getvalue().encode()
    assert written
    assert [*found([written], watch.secrets | watch.personal)] == []
    assert watch.leaks() == []


def kept(watch: Watch, texts: Sequence[bytes]) -> list[tuple[int, str]]:
    return [*found(texts, watch.secrets), *found(texts, watch.personal, any_case=True)]
