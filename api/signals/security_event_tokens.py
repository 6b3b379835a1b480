"""Security event tokens (RFC 8417): what a receiver is told, sealed while it waits and signed when it goes out."""

from typing import Any

import msgspec

from api.http.errors import TemporarilyUnavailable
from api.services import Services
from commands.signals import ToldSignal
from domain import client
from domain.event import SECOND
from domain.keys import signing_key
from domain.signals.event_stream import URIS
from projections.signals import SIGNALS, KeptSignal
from security.keyring import MasterKeyError, WrapBroken

TYPE = "secevent+jwt"
"""RFC 8417 §2.3"""

EVENT_PURPOSE = SIGNALS.name


def sealed(services: Services, client_id: str, jti: str, told: ToldSignal) -> bytes:
    """What is to be told, so that nobody reads who it is about, or changes whom it goes to."""
    return services.ledger.vault.seal_row(EVENT_PURPOSE, f"{client_id} {jti}", msgspec.msgpack.encode(told))


def opened(services: Services, kept: KeptSignal) -> ToldSignal | None:
    """What was sealed; None for what was altered or moved."""
    try:
        octets = services.ledger.vault.open_row(EVENT_PURPOSE, f"{kept.client_id} {kept.jti}", kept.sealed)
    except (WrapBroken, MasterKeyError):
        return None
    return msgspec.msgpack.decode(octets, type=ToldSignal)


async def signed(services: Services, receiver: client.State, jti: str, told: ToldSignal) -> str:
    """The token, signed as the receiver's id_tokens are. Raises 503 where there is no key to sign with."""
    keys: signing_key.State = await services.ledger.state(signing_key.STREAM)
    key_id = keys.active.get(receiver.id_token_signed_response_alg)
    if key_id is None:
        raise TemporarilyUnavailable("There is no key to sign with at present.")
    key = await services.private_keys.ready(key_id)
    return await key.sign(_claims(services, receiver, jti, told), TYPE)


def _claims(services: Services, receiver: client.State, jti: str, told: ToldSignal) -> dict[str, Any]:
    """The members (RFC 8417 §2.2, SSF §4): no `sub` and no `exp`, so that it is taken for no other token."""
    at = told.at // SECOND
    said: dict[str, Any] = dict(told.said)
    if told.account_id is not None:
        said["event_timestamp"] = at
    return {
        "iss": services.settings.issuer,
        "jti": jti,
        "iat": at,
        "aud": receiver.known_as,
        "sub_id": _subject(services, receiver, told),
        "events": {URIS[told.event]: said},
    }


def _subject(services: Services, receiver: client.State, told: ToldSignal) -> dict[str, Any]:
    """Whom it is about (RFC 9493, SSF §3): the stream, the person, or one session of theirs."""
    if told.account_id is None:
        return {"format": "opaque", "id": told.stream_id}
    sub = services.subjects.of(told.account_id, told.sector)
    user = {"format": "iss_sub", "iss": services.settings.issuer, "sub": sub}
    if told.sid is None:
        return user
    return {"format": "complex", "user": user, "session": {"format": "opaque", "id": told.sid}}
