"""Private keys in what anybody reports. Who holds one may end it, as with any other secret; who shows a public half or
a thumbprint holds nothing."""

import asyncio
from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

from api.leaks import issuer_keys, resolve
from api.leaks.targets import Target
from eventstore.execution import Origin
from eventstore.leaked import keys
from eventstore.ledger import Ledger
from eventstore.projecting.catch_up import CatchUpSubscription, EventIndexing
from eventstore.unavailable import IndexBehind
from security import pasted_keys
from security.pasted_keys import Names

CATCHING_UP = 8
"""Steps that are followed for anybody. What is further behind is not made up for in a request of theirs."""


class PastedKeys(NamedTuple):
    """A text, and the thumbprints of the public halves to which the private keys in it say that they belong."""

    text: str
    says: Names


class HeldKeys(NamedTuple):
    """The thumbprints of known keys whose private half was there: this server's own, and clients'."""

    own: list[str]
    of_clients: list[str]


async def count_in(texts: Sequence[str]) -> int:
    """How much of the texts says that it is a private key."""
    some = [each for each in texts if pasted_keys.may_be_in(each)]
    return await asyncio.to_thread(lambda: sum(map(pasted_keys.count_private, some))) if some else 0


async def found_in(texts: Sequence[str]) -> list[PastedKeys]:
    """The texts that seem to hold private keys, whosever these are."""
    some = [each for each in texts if pasted_keys.may_be_in(each)]
    return await asyncio.to_thread(_found_in, some) if some else []


def _found_in(texts: Sequence[str]) -> list[PastedKeys]:
    return [PastedKeys(each, says) for each in texts if (says := pasted_keys.said_by_private(each))]


async def held(ledger: Ledger, origin: Origin, pasted: Sequence[PastedKeys]) -> HeldKeys:
    """Which keys were there whose private half was: one of this server's own is an alarm. Raises `IndexBehind`
    where the search index is too far behind to tell."""
    if not pasted:
        return HeldKeys([], [])
    says = dict.fromkeys(chain.from_iterable(each.says for each in pasted))
    # Of all texts together so few halves are tried for a key, whose public one anybody may know.
    text = "\n".join(each.text for each in pasted)
    own = await issuer_keys.tell_exposed(ledger, origin, text, says)
    if not await CatchUpSubscription(ledger, EventIndexing()).follow(steps=CATCHING_UP):
        raise IndexBehind
    # Who shows no more than the public half of a busy key has nobody look at all that it was used for.
    wanted = await ledger.read_long(keys.known, says)
    return HeldKeys(own, await asyncio.to_thread(pasted_keys.private_in, text, wanted) if wanted else [])


async def targets(ledger: Ledger, thumbprints: Sequence[str]) -> list[Target]:
    """What to end of clients' keys, each by itself. Raises `IndexBehind` as `held` does."""
    return await resolve.of_keys(ledger, [(each,) for each in thumbprints], None, steps=CATCHING_UP)
