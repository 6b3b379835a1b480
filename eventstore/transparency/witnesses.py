"""Asking witnesses to cosign a checkpoint (C2SP tlog-witness, "add-checkpoint")."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import httpx

from eventstore.transparency.note import (
    Signature,
    VerifierKey,
    base64_of,
    parse_checkpoint,
    signatures,
    signatures_of,
    text_of,
)

TIMEOUT_S = 0.5
"""How long a checkpoint waits for its witnesses before it is shown without them."""

LARGEST_ANSWER = 65_536
_ATTEMPTS = 3


class Proofs(Protocol):
    """What the tree has to tell about itself while witnesses are asked."""

    async def size(self) -> int:
        """How many leaves the stored tree has by now."""

    async def consistency(self, old: int, new: int) -> Sequence[bytes]:
        """The proof from one size to another."""


@dataclass(frozen=True, slots=True)
class Witness:
    """A witness: the prefix of its submission URL, and its key (algorithm cosignature/v1)."""

    url: str
    key: VerifierKey


class Alarm(NamedTuple):
    """Why a witness did not cosign.

    `away`: no answer, or none that the protocol knows. `refused`: it does not know this log or its key. `ahead`: it has
    seen a larger tree than we have, so our log was rolled back. `contradicted`: its tree is not the beginning of ours.
    """

    witness: str
    kind: Literal["away", "refused", "ahead", "contradicted"]
    detail: str


class WitnessAnswers(NamedTuple):
    """What came of asking all witnesses."""

    cosignatures: tuple[Signature, ...]
    alarms: tuple[Alarm, ...]


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
            tuple(answer for answer in answers if isinstance(answer, Alarm)),
        )

    def cosigned(self, note: str) -> int:
        """How many of them have cosigned a note that we hold."""
        keys = {(witness.key.name, witness.key.key_id) for witness in self._witnesses}
        return len(keys & {(signature.name, signature.key_id) for signature in signatures_of(note)})

    async def _ask(self, witness: Witness, note: str, proofs: Proofs) -> list[Signature] | Alarm:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._converse(witness, note, proofs)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            return Alarm(witness.key.name, "away", type(error).__name__)

    async def _converse(self, witness: Witness, note: str, proofs: Proofs) -> list[Signature] | Alarm:
        name, size = witness.key.name, parse_checkpoint(note).size
        old = min(self._seen.get(name, 0), size)
        for _ in range(_ATTEMPTS):
            status, body = await self._post(witness, request(old, await proofs.consistency(old, size), note))
            if status == 200:
                return self._accepted(witness, note, size, body)
            if status != 409:
                return Alarm(name, _KINDS.get(status, "away"), f"answered {status}")
            seen = _decimal(body)
            if old == size and seen in (None, size):
                return Alarm(name, "contradicted", f"knows another tree of {size} leaves")
            if seen is None or seen == old:
                return Alarm(name, "away", "answered 409 without another size")
            if seen > size:
                return await self._larger(name, seen, proofs)
            self._seen[name] = old = seen
        return Alarm(name, "away", "kept changing its mind about the size it has seen")

    def _accepted(self, witness: Witness, note: str, size: int, body: bytes) -> list[Signature] | Alarm:
        self._seen[witness.key.name] = size
        try:
            offered = list(signatures(body.decode()))
        except ValueError:
            offered = []
        good = [signature for signature in offered if witness.key.verifies(text_of(note), signature)]
        return good or Alarm(witness.key.name, "away", "answered without a cosignature of its key")

    async def _larger(self, name: str, seen: int, proofs: Proofs) -> list[Signature] | Alarm:
        # Another process of ours may have shown the witness a newer checkpoint in the meantime; that is no alarm.
        have = await proofs.size()
        if have >= seen:
            self._seen[name] = seen
            return []
        return Alarm(name, "ahead", f"has seen {seen} leaves, and the tree has {have}")

    async def _post(self, witness: Witness, body: bytes) -> tuple[int, bytes]:
        async with self._client.stream("POST", witness.url.rstrip("/") + "/add-checkpoint", content=body) as response:
            received = b""
            async for part in response.aiter_bytes():
                received += part
                if len(received) > LARGEST_ANSWER:
                    return 0, b""
            return response.status_code, received


_KINDS: dict[int, Literal["away", "refused", "ahead", "contradicted"]] = {
    400: "refused",
    403: "refused",
    404: "refused",
    422: "contradicted",
}


def request(old: int, proof: Sequence[bytes], note: str) -> bytes:
    """The body of an add-checkpoint request."""
    lines = [f"old {old}", *(base64_of(hash_) for hash_ in proof), "", note]
    return "\n".join(lines).encode()


def _decimal(body: bytes) -> int | None:
    text = body.removesuffix(b"\n")
    return int(text) if text.isdigit() and len(text) < 20 else None
