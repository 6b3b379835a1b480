"""What a key or certificate was good for at a position of the log, and why: as a client's own, as one with which this
server signs, or as one by which a trusted issuer's assertions are verified.
"""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from sqlalchemy import Connection

from domain import client
from domain.event import Moment, Recorded
from domain.keys import client_keys, signing_key, trusted_issuer
from domain.rules import public_key
from eventstore.leaked import keys
from eventstore.recorder import portions
from eventstore.time_travel import AT_ONCE, Judgement, descendants, folded, history, states_at

KeyKind = Literal["key", "signing_key", "trusted_issuer_key"]
"""Whose a key is: a client's, this server's, a trusted issuer's."""


class KeyJudgement(NamedTuple):
    """Whose it is, and how it stood."""

    kind: KeyKind
    standing: Judgement


def judge(connection: Connection, thumbprint: str, position: int, now: Moment) -> KeyJudgement | None:
    """How the key with this thumbprint stood at a position, at the time `now`; None for one that no event names."""
    if (found := _of_clients(connection, thumbprint, position, now)) is not None:
        return KeyJudgement("key", found)
    if (found := _own(connection, thumbprint, position, now)) is not None:
        return KeyJudgement("signing_key", found)
    found = _trusted(connection, thumbprint, position, now)
    return None if found is None else KeyJudgement("trusted_issuer_key", found)


# A client's, or one to which something is bound -------------------------------------------------------------------


def _of_clients(connection: Connection, thumbprint: str, position: int, now: Moment) -> Judgement | None:
    named = keys.positions_of(connection, thumbprint)
    if not named:
        return None
    known = [each for each in named if each <= position]
    if not known:
        return Judgement("not_yet_issued", (named[0],))
    holders = keys.holders(connection, known, thumbprint)
    if not holders:
        return _bound(connection, known, position, now)
    found = [_of_holder(connection, each, thumbprint, position) for each in holders]
    order = ("active", "client_disabled", "revoked", "client_deleted")
    return min(found, key=lambda each: order.index(each.reason))


def _bound(connection: Connection, known: Sequence[int], position: int, now: Moment) -> Judgement:
    """By itself it is as good as what is bound to it."""
    state = states_at(connection, position)
    for portion in portions(keys.grants(connection, known), AT_ONCE):
        if any(each.alive for each in descendants(connection, state, portion, position, now)):
            return Judgement("active", (known[0],))
    return Judgement("expired", (known[-1],))


def _of_holder(connection: Connection, client_id: str, thumbprint: str, position: int) -> Judgement:
    of_client = folded(connection, client.stream(client_id), position)
    state: client.State = of_client.state
    last = {type(each.event): each.position for each in of_client.history}
    if state.deleted:
        return Judgement("client_deleted", (last[client.ClientDeleted],))
    if thumbprint in state.revoked_keys:
        ends = (each for each in of_client.history if isinstance(each.event, client_keys.KeyRevoked))
        return Judgement("revoked", tuple(each.position for each in ends if each.event.thumbprint == thumbprint))
    if not state.enabled:
        return Judgement("client_disabled", (last[client.ClientDisabled],))
    began = last.get(client.ClientEnabled, last[client.ClientRegistered])
    # Keys that stand at an address are none of an event.
    registered = last.get(client_keys.KeysRegistered, began)
    if client.live_key(state, thumbprint) is None:
        return Judgement("active", tuple(sorted({began, registered})))
    return Judgement("revoked", (registered,))


# One of this server's own -----------------------------------------------------------------------------------------


def _own(connection: Connection, key_id: str, position: int, now: Moment) -> Judgement | None:
    told = [each for each in history(connection, signing_key.STREAM) if each.event.key_id == key_id]
    if not told:
        return None
    first = told[0]
    if first.position > position or now < first.time:
        return Judgement("not_yet_issued", (first.position,))
    state: signing_key.State = folded(connection, signing_key.STREAM, position).state
    last = {type(each.event): each.position for each in told if each.position <= position}
    match state.keys[key_id].standing:
        case "introduced":
            return Judgement("not_yet_issued", (first.position,))
        case "retired":
            return Judgement("expired", (last[signing_key.SigningKeyRetired],))
        case "revoked":
            return Judgement("revoked", (last[signing_key.SigningKeyRevoked],))
    return Judgement("active", (first.position, last[signing_key.SigningKeyActivated]))


# A trusted issuer's -----------------------------------------------------------------------------------------------


class TrustedStretch(NamedTuple):
    """From when on the issuer of this name was trusted with a key, and which event ended that; None where none did."""

    name: str
    began: Recorded
    ended: Recorded | None


def trusted(connection: Connection, thumbprint: str) -> list[TrustedStretch]:
    """Whose assertions were verified by a key, and when."""
    return list(_stretches(history(connection, trusted_issuer.STREAM), thumbprint))


def _stretches(told: Iterator[Recorded], thumbprint: str) -> Iterator[TrustedStretch]:
    living: dict[str, Recorded] = {}
    for each in told:
        event = each.event
        has = isinstance(event, trusted_issuer.IssuerTrusted) and thumbprint in map(
            public_key.thumbprint, event.terms.jwks
        )
        if has:
            living.setdefault(event.name, each)
        elif (began := living.pop(event.name, None)) is not None:
            yield TrustedStretch(event.name, began, each)
    yield from (TrustedStretch(name, began, None) for name, began in living.items())


def _trusted(connection: Connection, thumbprint: str, position: int, now: Moment) -> Judgement | None:
    found = trusted(connection, thumbprint)
    if not found:
        return None
    begun = [each for each in found if each.began.position <= position and each.began.time <= now]
    if not begun:
        return Judgement("not_yet_issued", (min(each.began.position for each in found),))
    living = [each for each in begun if each.ended is None or each.ended.position > position]
    if living:
        return Judgement("active", tuple(sorted(each.began.position for each in living)))
    return Judgement("revoked", (max(each.ended.position for each in begun if each.ended is not None),))
