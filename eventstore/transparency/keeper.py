"""Keeps the tree up with the log in a running server, and has witnesses asked. No request ever waits for it."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf
from time import monotonic
from typing import Any, Concatenate, Literal, NamedTuple, ParamSpec, Protocol, TypeVar
from urllib.parse import urlsplit

import httpx
import structlog
from sqlalchemy import Connection

from domain import server
from eventstore.database.background import in_short_turns
from eventstore.database.wakefulness import Wakefulness
from eventstore.execution import Origin, Step
from eventstore.transparency import published
from eventstore.transparency.kept import Kept
from eventstore.transparency.note import (
    COSIGNATURE_V1,
    Signature,
    VerifierKey,
    base64_of,
    parse_checkpoint,
    signatures,
    signatures_of,
    text_of,
)
from eventstore.transparency.published import Diverged, ReadLeaves, is_accepted, read_leaves
from eventstore.transparency.tree import Growth, Tree
from eventstore.unavailable import DatabaseAway, LedgerOverloaded
from security.clock import SECOND, Clock

TIMEOUT_S = 0.5
"""How long a checkpoint waits for its witnesses before it is shown without them."""

LARGEST_ANSWER = 65_536
_ATTEMPTS = 3


class Proofs(Protocol):
    """What the tree has to tell about itself while witnesses are asked."""

    async def size(self) -> int: ...

    async def consistency(self, old: int, new: int) -> Sequence[bytes]: ...


@dataclass(frozen=True, slots=True)
class Witness:
    """A witness: the prefix of its submission URL, and its key (algorithm cosignature/v1)."""

    url: str
    key: VerifierKey


def configured_witnesses(texts: Sequence[str]) -> list[Witness]:
    """Reads `<URL> <verifier key>` for each; ValueError that says in words what is wrong, without repeating it."""
    found = [_witness(text) for text in texts]
    if len({witness.key.name for witness in found}) < len(found):
        raise ValueError("names a witness twice")
    return found


def _witness(text: str) -> Witness:
    url, _, vkey = text.partition(" ")
    try:
        parts = urlsplit(url)
        reachable = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc
    except ValueError:
        reachable = False
    if not reachable or not vkey.strip():
        raise ValueError("must be `https://… name+id+key`, a witness's URL and its verifier key, separated by commas")
    key = VerifierKey.parse(vkey.strip())
    if key.algorithm != COSIGNATURE_V1:
        raise ValueError("holds a key that is no witness's: it signs no cosignatures")
    return Witness(url, key)


AlarmKind = Literal["away", "refused", "ahead", "contradicted"]


class WitnessAlarm(NamedTuple):
    """Why a witness did not cosign.

    `away`: no answer, or none that the protocol knows. `refused`: it does not know this log or its key. `ahead`: it has
    seen a larger tree than we have, so our log was rolled back. `contradicted`: its tree is not the beginning of ours.
    """

    witness: str
    kind: AlarmKind
    detail: str


class WitnessAnswers(NamedTuple):
    """What came of asking all witnesses."""

    cosignatures: tuple[Signature, ...]
    alarms: tuple[WitnessAlarm, ...]


class Witnesses:
    """The configured witnesses of a log. One per process; it remembers which size each of them has seen."""

    def __init__(self, witnesses: Sequence[Witness], client: httpx.AsyncClient, timeout_s: float = TIMEOUT_S) -> None:
        self._witnesses = tuple(witnesses)
        self._client = client
        self._timeout_s = timeout_s
        self._seen: dict[str, int] = {}

    async def ask(self, note: str, proofs: Proofs) -> WitnessAnswers:
        """Asks all of them at once, and waits for none beyond the timeout. Never raises for what a witness does."""
        answers = await asyncio.gather(*(self._ask(witness, note, proofs) for witness in self._witnesses))
        return WitnessAnswers(
            tuple(signature for answer in answers if isinstance(answer, list) for signature in answer),
            tuple(answer for answer in answers if isinstance(answer, WitnessAlarm)),
        )

    def cosigned(self, note: str) -> int:
        """How many of them have cosigned a note that we hold."""
        keys = {(witness.key.name, witness.key.key_id) for witness in self._witnesses}
        return len(keys & {(signature.name, signature.key_id) for signature in signatures_of(note)})

    async def _ask(self, witness: Witness, note: str, proofs: Proofs) -> list[Signature] | WitnessAlarm:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._converse(witness, note, proofs)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            return WitnessAlarm(witness.key.name, "away", type(error).__name__)

    async def _converse(self, witness: Witness, note: str, proofs: Proofs) -> list[Signature] | WitnessAlarm:
        name, size = witness.key.name, parse_checkpoint(note).size
        old = min(self._seen.get(name, 0), size)
        for _ in range(_ATTEMPTS):
            status, body = await self._post(
                witness, add_checkpoint_body(old, await proofs.consistency(old, size), note)
            )
            if status == 200:
                return self._accepted(witness, note, size, body)
            if status != 409:
                return WitnessAlarm(name, _KINDS.get(status, "away"), f"answered {status}")
            seen = _decimal(body)
            if old == size and seen in (None, size):
                return WitnessAlarm(name, "contradicted", f"knows another tree of {size} leaves")
            if seen is None or seen == old:
                return WitnessAlarm(name, "away", "answered 409 without another size")
            if seen > size:
                return await self._larger(name, seen, proofs)
            self._seen[name] = old = seen
        return WitnessAlarm(name, "away", "kept changing its mind about the size it has seen")

    def _accepted(self, witness: Witness, note: str, size: int, body: bytes) -> list[Signature] | WitnessAlarm:
        self._seen[witness.key.name] = size
        try:
            offered = list(signatures(body.decode()))
        except ValueError:
            offered = []
        good = [signature for signature in offered if witness.key.verifies(text_of(note), signature)]
        return good or WitnessAlarm(witness.key.name, "away", "answered without a cosignature of its key")

    async def _larger(self, name: str, seen: int, proofs: Proofs) -> list[Signature] | WitnessAlarm:
        # Another process of ours may have shown the witness a newer checkpoint in the meantime; that is no alarm.
        have = await proofs.size()
        if have >= seen:
            self._seen[name] = seen
            return []
        return WitnessAlarm(name, "ahead", f"has seen {seen} leaves, and the tree has {have}")

    async def _post(self, witness: Witness, body: bytes) -> tuple[int, bytes]:
        async with self._client.stream("POST", witness.url.rstrip("/") + "/add-checkpoint", content=body) as response:
            received = b""
            async for part in response.aiter_bytes():
                received += part
                if len(received) > LARGEST_ANSWER:
                    return 0, b""
            return response.status_code, received


_KINDS: dict[int, AlarmKind] = {400: "refused", 403: "refused", 404: "refused", 422: "contradicted"}


def add_checkpoint_body(old: int, proof: Sequence[bytes], note: str) -> bytes:
    """The body of an add-checkpoint request."""
    lines = [f"old {old}", *(base64_of(hash_) for hash_ in proof), "", note]
    return "\n".join(lines).encode()


def _decimal(body: bytes) -> int | None:
    text = body.removesuffix(b"\n")
    return int(text) if text.isdigit() and len(text) < 20 else None


INTERVAL_S = 0.25
"""How often the log is looked at. With the witnesses' timeout a committed event is covered within a second."""

LOADED_S = 0.75
"""The same while the log grows fast and nobody has to cosign: every look that finds something costs a transaction and
a signature, and a committed event is covered within a second all the same."""

CALM = 16
"""Events between two looks up to which the log does not grow fast."""

LOOK_ANYWAY_S = 60.0
"""The longest without a look at a log of which nothing is heard."""

KEEP_EVERY_S = 1.0
"""Seconds between two writes of the checkpoint that is kept outside the database."""

KEPT_WITHIN_S = 1.0
"""Seconds that signing waits for that file. Where its file system does not answer, the log is signed all the same."""

REST = 3
"""How many looks a process leaves out after another one was faster: one of them follows, the others stand by."""

STEP = 1_024
"""Leaves in one step of a server: a step on SQLite runs between two turns of the event loop."""

ASK_AGAIN = 60 * SECOND
"""When a witness was away and the log does not grow, the newest checkpoint is shown to it again after this time."""

log = structlog.get_logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")


class TreeLedger(Protocol):
    """What the keeper needs of the ledger."""

    async def state(self, stream: str) -> Any: ...

    async def execute(self, *commands: Step, origin: Origin) -> Any: ...

    async def read(self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T: ...

    async def maintain(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T: ...


class Keeper:
    """One per process. Several may run: each step of the tree is taken by one of them. What it records is done `by`.

    A divergence is recorded by the command that `note` makes of what was found and where, `commands.servers` has it.
    The newest checkpoint is `kept` outside the database, by every process for its node. `seconds` is a steady clock's.
    """

    def __init__(
        self,
        ledger: TreeLedger,
        tree: Tree,
        clock: Clock,
        note: Callable[[str, int | None], Step],
        *,
        witnesses: Witnesses | None = None,
        quorum: int = 0,
        by: Origin | None = None,
        kept: Kept | None = None,
        seconds: Callable[[], float] = monotonic,
        leaves: ReadLeaves = read_leaves,
        interval_s: float = INTERVAL_S,
        wakefulness: Wakefulness | None = None,
    ) -> None:
        self._ledger = ledger
        self._tree = tree
        self._clock = clock
        self._note = note
        self._witnesses = witnesses
        self._quorum = quorum
        self._by = by or Origin()
        self._kept = kept
        self._seconds = seconds
        self._keep_at = -inf
        self._kept_note: str | None = None
        self._writing: asyncio.Future[None] | None = None
        self._keeps_failing: str | None = None
        self._leaves = leaves
        self._interval_s = interval_s
        self._wakefulness = wakefulness
        self._ask_again: int | None = None
        self._beaten = False
        self._grown = 0
        self._turn = asyncio.Lock()
        self.alarms: dict[str, WitnessAlarm] = {}
        """By witness, what is wrong with it at the moment."""
        self.short = False
        """Whether fewer witnesses than demanded have cosigned the checkpoint that this process published last."""
        self.diverged: str | None = None
        """Why the log cannot be signed any more. Readiness must fail, and nobody may hear that all is well."""
        self._unrecorded: Diverged | None = None

    async def run(self) -> None:
        """Follows until cancelled, or until the log has diverged."""
        while self.diverged is None:
            heard, failed = None if self._wakefulness is None else self._wakefulness.heard, False
            try:
                more = await self.step()
            except (DatabaseAway, LedgerOverloaded) as error:
                log.warning("transparency.waiting", reason=type(error).__name__)
                more, failed = False, True
            await asyncio.sleep(0 if more else self.rest())
            if self._wakefulness is not None and heard is not None and not (more or failed):
                await self._wakefulness.turn(heard, LOOK_ANYWAY_S)

    def rest(self) -> float:
        """Seconds until the next look, by what came since the last one."""
        grown, self._grown = self._grown, 0
        if self._beaten:
            return self._interval_s * REST
        return max(self._interval_s, LOADED_S) if grown > CALM and self._witnesses is None else self._interval_s

    async def step(self) -> bool:
        """One step of the tree, and its witnesses when it has reached the head; whether the log goes on behind it.

        One after the other: what a step read before another one added to the tree would be a tree that went back.
        """
        async with self._turn:
            return await self._step()

    async def _step(self) -> bool:
        # A log that went back is told as such, by this first question, and not as one that somebody has changed.
        state: server.State = await self._ledger.state(server.STREAM)
        try:
            if state.diverged is not None:
                self._learn(state.diverged)
                return False
            growth = await self._ledger.read(in_short_turns(self._tree.grow), self._leaves, state.accepted)
        except Diverged as found:
            await self.diverge(found)
        # Others may have found it meanwhile.
        if self.diverged is not None:
            return False
        self._beaten = False
        more = growth is not None and await self._add(growth)
        # At once, so that a node that ends soon after its first start has the checkpoint at its second.
        await self._keep()
        if self._witnesses is not None and not (more or self._beaten):
            await self._have_witnessed(self._witnesses)
        return more

    async def _add(self, growth: Growth) -> bool:
        """Whether the log goes on behind it, where this process was the one to add it."""
        self._beaten = await self._ledger.maintain(self._tree.keep, growth) is None
        if self._beaten:
            return False
        self._tree.remember(growth.checkpoint)
        self._grown += growth.checkpoint.size - growth.before
        return growth.more

    async def _keep(self) -> None:
        if self._kept is None or self._seconds() < self._keep_at:
            return
        if self._writing is not None and not self._writing.done():
            return
        self._keep_at = self._seconds() + KEEP_EVERY_S
        note = await self._ledger.read(self._tree.newest)
        if note is None or note == self._kept_note:
            return
        loop = asyncio.get_running_loop()
        writing = self._writing = loop.run_in_executor(None, self._kept.write, note)
        writing.add_done_callback(partial(self._was_kept, note))
        await asyncio.wait((writing,), timeout=KEPT_WITHIN_S)
        if not writing.done():
            self._cannot_keep(TimeoutError())

    def _was_kept(self, note: str, writing: asyncio.Future[None]) -> None:
        if writing.cancelled():
            return
        if (error := writing.exception()) is not None:
            self._cannot_keep(error)
            return
        self._kept_note = note
        if self._keeps_failing is not None:
            log.info("transparency.checkpoint_kept_again", file=self._file)
            self._keeps_failing = None

    def _cannot_keep(self, error: BaseException) -> None:
        """Logs what began, and not what goes on."""
        name = type(error).__name__
        if name != self._keeps_failing:
            log.warning("transparency.checkpoint_not_kept", file=self._file, error=name)
            self._keeps_failing = name

    @property
    def _file(self) -> str | None:
        return None if self._kept is None else str(self._kept.path)

    async def diverge(self, found: Diverged) -> None:
        """Nothing is signed or issued by anybody from now on, since the log tells all; unless it was accepted."""
        if self.diverged is not None:
            return
        accepted = (await self._ledger.state(server.STREAM)).accepted
        if await self._ledger.read(is_accepted, found.position, accepted) or self.diverged is not None:
            return
        self.diverged = str(found)
        log.critical("transparency.diverged", reason=self.diverged)
        await self._record(found)

    async def reconsider(self) -> None:
        """After a divergence: records it if that has failed so far, and goes on once somebody has accepted it."""
        if self._unrecorded is not None:
            await self._record(self._unrecorded)
            return
        state: server.State = await self._ledger.state(server.STREAM)
        if state.diverged is None:
            log.warning("transparency.accepted", reason=self.diverged)
            self.diverged = None

    async def _record(self, found: Diverged) -> None:
        self._unrecorded = found
        try:
            await self._ledger.execute(self._note(str(found), found.position), origin=self._by)
        except (DatabaseAway, LedgerOverloaded) as error:
            # Until it is, the others come to it by themselves, in their own round.
            log.warning("transparency.not_recorded", reason=type(error).__name__)
        else:
            self._unrecorded = None

    def _learn(self, divergence: server.Divergence) -> None:
        """Another process has noticed it, or this one before its start."""
        self.diverged = divergence.reason
        log.critical("transparency.diverged", reason=self.diverged)

    async def _have_witnessed(self, witnesses: Witnesses) -> None:
        newest = await self._ledger.read(published.newest_signed)
        if newest is None or (newest.published is not None and not self._is_due()):
            return
        asked = await witnesses.ask(newest.note, _StoredTree(self._ledger))
        self._ask_again = self._clock.now() + ASK_AGAIN if asked.alarms else None
        self._tell(asked.alarms)
        shown = await self._ledger.maintain(published.publish, newest.size, list(asked.cosignatures), self._clock.now())
        self._count(witnesses.cosigned(shown.note))

    def _is_due(self) -> bool:
        return self._ask_again is not None and self._clock.now() >= self._ask_again

    def _tell(self, alarms: Sequence[WitnessAlarm]) -> None:
        """Logs what began and what ended, and not what goes on."""
        now = {alarm.witness: alarm for alarm in alarms}
        for name, alarm in now.items():
            if name not in self.alarms or self.alarms[name].kind != alarm.kind:
                log.error("transparency.witness_alarm", **alarm._asdict())
        for name in self.alarms.keys() - now.keys():
            log.info("transparency.witness_back", witness=name)
        self.alarms = now

    def _count(self, cosignatures: int) -> None:
        short = cosignatures < self._quorum
        if short and not self.short:
            log.error("transparency.too_few_witnesses", cosigned=cosignatures, demanded=self._quorum)
        self.short = short


class _StoredTree:
    """The proofs that witnesses ask for, read from the stored tiles."""

    def __init__(self, ledger: TreeLedger) -> None:
        self._ledger = ledger

    async def size(self) -> int:
        return await self._ledger.read(published.size)

    async def consistency(self, old: int, new: int) -> Sequence[bytes]:
        return await self._ledger.read(published.consistency, old, new)
