"""The keys that sign tokens: each change is a fact, in one transaction with the vault that holds the private halves."""

import asyncio
from collections.abc import Callable, Iterable, Mapping

from domain.decision import Outcome
from domain.event import Recorded
from domain.keys import signing_key
from domain.keys.signing_key import NewKey, State
from domain.rules.client_metadata import SigningAlgorithm
from eventstore.command import Command
from eventstore.database import Connection
from eventstore.execution import Origin
from eventstore.ledger import Ledger
from eventstore.view import View
from security import jose
from security.jose import MadeKey
from security.vault import Vault

PREFIX = "signing_key:"
"""How the vault's names of private keys begin; the key's id follows."""

Made = Mapping[SigningAlgorithm, MadeKey]


async def make(algorithms: Iterable[SigningAlgorithm] = signing_key.ALGORITHMS) -> Made:
    """New keys, which are nowhere yet. They are made in a thread, since RSA takes a tenth of a second."""
    return {algorithm: await asyncio.to_thread(jose.make_key, algorithm) for algorithm in algorithms}


async def ensure(ledger: Ledger, by: Origin) -> None:
    """Has every algorithm that is served have its key. Of several processes that start at once one makes them."""
    state: State = await ledger.state(signing_key.STREAM)
    if lacking := signing_key.missing(state):
        made = await make(lacking)
        begun = _changing(lambda state, view: signing_key.begin(state, now=view.now, made=_told(made)))
        await ledger.execute(begun, origin=by, then=keeping(ledger.vault, made))


async def settle(ledger: Ledger, by: Origin) -> None:
    """Activates and retires what is due. Any number of processes may be at it at once."""
    state: State = await ledger.state(signing_key.STREAM)
    if signing_key.is_due(state, ledger.clock.now()):
        settled = _changing(lambda state, view: signing_key.settle(state, now=view.now))
        await ledger.execute(settled, origin=by, then=keeping(ledger.vault, {}))


def rotate(made: Made, lead: int) -> Command[State]:
    """Publishes the next keys, which sign after `lead` seconds; executed with `keeping`."""
    return _changing(lambda state, view: signing_key.rotate(state, now=view.now, made=_told(made), lead=lead))


def compromise(made: Made) -> Command[State]:
    """Revokes every key there is and has new ones sign at once; executed with `keeping`."""
    return _changing(lambda state, view: signing_key.compromise(state, now=view.now, made=_told(made)))


def expose(key_id: str) -> Command[State]:
    """Records that the private half of a key was in somebody's text. That ends nothing."""
    return _changing(lambda state, view: signing_key.expose(state, now=view.now, key_id=key_id))


def keeping(vault: Vault, made: Made) -> Callable[[View, tuple[Recorded, ...]], None]:
    """What the vault does with the private halves in the same transaction."""
    private = {each.key_id: each.private for each in made.values()}

    def keep(view: View, recorded: tuple[Recorded, ...]) -> None:
        for each in recorded:
            match each.event:
                case signing_key.SigningKeyIntroduced(key_id=key_id):
                    vault.put_secret(view.connection, PREFIX + key_id, private[key_id], view.now)
                case signing_key.SigningKeyRetired(key_id=key_id) | signing_key.SigningKeyRevoked(key_id=key_id):
                    vault.delete_secret(view.connection, PREFIX + key_id)

    return keep


def private_half(connection: Connection, vault: Vault, key_id: str) -> bytes | None:
    """What is kept of a key that signs; None once it was destroyed."""
    stored = vault.get_secret(connection, PREFIX + key_id)
    return None if stored is None else stored.value


def _told(made: Made) -> list[NewKey]:
    return [NewKey(key.key_id, algorithm, key.public) for algorithm, key in made.items()]


def _changing(decide: Callable[[State, View], Outcome]) -> Command[State]:
    return Command(signing_key.STREAM, decide)
