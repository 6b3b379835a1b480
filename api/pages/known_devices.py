"""Devices on which a name was typed with its right password before: guessing elsewhere does not slow them.

A device holds a cookie, sealed for the name, with an id of its own. Its failures are counted under that id alone, so a
cookie that somebody found is good for as many guesses as an address is. It ends with the password that was typed right.
"""

from hashlib import sha256

import msgspec
from litestar.datastructures import Cookie

from api.http.request_context import Scope
from api.http.responses import read_cookie, set_cookie
from api.oauth.person_authentication import KnownDevice
from api.services import Services
from domain.event import SECOND, Moment
from security import base64url
from security.keyring import MasterKeyError, WrapBroken
from security.mac import normalise
from security.tokens import new_id

NAME = "grantlog-device"
LASTS = 180 * 86_400
LONGEST = 512
TOLD = "grantlog.known_device"
"""Where the scope holds what its cookie told of a realm and a name."""


class _Told(msgspec.Struct, frozen=True, array_like=True):
    id: str
    until: Moment
    position: int = 0
    """Where the log stood when the password was right."""


def known(services: Services, scope: Scope, realm: str, name: str) -> KnownDevice | None:
    """The device that a request comes from, if that name was typed right on it before."""
    found = _told(services, scope, realm, name)
    return None if found is None else KnownDevice(found.id, found.position)


def _told(services: Services, scope: Scope, realm: str, name: str) -> _Told | None:
    """What the device's cookie tells of that name, which is opened once for a request."""
    if scope.get(TOLD, ("", ""))[:2] == (realm, name):
        return scope[TOLD][2]  # type: ignore[no-any-return]
    told = _opened(services, scope, realm, name)
    scope[TOLD] = realm, name, told
    return told


def _opened(services: Services, scope: Scope, realm: str, name: str) -> _Told | None:
    value = read_cookie(scope, NAME, services.settings.issuer)
    if value is None or not 0 < len(value) <= LONGEST or not value.isascii():
        return None
    try:
        octets = services.keyring.unwrap(_purpose(realm, name), base64url.decode(value))
    except (ValueError, WrapBroken, MasterKeyError):
        return None
    found = msgspec.msgpack.decode(octets, type=_Told)
    return found if services.ledger.clock.now() < found.until else None


def cookie(services: Services, scope: Scope, realm: str, name: str) -> Cookie:
    """Has the device known by the name that was typed right on it; of several names, the last."""
    # One that was cut off keeps its id: what was counted under it was counted there.
    told = _told(services, scope, realm, name)
    device = _Told(
        new_id() if told is None else told.id,
        services.ledger.clock.now() + LASTS * SECOND,
        services.ledger.changes.position,
    )
    sealed = services.keyring.wrap(_purpose(realm, name), msgspec.msgpack.encode(device))
    made = set_cookie(NAME, base64url.encode(sealed), services.settings.issuer)
    made.max_age = LASTS
    return made


def _purpose(realm: str, name: str) -> str:
    return f"known device\0{realm}\0{sha256(normalise(name).encode('utf-8', 'surrogatepass')).hexdigest()}"
