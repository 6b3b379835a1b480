"""Events that stand in segments alone: all is answered as before, and a segment that is away is no wrong answer."""

import asyncio
import io
from collections.abc import Collection, Sequence
from contextlib import closing
from itertools import chain
from pathlib import Path
from threading import current_thread, main_thread
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, insert, select, text
from sqlalchemy.exc import DBAPIError

from api.leaks import revoke
from api.leaks.reports import Finding, take
from commands.archiving.segments import drop_archived
from domain.event import SECOND, Recorded
from domain.keys import named_keys
from domain.log import Archived
from eventstore import affected, export_import, issued, search, time_travel
from eventstore.archiving import dropping
from eventstore.database.engines import migrating, snapshot
from eventstore.leaked import keys
from eventstore.leaked.marked import Marked
from eventstore.mapper import authenticate
from eventstore.projecting import packing, requests
from eventstore.projecting.rebuild import Comparison
from eventstore.recorder import store
from eventstore.sealed import dropped as sealed
from eventstore.sealed import packed_rows
from eventstore.sealed.excerpt import IS_DROPPED
from eventstore.sealed.segment import SegmentDamaged
from eventstore.sealed.segment_place import PlaceAway, SegmentPlace
from eventstore.search import Criteria, SearchName, first_at, newest, recorded_forms, stored_forms
from eventstore.stored import events
from eventstore.transparency import published
from eventstore.transparency.comparison import misfits
from eventstore.transparency.published import read_leaves
from eventstore.unavailable import ArchiveAway
from projections import PROJECTIONS, event_index, scopes, tokens
from projections.event_index import IndexRow, NameKind
from projections.named import runs, wide
from security.clock import format_rfc3339
from security.tokens import Format, Kind, digest
from security.vault import Vault
from tests.scenarios.administration import administering, ok, problem
from tests.scenarios.archive.test_archive import DAY, archived, everything_old, positions, problems, signed
from tests.scenarios.asking import Scene
from tests.scenarios.console.way_in import at_console, person_with, sign_in
from tests.scenarios.histories import lived
from tests.scenarios.jobs import token
from tests.scenarios.log.test_checking import change, found_by_a_round
from tests.scenarios.log.test_refollowing import differing, proved
from tests.scenarios.log.test_transparency import pinned
from tests.scenarios.world import SYSTEM, Client, World
from tests.started import PATIENCE
from verifier.proofs import check_receipt
from verifier.source import open_source
from verifier.verdict import Verdict
from verifier.verify import verify

pytestmark = pytest.mark.anyio

DROPPED = select(events.c.id).where(text(IS_DROPPED))


async def drop(world: World, copies: SegmentPlace | None = None) -> list[Archived]:
    # What stood in memory must not help.
    sealed._FORMS.clear()
    return [each async for each in drop_archived(world.services.ledger, SYSTEM, lambda done, goal: None, copies)]


async def verified(world: World) -> Verdict:
    """What the verifier finds, past the server."""
    with closing(open_source(world.settings.database_url)) as source:
        return verify(source, [await pinned(world)])


def answers(connection: Connection, last: int, now: int) -> dict[str, Any]:
    """What the log says of every event up to a position, of every stream there, and of every secret at every moment."""
    told = recorded_forms(connection, range(1, last + 1))
    streams = {each.stream: time_travel.folded(connection, each.stream, last) for each in told}
    found: dict[str, Any] = {"forms": stored_forms(connection, range(1, last + 1)), "streams": streams}
    for secret in (secret for each in told for secret in issued.all_of(each)):
        digest = bytes.fromhex(secret.sha256)
        found[secret.sha256] = [issued.find(connection, digest)] + [
            time_travel.judge(connection, secret, each.position, each.time) for each in told[:: max(1, last // 20)]
        ]
    # What is looked at by SQL, without an event being read.
    everything = [*range(1, last + 1)]
    for version in {secret.secret_id for each in told for secret in issued.all_of(each) if secret.secret_id}:
        found[f"people of {version}"] = affected.people(connection, version, None, 100)
        found[f"issued by {version}"] = affected.issued(connection, version)
    signed_by: set[str] = {key for each in told if (key := getattr(each.event, "signing_key", None)) is not None}
    (signing,) = signed_by
    found["signed"] = Marked("signing_key", signing, 0).issued(connection, last)
    assert (found["signed"].grants, found["signed"].access_tokens) == (2, 2)
    # Sets, as who asks takes them: the database chooses the order.
    found["used"] = [set(each) for each in affected.used_at(connection, everything, now)]
    keyed = {name: [each.position for each in told if name in named_keys.of(each)] for name in names_in(told)}
    assert {each.event.type for each in told if named_keys.of(each)} >= {
        "grant.tokens_issued",
        "client.keys_registered",
    }
    for name, at in keyed.items():
        issued_to = [read(connection, at) for read in (keys.issued, keys.clients, keys.grants, keys.exchanged)]
        found[name] = [*issued_to, keys.holders(connection, at, name), affected.people_at(connection, at, None, 100)]
    return found


def names_in(told: Sequence[Recorded]) -> set[str]:
    return {name for each in told for name in named_keys.of(each)}


def index_rows(connection: Connection) -> list[IndexRow]:
    """What the search index has, a position in each, packed or not."""
    living = runs.apart(map(tuple, connection.execute(select(event_index.TABLE))))
    return [*living, *packing.unpacked(map(tuple, connection.execute(select(wide.TABLE))))]


def by_request(connection: Connection, ids: Collection[str], last: int) -> dict[str, list[int]]:
    """What a search finds by each of these ids of requests, as who asks looks for them."""
    found = {}
    for each in ids:
        names = tuple((NameKind.REQUEST, key) for key in requests.keys(each))
        looked_at = search.search(connection, Criteria((names,), 1, last), last).positions
        found[each] = requests.naming(connection, looked_at, (each,))
    return found


def counts_of(connection: Connection, names: Collection[SearchName], last: int) -> dict[SearchName, list[int]]:
    """How many events the index has under each of these names: of all, of a part, and together with others."""
    stretches = ((1, last), (last // 3, last // 2), (2, last - 1))
    found = {name: [event_index.count(connection, *name, low, high) for low, high in stretches] for name in names}
    issued_with = [name for name in names if name[0] == NameKind.ISSUED_WITH]
    for kind, key in issued_with:
        found[kind, key] += [event_index.counts(connection, kind, [key])[key]]
    assert issued_with
    return found


def searched(connection: Connection, names: Collection[SearchName], last: int) -> dict[SearchName, list[int]]:
    """What a search finds by each of these names."""
    every = {name: search.search(connection, Criteria(((name,),), 1, last), last) for name in names}
    assert {each.resume for each in every.values()} == {None}
    return {name: each.positions for name, each in every.items()}


async def asked(world: World, raw: str, first: int, last: int) -> list[Any]:
    """Some of the questions of an auditor, by way of the API."""
    asking = await administering(world)
    history = ok(await asking.post("/audit/token-history", json={"token": raw}))
    event = ok(await asking.get(f"/audit/events/{first}"))
    bundle = await asking.get(f"/log/tile/entries/000.p/{last}" if last < 256 else "/log/tile/entries/000")
    assert bundle.status_code == 200
    receipt = await asking.get(f"/audit/proofs/{first}")
    assert check_receipt(receipt.text, [await pinned(world)]).exit_code == 0
    state = ok(await asking.post("/audit/token-state", json={"token": raw}))
    return [history.get("events", history), event, bundle.content, state["reason"]]


async def test_every_answer_is_the_same(
    scene: Scene, job: Client, engine: Engine, sqlite_url: str, tmp_path: Path
) -> None:
    (past, old), world = await everything_old(scene, job), scene.world
    ledger, last = world.services.ledger, await world.head()
    now = world.clock.now()
    said = await ledger.read(answers, last, now)
    happened = await world.events()
    uses = {use for each in happened if (use := packing.own_use(each.stream, each.position)) is not None}
    # As an earlier version noted them.
    await ledger.follow(event_index.add, uses.difference(await ledger.read(index_rows)))
    before_drop = await ledger.read(index_rows)
    names = {(NameKind(kind), key) for kind, key, _ in before_drop if kind != NameKind.REQUEST}
    found = await ledger.read(searched, names, last)
    ids = {each.request_id for each in await world.events() if each.request_id is not None}
    found_by_request = await ledger.read(by_request, ids, last)
    counted = await ledger.read(counts_of, names, last)
    known = await asked(world, past.tokens["access_token"], 20, last)
    made = await archived(world, tmp_path / "archive", days=1)
    gone = positions(made)
    assert await drop(world) == made
    told = await world.services.ledger.read(dropping.dropped)
    assert told == {each.sha256 for each in made}
    with engine.connect() as connection:
        packed = {row[0] for row in packed_rows.between(connection, 1, last, last)}
        assert {*connection.scalars(DROPPED), *packed} == gone
        assert len(packed) > len(gone) // 2
    assert len(gone) > last // 4
    assert await drop(world) == []
    with pytest.raises(DBAPIError), engine.begin() as connection:
        connection.execute(text("UPDATE stored_events SET state = '' WHERE id = 1"))

    # What is searched for, also where the index has no row of it any more.
    assert await ledger.read(searched, names, last) == found
    assert await ledger.read(by_request, ids, last) == found_by_request
    assert gone.intersection(chain.from_iterable(found_by_request.values()))
    own = {row for row in uses if row[2] in gone}
    # How many events name a grant is not asked of the index.
    left_alone = {name for name in names if name[0] != NameKind.GRANT and name not in {row[:2] for row in own}}
    assert await ledger.read(counts_of, left_alone, last) == {name: counted[name] for name in left_alone}
    left = set(before_drop).difference(await ledger.read(index_rows))
    by_minutes = {row for row in before_drop if row[0] == NameKind.REQUEST and row[2] in gone}
    # Of what lives among archived events too.
    of_grants = {row for row in before_drop if row[0] == NameKind.GRANT and row[2] <= max(gone)}
    assert left == own | by_minutes | of_grants
    assert of_grants
    assert own
    assert differing(proved(world, engine)) == []

    # What is asked about the past.
    assert await ledger.read(answers, last, now) == said
    assert (await asked(world, past.tokens["access_token"], min(gone), last))[2:] == known[2:]
    assert (await asked(world, past.tokens["access_token"], 20, last))[0] == known[0]
    # What walks along the log.
    await signed(world)
    sealed._FORMS.clear()
    assert await found_by_a_round(world) == []
    assert await ledger.read(misfits, read_leaves, {}, 10) == {}
    verdict = await verified(world)
    assert (verdict.exit_code, verdict.checked) == (0, await ledger.read(published.size))
    # A projection made again has the rows that there are.
    compared = Comparison(engine, PROJECTIONS, ledger.privacy, world.clock.now()).run()
    assert [each.table for each in compared if each.differs_at] == []
    # Whoever carries the log away carries all of it.
    file = io.BytesIO()
    with snapshot(world.settings.database_url) as connection:
        authenticate(connection, Vault(ledger.vault._keyring))
        count = export_import.write(connection, file)
    target = migrating(sqlite_url)
    vault = Vault(ledger.vault._keyring)
    assert export_import.read(target, vault, io.BytesIO(file.getvalue()).readlines(), 1).events == count
    with target.connect() as connection:
        assert connection.scalar(select(events.c.state).where(events.c.id == min(gone))) == said["forms"][min(gone) - 1]
        # There they may be dropped anew.
        authenticate(connection, vault)
        assert dropping.dropped(connection) == frozenset()
    target.dispose()

    # What is presented now: ended for ever, and noted behind what is in the segment.
    before = await world.head()
    refresh = {"grant_type": "refresh_token", "refresh_token": old}
    answer = await world.client.post("/oauth/token", data=refresh, auth=scene.shop.auth)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    for each in await world.events(after=before):
        stream = said["streams"].get(each.stream)
        assert stream is None or each.version > stream.version
    seen = await world.client.post("/oauth/introspect", data={"token": old}, auth=scene.shop.auth)
    assert seen.json() == {"active": False}


async def test_moments_in_segments_are_found_again_with_none_read(
    scene: Scene, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = scene.world
    for _ in range(3):
        await lived(scene)
        world.clock.advance(300 * DAY)
    ledger, last = world.services.ledger, await world.head()
    told = await ledger.read(recorded_forms, range(1, last + 1))
    gone = positions(await archived(world, tmp_path / "archive", days=1))
    await drop(world)
    read: list[str] = []
    get = SegmentPlace.get

    def count(place: SegmentPlace, name: str) -> bytes:
        # The server's rounds read segments too, in threads of theirs.
        if current_thread() is main_thread():
            read.append(name)
        return get(place, name)

    def find(last: int) -> None:
        for moment, first in expected.items():
            assert first_at(connection, moment, last) == first

    monkeypatch.setattr(SegmentPlace, "get", count)
    # No text is kept: what these rounds have read must not help either.
    monkeypatch.setattr(sealed._FORMS, "put", lambda sha256, opened: None)
    sealed._FORMS.clear()
    expected = {each.time: min(one.position for one in told if one.time >= each.time) for each in told}
    authenticate(engine, Vault(ledger.vault._keyring))
    with engine.connect() as connection:
        find(last)
        assert read
        assert gone
        connection.rollback()
        # Also when the log has grown.
        await world.register_client("Newer")
        newer = await world.head()
        read.clear()
        find(newer)
        assert read == []


async def test_what_is_in_a_store_is_dropped_with_a_copy(scene: Scene, tmp_path: Path) -> None:
    world, ledger, bucket = scene.world, scene.world.services.ledger, SegmentPlace(f"memory://{tmp_path.name}")
    await lived(scene)
    world.clock.advance(900 * DAY)
    (made,) = await archived(world, bucket.url, days=1)
    before = await world.events()
    with pytest.raises(PlaceAway, match="a directory of every node"):
        await drop(world)
    assert await world.events("log.archive_dropped") == ()
    copies, content = SegmentPlace(str(tmp_path / "copies")), bucket.get(made.segment)
    bucket.put(made.segment, content + b"1")
    with pytest.raises(SegmentDamaged):
        await drop(world, copies)
    assert not (tmp_path / "copies").exists()
    bucket.put(made.segment, content)
    # Who knows where it was put learns where it is.
    assert await ledger.read(sealed.forms, [made.first])
    assert [each.place for each in await drop(world, copies)] == [copies.url]
    (told,) = await world.events("log.archive_dropped", after=len(before))
    assert told.event.place == copies.url
    bucket.put(made.segment, b"")
    sealed._FORMS.clear()
    assert await ledger.read(lambda c: (*store(c).between(0, len(before)),)) == before
    assert await problems(world) == [None]
    assert await found_by_a_round(world) == []
    await signed(world)
    assert (await verified(world)).exit_code == 0
    await world.services.ledger.maintain(tokens.prune, world.clock.now(), 10_000)
    assert await drop(world) == []
    (tmp_path / "copies" / made.segment).unlink()
    sealed._FORMS.clear()
    with pytest.raises(ArchiveAway):
        await ledger.read(recorded_forms, [made.first])


async def test_a_segment_that_is_away_is_told(scene: Scene, tmp_path: Path) -> None:
    world, past = scene.world, await lived(scene)
    world.clock.advance(900 * DAY)
    (made,) = await archived(world, tmp_path / "archive", days=1)
    await drop(world)
    asking, at = await administering(world), min(positions([made]))
    whole = ok(await asking.get(f"/audit/events/{at}"))
    file = tmp_path / "archive" / made.segment
    content = file.read_bytes()
    for damage in (lambda: file.write_bytes(b"something else"), file.unlink):
        damage()
        sealed._FORMS.clear()
        body = problem(await asking.get(f"/audit/events/{at}"), 503, reason="archive_away")
        assert body["detail"].endswith(f"events {made.first}-{made.last} in {made.segment}.")
        problem(await asking.post("/audit/token-history", json={"token": past.tokens["access_token"]}), 503)
        # Nor is what was presented folded from a part of its stream.
        world.services.ledger._states._kept.clear()
        refresh = {"grant_type": "refresh_token", "refresh_token": past.tokens["refresh_token"]}
        answer = await world.client.post("/oauth/token", data=refresh, auth=scene.shop.auth)
        assert answer.status_code == 503
        # Nobody else is concerned, and what is new is found without what is old.
        assert await world.token("orders")
        later = format_rfc3339(world.clock.now() + SECOND)
        assert ok(await asking.get("/audit/events", params={"since": later}))["items"] == []
    await signed(world)
    verdict = await verified(world)
    assert verdict.exit_code == 2
    assert str(made.segment) in str(verdict.reason)
    # The rounds look at the rest, and how many are away is told.
    assert await away(world) == 1
    change(world, lambda connection: connection.execute(insert(scopes.TABLE).values(name="all", description="")))
    assert await found_by_a_round(world) == ["scopes"]
    file.write_bytes(content)
    assert ok(await asking.get(f"/audit/events/{at}")) == whole
    async with asyncio.timeout(PATIENCE):
        # A round may have been about to say that it is away.
        while await away(world):
            sealed._FORMS.clear()
            ok(await asking.get(f"/audit/events/{at}"))


async def away(world: World) -> int:
    """The segments that are away, as operators are told."""
    told = (await world.operators.get("/metrics")).text
    (line,) = (line for line in told.splitlines() if line.startswith("grantlog_log_archive_away "))
    return int(float(line.split()[1]))


async def test_page_of_an_event_waits_for_no_segment_with_its_grounds(scene: Scene, tmp_path: Path) -> None:
    world = scene.world
    browser, _ = await at_console(world, "clients:read", "clients:write", "grants:write", "audit:read")
    page = await browser.open(f"/console/clients/{scene.shop.client_id}")
    await browser.press(page, "/console/clients/switch", ("to", "disable"))
    (disabled,) = await world.events("client.disabled")
    world.clock.advance(900 * DAY)
    (made,) = await archived(world, tmp_path / "archive", days=1)
    await drop(world)
    (tmp_path / "archive" / made.segment).unlink()
    sealed._FORMS.clear()
    asking = await administering(world)
    problem(await asking.get(f"/audit/events/{disabled.position}?ground=1"), 503, reason="archive_away")
    other = world.browser()
    await sign_in(other, await person_with(world, "audit:read", username="eve"))
    shown = await other.open(f"/console/events/{disabled.position}")
    assert "client.disabled" in shown.text
    assert "Decided by what they held then" not in shown.text


async def test_nothing_that_lives_waits_for_a_segment(scene: Scene, job: Client, tmp_path: Path) -> None:
    world, past = scene.world, await lived(scene)
    ledger, dead = world.services.ledger, past.tokens["access_token"]
    resources = await world.register_client("Server", grant_types=("client_credentials",), scope=("introspect",))
    world.clock.advance(900 * DAY)
    (made,) = await archived(world, tmp_path / "archive", days=1)
    await drop(world)
    file = tmp_path / "archive" / made.segment
    content = file.read_bytes()
    file.unlink()
    sealed._FORMS.clear()

    async def active(raw: str) -> bool:
        answer = await world.client.post("/oauth/introspect", data={"token": raw}, auth=resources.auth)
        return bool(ok(answer)["active"])

    before = await world.head()
    one, two = [ok(await token(world, job))["access_token"] for _ in range(2)]
    assert [await active(raw) for raw in (dead, one, two)] == [False, True, True]
    await world.services.token_uses.record(everything=True)
    used = {each.stream for each in await world.events("usage.token_first_seen", after=before)}
    assert used == {f"usage:{digest(raw).hex()}" for raw in (one, two)}

    # What leaked with one of which nothing can be told is told of, and ends; alone that one is a 503.
    admin, three = await administering(world), ok(await token(world, job))["access_token"]
    pasted, gone = f"{dead} {three}", digest(dead).hex()
    told = ok(await admin.post("/leaks/investigate", json={"secret": pasted}))
    states = [(each["sha256"], each["kind"], each["state"]) for each in told["items"]]
    assert states == [(gone, "access", "archive_away"), (digest(three).hex(), "access", "active")]
    (named,) = ok(await admin.post("/audit/find", json={"text": dead}))["items"]
    assert (named["kind"], named["id"], named["label"]) == ("secret", gone, None)
    problem(await admin.post("/leaks/investigate", json={"secret": dead}), 503, reason="archive_away")
    problem(await admin.post("/leaks/contain", json={"secret": dead}), 503, reason="archive_away")
    ended = ok(await admin.post("/leaks/contain", json={"secret": pasted}))
    assert (ended["archive_away"], ended["contained"]["tokens_ended"], await active(three)) == ([gone], 1, False)

    # What is reported with one of which nothing can be told ends.
    answer = await world.client.post("/credentials/revoke", json={"credentials": [dead, one]})
    assert answer.json() == {"accepted": 2, "damaged": 0}
    await revoke.ended(ledger)
    assert not await active(one)
    findings, kinds = [Finding(f"{dead} {two}")], {each.value for each in Kind}
    with pytest.raises(ArchiveAway):
        await take(ledger, Format(), findings, "github", kinds, SYSTEM)
    assert not await active(two)
    file.write_bytes(content)
    assert await take(ledger, Format(), findings, "github", kinds, SYSTEM) == [True]


async def test_what_breaks_off_leaves_the_old_state(
    scene: Scene, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = scene.world
    await lived(scene)
    world.clock.advance(900 * DAY)
    (made,) = await archived(world, tmp_path / "archive", days=1)
    emptying = dropping.empty

    def broken(connection: Connection, gone: Any) -> None:
        emptying(connection, gone)
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(dropping, "empty", broken)
        with pytest.raises(ZeroDivisionError):
            await drop(world)
    assert await world.events("log.archive_dropped") == ()
    with engine.connect() as connection:
        assert connection.scalars(DROPPED).all() == []
    with pytest.raises(DBAPIError), engine.begin() as connection:
        connection.execute(text("UPDATE stored_events SET state = '' WHERE id = 1"))
    # Nor is anything dropped that is not what the database has.
    content = (tmp_path / "archive" / made.segment).read_bytes()
    (tmp_path / "archive" / made.segment).write_bytes(content[:-1])
    with pytest.raises(SegmentDamaged):
        await drop(world)
    (tmp_path / "archive" / made.segment).write_bytes(content)
    assert await drop(world) == [made]
    assert (await world.services.ledger.read(newest)) == await world.head()
