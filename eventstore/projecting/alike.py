"""Tokens that clients got for themselves, which are most of a log that grows fast: those that are alike are followed
together, and but for their requests nothing is asked of each.
"""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from domain.event import Actor, Recorded
from domain.grant import is_alone
from eventstore.personal_data import Unsealing


class AlikeTokens(NamedTuple):
    """The first events of grants that are one access token, in the order of the log. They name the same but for stream,
    request and token, and came from one address and user agent, of which these are the keys."""

    events: list[Recorded]
    address: bytes | None
    agent: bytes | None


def apart(
    connection: Connection, recorded: Sequence[Recorded], unsealing: Unsealing
) -> tuple[list[Recorded], Sequence[AlikeTokens]]:
    """The events that are looked at one by one, and those that are alike."""
    others: list[Recorded] = []
    found: dict[tuple[object, ...], AlikeTokens] = {}
    actors: dict[int, tuple[object, ...] | None] = {}
    address_of, agent_of = unsealing.address, unsealing.agent
    for each in recorded:
        event = each.event
        if each.version != 1 or not is_alone(event):
            others.append(each)
            continue
        # Those of one client that are followed together have the very same actor.
        actor = actors.get(id(each.actor), ())
        if actor == ():
            actor = actors[id(each.actor)] = _own(each.actor)
        if actor is None or event.account_id is not None or unsealing.person(each) is not None:
            others.append(each)
            continue
        address, agent = address_of(connection, each), agent_of(connection, each)
        alike = (actor, event.client_id, event.secret_id, event.dpop_jkt, event.x5t_s256, address, agent)
        group = found.get(alike)
        if group is None:
            found[alike] = AlikeTokens([each], address, agent)
        else:
            group.events.append(each)
    return others, tuple(found.values())


def _own(actor: Actor) -> tuple[object, ...] | None:
    """What a client acted as; None for anybody else."""
    if actor.kind != "client":
        return None
    return actor.id, None if actor.credential is None else tuple(actor.credential.items())
