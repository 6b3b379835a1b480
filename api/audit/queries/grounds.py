"""On what ground somebody acted: what they held just before an event, and the events that had given it to them."""

from collections.abc import Iterable, Iterator
from typing import Annotated, NamedTuple

import msgspec
from msgspec import UNSET, Meta, UnsetType

from api.audit.rendering import ShownEvent
from domain import account, client, role
from domain.account import AccountRegistered, RolesChanged
from domain.client import ClientRegistered, ClientUpdated
from domain.event import Recorded
from eventstore import time_travel
from eventstore.database import Connection


class RoleThen(msgspec.Struct, frozen=True):
    """A role that the person held. `given_by` is the position of the event that gave it to them, `defined_by` of that
    which gave it its scopes."""

    name: str
    scopes: list[str]
    given_by: int
    defined_by: int | None


class ScopeThen(msgspec.Struct, frozen=True):
    """What they acted with: the scope of the grant, or of the client that authenticated itself, and the position of the
    event that gave it."""

    scope: list[str]
    given_by: int


class Ground(msgspec.Struct, frozen=True):
    """What an actor held just before an event. `decided_by` are the positions of all events that gave it."""

    roles: list[RoleThen]
    acted_with: Annotated[
        ScopeThen | None, Meta(description="Null for who acted without a grant and without a client.")
    ]
    decided_by: list[int]


class GroundedEvent(ShownEvent, frozen=True):
    """An event; with `ground` where that was asked for."""

    ground: Ground | UnsetType = UNSET


class _Given(NamedTuple):
    """A value of a stream, and the position that gave it."""

    value: tuple[str, ...]
    position: int


def grounded(connection: Connection, event: ShownEvent, *, wanted: bool) -> GroundedEvent:
    """The event, with its ground where that is wanted: from the log up to the event before it."""
    members = {name: getattr(event, name) for name in ShownEvent.__struct_fields__}
    return GroundedEvent(**members, ground=_ground(connection, event) if wanted else UNSET)


def _ground(connection: Connection, event: ShownEvent) -> Ground:
    before, actor = event.position - 1, event.actor
    roles = list(_roles(connection, actor.id, before)) if actor.kind == "person" and actor.id is not None else []
    acted_with = _acted_with(connection, event, before)
    positions = {each.given_by for each in roles} | {each.defined_by for each in roles if each.defined_by is not None}
    if acted_with is not None:
        positions.add(acted_with.given_by)
    return Ground(roles, acted_with, sorted(positions))


def _roles(connection: Connection, account_id: str, before: int) -> Iterator[RoleThen]:
    stream = account.stream(account_id)
    given: dict[str, int] = {}
    for recorded in time_travel.history(connection, stream, before):
        held = _roles_of(recorded)
        if held is not None:
            given = {name: given.get(name, recorded.position) for name in held}
    realm = time_travel.folded(connection, stream, before).state.realm
    for name, position in given.items():
        then = time_travel.folded(connection, role.stream(realm, name), before)
        yield RoleThen(name, list(then.state.scopes), position, then.history[-1].position if then.history else None)


def _roles_of(recorded: Recorded) -> tuple[str, ...] | None:
    match recorded.event:
        case AccountRegistered(roles=roles):
            return roles
        case RolesChanged(new=roles):
            return roles
        case _:
            return None


def _acted_with(connection: Connection, event: ShownEvent, before: int) -> ScopeThen | None:
    grant_id = (event.actor.credential or {}).get("grant_id")
    if grant_id is not None:
        then = time_travel.folded(connection, f"grant:{grant_id}", before)
        return ScopeThen(list(then.state.scope), then.history[0].position) if then.history else None
    if event.actor.kind != "client" or event.actor.id is None:
        return None
    found = _newest(_scopes_of(time_travel.history(connection, client.stream(event.actor.id), before)))
    return None if found is None else ScopeThen(list(found.value), found.position)


def _scopes_of(history: Iterable[Recorded]) -> Iterator[_Given]:
    for recorded in history:
        match recorded.event:
            case ClientRegistered(scope=scope):
                yield _Given(scope, recorded.position)
            case ClientUpdated(new=new) if new.scope is not UNSET:
                yield _Given(new.scope, recorded.position)


def _newest(given: Iterable[_Given]) -> _Given | None:
    """The last that changed anything."""
    newest: _Given | None = None
    for each in given:
        if newest is None or each.value != newest.value:
            newest = each
    return newest
