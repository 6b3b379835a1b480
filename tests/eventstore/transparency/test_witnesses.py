import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx
import pytest

from eventstore.transparency.keeper import Witness, WitnessAnswers, Witnesses
from eventstore.transparency.merkle import consistency
from eventstore.transparency.note import Checkpoint, VerifierKey, add_signatures
from tests.eventstore.transparency.memory_tree import mth, tree_of
from tests.verifier.published_log import KEY, ORIGIN, SIGNER
from verifier import witness as serving
from verifier.note import Cosigner, open_note
from verifier.witness import Memory

LEAVES = [b"%d" % i for i in range(300)]
OTHER = [b"other %d" % i for i in range(300)]
COSIGNER = Cosigner("witness.example/w1", bytes(range(32)))
SECOND = Cosigner("witness.example/w2", bytes(32))
Handler = Callable[[httpx.Request], httpx.Response]


class TreeOf:
    """The log's own side: the proofs of a tree that has some size by now."""

    def __init__(self, size: int, leaves: list[bytes] = LEAVES) -> None:
        self._size = size
        self._tree = tree_of(leaves[:size])

    async def size(self) -> int:
        return self._size

    async def consistency(self, old: int, new: int) -> Sequence[bytes]:
        return consistency(self._tree.hashes(new), old)


def note(size: int, leaves: list[bytes] = LEAVES) -> str:
    return Checkpoint(ORIGIN, size, mth(leaves[:size])).signed([SIGNER])


def key(cosigner: Cosigner) -> VerifierKey:
    return VerifierKey.parse(str(cosigner.key))


def answering(witness: serving.Witness, asked: list[bytes] | None = None) -> Handler:
    def handle(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/prefix/add-checkpoint"
        if asked is not None:
            asked.append(request.content.split(b"\n")[0])
        answer = witness.add_checkpoint(request.content)
        return httpx.Response(answer.status, content=answer.body)

    return handle


def remembering(path: Path, cosigner: Cosigner = COSIGNER) -> serving.Witness:
    return serving.Witness(cosigner, [KEY], Memory(path), lambda: 1_679_315_147)


def witnesses(handlers: dict[str, Handler]) -> Witnesses:
    """Witnesses by host name; each is known by the key of COSIGNER, or of SECOND for the host `second`."""

    async def route(request: httpx.Request) -> httpx.Response:
        return handlers[request.url.host](request)

    known = [Witness(f"https://{host}/prefix/", key(SECOND if host == "second" else COSIGNER)) for host in handlers]
    return Witnesses(known, httpx.AsyncClient(transport=httpx.MockTransport(route)))


async def test_cosignatures_are_collected_from_all(tmp_path: Path) -> None:
    asking = witnesses(
        {
            "first": answering(remembering(tmp_path / "1")),
            "second": answering(remembering(tmp_path / "2", SECOND)),
        }
    )
    asked = await asking.ask(note(5), TreeOf(5))
    assert asked.alarms == ()
    cosigned = add_signatures(note(5), asked.cosignatures)
    assert open_note(cosigned, [KEY, COSIGNER.key, SECOND.key]).verified == (KEY, COSIGNER.key, SECOND.key)


async def test_what_a_witness_has_seen_is_remembered_or_asked(tmp_path: Path) -> None:
    lines: list[bytes] = []
    asking = witnesses({"first": answering(remembering(tmp_path / "1"), lines)})
    for size in (5, 280):
        assert len((await asking.ask(note(size), TreeOf(size))).cosignatures) == 1
    # After a restart nothing is remembered, and the witness's 409 tells.
    asking = witnesses({"first": answering(remembering(tmp_path / "1"), lines)})
    assert len((await asking.ask(note(300), TreeOf(300))).cosignatures) == 1
    assert lines == [b"old 0", b"old 5", b"old 0", b"old 280"]


async def test_a_checkpoint_that_another_process_overtook_is_no_alarm(tmp_path: Path) -> None:
    asking = witnesses({"first": answering(remembering(tmp_path / "1"))})
    await asking.ask(note(9), TreeOf(9))
    assert await asking.ask(note(5), TreeOf(9)) == WitnessAnswers((), ())


def kinds(asked: WitnessAnswers) -> list[str]:
    assert asked.cosignatures == ()
    return [alarm.kind for alarm in asked.alarms]


async def test_a_log_that_was_rolled_back_is_an_alarm(tmp_path: Path) -> None:
    asking = witnesses({"first": answering(remembering(tmp_path / "1"))})
    await asking.ask(note(9), TreeOf(9))
    assert kinds(await asking.ask(note(5), TreeOf(5))) == ["ahead"]


@pytest.mark.parametrize("size", [9, 20])
async def test_a_rewritten_log_is_an_alarm(tmp_path: Path, size: int) -> None:
    asking = witnesses({"first": answering(remembering(tmp_path / "1"))})
    await asking.ask(note(9), TreeOf(9))
    assert kinds(await asking.ask(note(size, OTHER), TreeOf(size, OTHER))) == ["contradicted"]


def fail(error: Exception) -> Handler:
    def handle(_: httpx.Request) -> httpx.Response:
        raise error

    return handle


@pytest.mark.parametrize(
    ("handler", "kind"),
    [
        (fail(httpx.ConnectError("away")), "away"),
        (fail(httpx.ReadTimeout("slow")), "away"),
        (lambda _: httpx.Response(500), "away"),
        (lambda _: httpx.Response(404), "refused"),
        (lambda _: httpx.Response(403), "refused"),
        (lambda _: httpx.Response(400), "refused"),
        (lambda _: httpx.Response(200, content=b"nonsense"), "away"),
        (lambda _: httpx.Response(200, content=b"\xff\n"), "away"),
        (lambda _: httpx.Response(200, content=SECOND.cosign(note(5).split("\n\n")[0] + "\n", 1).encode()), "away"),
        (lambda _: httpx.Response(200, content=COSIGNER.cosign("another text\n", 1).encode()), "away"),
        (lambda _: httpx.Response(200, content=b"x" * 100_000), "away"),
        (lambda _: httpx.Response(409, content=b"nonsense"), "away"),
    ],
)
async def test_a_witness_that_fails_is_an_alarm_and_no_more(handler: Handler, kind: str, tmp_path: Path) -> None:
    asking = witnesses({"first": handler, "second": answering(remembering(tmp_path / "2", SECOND))})
    asked = await asking.ask(note(5), TreeOf(5))
    assert [alarm.kind for alarm in asked.alarms] == [kind]
    assert len(asked.cosignatures) == 1


async def test_silent_witness_is_awaited_no_longer_than_the_timeout() -> None:
    class Silence(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            await asyncio.Event().wait()
            raise AssertionError("nobody sets that event")

    client = httpx.AsyncClient(transport=Silence())
    asking = Witnesses([Witness("https://first", key(COSIGNER))], client, timeout_s=0.01)
    assert kinds(await asking.ask(note(5), TreeOf(5))) == ["away"]
