"""A whole log read over the paths of tlog-tiles, as any server of such a log hands them out."""

from collections.abc import Callable, Mapping

import pytest
from sqlalchemy import Connection

from eventstore.transparency import published
from eventstore.transparency.merkle import WIDTH, parse_path
from eventstore.transparency.published import read_leaves
from tests.verifier.published_log import KEY, PublishedLog, events
from verifier.server_source import Answer, ServerSource
from verifier.verdict import SourceError
from verifier.verify import verify

TOKEN = "secret"
Spoil = Callable[[str, bytes | None], bytes | None]


def serve(log: PublishedLog, spoil: Spoil = lambda _, body: body, token: str | None = TOKEN) -> ServerSource:
    def ask(url: str, headers: Mapping[str, str]) -> Answer:
        path = url.removeprefix("https://log.example/log/")
        if path.startswith("tile/entries/") and headers.get("Authorization") != f"Bearer {TOKEN}":
            return Answer(401)
        with log.engine.connect() as connection:
            body = spoil(path, resource(connection, path))
        return Answer(404) if body is None else Answer(200, body)

    return ServerSource("https://log.example/", token, ask)


def resource(connection: Connection, path: str) -> bytes | None:
    if path == "checkpoint":
        newest = published.newest(connection)
        return None if newest is None else newest.note.encode()
    address = parse_path(path.removeprefix("tile/"))
    assert address is not None
    # The strictest server: partial tiles of another width than the tree's are gone.
    if address.level is None:
        return published.entry_bundle(connection, address.number, address.width, read_leaves)
    return published.tile(connection, address.level, address.number, address.width)


def test_a_server_is_verified_from_what_it_publishes(log: PublishedLog) -> None:
    log.grow(700)
    log.append(events(3, 701))
    verdict = verify(serve(log), [KEY])
    assert (verdict.outcome, verdict.size, verdict.checked, verdict.pending) == ("verified", 700, 700, 0)


def test_without_a_token_the_tree_alone_is_checked(log: PublishedLog) -> None:
    kept = log.grow(300)
    log.grow(400)
    verdict = verify(serve(log, token=None), [KEY], kept=[kept])
    assert (verdict.outcome, verdict.checked) == ("verified", 0)
    assert "events themselves were not shown" in verdict.reason


def test_a_partial_tile_that_is_gone_is_taken_from_the_full_one(log: PublishedLog) -> None:
    log.grow(300)
    with log.engine.connect() as connection:
        old = published.newest(connection)
    assert old is not None
    log.grow(400)

    def spoil(path: str, body: bytes | None) -> bytes | None:
        if path == "checkpoint":
            return old.note.encode()
        return None if path.endswith(".p/44") else body

    assert verify(serve(log, spoil), [KEY]).outcome == "verified"


@pytest.mark.parametrize("size", [300, 700])
def test_an_event_that_the_server_changes_is_found(log: PublishedLog, size: int) -> None:
    log.grow(size)

    def spoil(path: str, body: bytes | None) -> bytes | None:
        return body.replace("é 300".encode(), "é 999".encode()) if body and "entries" in path else body

    verdict = verify(serve(log, spoil), [KEY])
    assert (verdict.outcome, verdict.position) == ("tampered", 300)


def test_a_bundle_that_is_cut_ends_the_log(log: PublishedLog) -> None:
    log.grow(300)
    verdict = verify(serve(log, lambda path, body: body[:-1] if body and path.endswith(".p/44") else body), [KEY])
    assert verdict.outcome == "tampered"


def test_a_tile_of_a_changed_tree_is_found_without_events(log: PublishedLog) -> None:
    log.grow(700)

    def spoil(path: str, body: bytes | None) -> bytes | None:
        return bytes(32) + body[32:] if body and path == "tile/0/001" else body

    verdict = verify(serve(log, spoil, token=None), [KEY])
    assert (verdict.outcome, verdict.position, verdict.until) == ("tampered", WIDTH + 1, 2 * WIDTH)


@pytest.mark.parametrize("body", [b"", b"\xff", b"<html>"])
def test_a_checkpoint_that_is_none(log: PublishedLog, body: bytes) -> None:
    log.grow(3)
    assert verify(serve(log, lambda path, found: body if path == "checkpoint" else found), [KEY]).outcome == "tampered"


def test_what_cannot_be_read_proves_nothing(log: PublishedLog) -> None:
    assert verify(serve(log), [KEY]).outcome == "unverifiable"
    log.grow(3)
    assert verify(serve(log, token="wrong"), [KEY]).exit_code == 2

    def away(*_: object) -> Answer:
        raise ConnectionRefusedError("away")

    source = ServerSource("https://log.example", None, away)
    assert verify(source, [KEY]).exit_code == 2
    with pytest.raises(SourceError):
        source.note(3)
    source = ServerSource("https://log.example", None, lambda *_: Answer(503))
    assert verify(source, [KEY]).exit_code == 2


def test_a_server_that_is_asked_too_fast_is_waited_for() -> None:
    waits: list[float] = []

    def slow(*_: object) -> Answer:
        return Answer(429, retry_after="2") if len(waits) < 5 else Answer(200, b"found")

    source = ServerSource("https://log.example", None, slow, waits.append)
    assert (source.newest(), waits) == ("found", [2.0] * 5)
    for after in ("3600", "", "tomorrow"):
        answer = Answer(429, retry_after=after)
        source = ServerSource("https://log.example", None, lambda *_, a=answer: a, waits.append)
        with pytest.raises(SourceError, match="status 429"):
            source.newest()
    assert len(waits) == 5
