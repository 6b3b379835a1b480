"""What devices ask for and nobody has decided yet (RFC 8628): found by device code or user code, for minutes.

A row is no fact: what a person decides is. It is sealed for that very row and its codes, so anyone who writes to the
table has nobody approve anything else than what was asked. A row that is not as it was made counts as none.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import structlog
from sqlalchemy import ColumnElement, Connection, bindparam, delete, func, insert, select, update

from domain.event import Moment
from domain.grants.device_code import DeviceRequest, Pace
from eventstore.stored import device_requests as table
from security.clock import MINUTE
from security.keyring import MasterKeyError, WrapBroken
from security.vault import Vault

log = structlog.get_logger(__name__)

ROOM = 10_000
"""Requests of public clients that wait at a time: anybody can make them."""

REMEMBERED = 10 * MINUTE
"""How long a request is remembered after its end, so that its device is told that it expired or was denied."""


class WaitingDevice(NamedTuple):
    """A request that waits, and how often its device asks."""

    request: DeviceRequest
    pace: Pace


class _Content(msgspec.Struct, array_like=True):
    request: DeviceRequest
    user_code: bytes


_decode = msgspec.msgpack.Decoder(_Content).decode
_THIS = table.c.grant_id == bindparam("b_grant_id")
_PACE = update(table).where(_THIS).values(asked_at=bindparam("asked_at"), pace=bindparam("pace"))
_DENY = update(table).where(_THIS).values(sealed=bindparam("sealed"))
_GONE = delete(table).where(_THIS)
_WAITING = (
    select(func.count()).select_from(table).where(table.c.anonymous == 1, table.c.expires_at > bindparam("b_now"))
)
_DUE = select(table.c.grant_id).where(table.c.expires_at < bindparam("b_before")).limit(bindparam("b_limit"))


def _seal(vault: Vault, request: DeviceRequest, user_code: bytes) -> bytes:
    content = msgspec.msgpack.encode(_Content(request, user_code))
    return vault.seal_row(table.name, request.grant_id, content)


def is_full(connection: Connection, now: Moment) -> bool:
    """Whether there is no room for one more request of a public client."""
    return (connection.scalar(_WAITING, {"b_now": now}) or 0) >= ROOM


def is_taken(connection: Connection, user_code: bytes) -> bool:
    """Whether a request has this user code, by its digest."""
    found = select(table.c.grant_id).where(table.c.user_code == user_code)
    return connection.execute(found).first() is not None


def waits(connection: Connection, code: str) -> bool:
    """Whether the request with this device code is still there: it is forgotten when the code is in other hands."""
    found = select(table.c.grant_id).where(table.c.device_code == bytes.fromhex(code))
    return connection.execute(found).first() is not None


def put(connection: Connection, vault: Vault, request: DeviceRequest, user_code: bytes, *, anonymous: bool) -> None:
    """Keeps a request. `user_code` is the digest of what a person has to type."""
    row = {
        "grant_id": request.grant_id,
        "device_code": bytes.fromhex(request.code),
        "user_code": user_code,
        "anonymous": int(anonymous),
        "expires_at": request.expires_at,
        "asked_at": None,
        "pace": Pace().interval,
        "sealed": _seal(vault, request, user_code),
    }
    connection.execute(insert(table), row)


def by_device_code(connection: Connection, vault: Vault, digest: bytes) -> WaitingDevice | None:
    """The request of the device that holds this code."""
    return _found(connection, vault, table.c.device_code == digest)


def by_user_code(connection: Connection, vault: Vault, digest: bytes) -> WaitingDevice | None:
    """The request of the device that shows this code."""
    return _found(connection, vault, table.c.user_code == digest)


def _found(connection: Connection, vault: Vault, which: ColumnElement[bool]) -> WaitingDevice | None:
    row = connection.execute(select(table).where(which)).first()
    if row is None:
        return None
    try:
        content = _decode(vault.open_row(table.name, row.grant_id, bytes(row.sealed)))
    except (WrapBroken, MasterKeyError, msgspec.DecodeError):
        log.error("a device's request cannot be read", grant_id=row.grant_id)
        return None
    request = content.request
    if (request.grant_id, bytes.fromhex(request.code)) != (row.grant_id, bytes(row.device_code)):
        return None
    return WaitingDevice(request, Pace(row.asked_at, row.pace)) if content.user_code == bytes(row.user_code) else None


def note_pace(connection: Connection, grant_id: str, pace: Pace) -> None:
    """The device has asked."""
    connection.execute(_PACE, {"b_grant_id": grant_id, "asked_at": pace.asked_at, "pace": pace.interval})


def note_denied(connection: Connection, vault: Vault, request: DeviceRequest, user_code: bytes) -> None:
    """Somebody said no: the device is told until the request is forgotten."""
    denied = msgspec.structs.replace(request, denied=True, address=None, user_agent=None)
    connection.execute(_DENY, {"b_grant_id": request.grant_id, "sealed": _seal(vault, denied, user_code)})


def remove(connection: Connection, grant_id: str) -> None:
    """The log knows the device's code from now on."""
    connection.execute(_GONE, {"b_grant_id": grant_id})


def forget(connection: Connection, digests: Sequence[bytes]) -> None:
    """Has nobody approve devices any more whose codes are in other hands. What was approved is the log's to end."""
    connection.execute(delete(table).where(table.c.device_code.in_(digests)))


def prune(connection: Connection, before: Moment, limit: int) -> int:
    """Forgets at most `limit` requests whose time was over a while ago; how many."""
    due = list(connection.scalars(_DUE, {"b_before": before - REMEMBERED, "b_limit": limit}))
    if due:
        connection.execute(delete(table).where(table.c.grant_id.in_(due)))
    return len(due)
