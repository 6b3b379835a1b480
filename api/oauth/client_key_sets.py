"""The keys by which what a client signed is verified: those that it registered, or has at its `jwks_uri`."""

from typing import Any

import msgspec

from api.http.load_shedding import away
from api.http.outgoing_requests import NoAnswer, NotAllowed
from api.services import Services
from domain import client
from domain.decision import InvalidClient
from domain.rules import public_key
from domain.rules.client_metadata import PublicKey
from eventstore import present
from security.foreign_tokens import ReadToken, signed_by

LARGEST = 65_536
"""Bytes of a key set."""

ACCEPT = "application/jwk-set+json, application/json"


class KeysAway(Exception):
    """The client's keys cannot be had."""


class _Published(msgspec.Struct):
    keys: list[Any]


_decode = msgspec.json.Decoder(_Published).decode


async def keys_of(services: Services, scope: Any, state: client.State, *, anew: bool = False) -> tuple[PublicKey, ...]:
    """The client's keys without those that leaked, fetched if need be, with `anew` even if they are known. Raises
    KeysAway."""
    uri = state.keys.jwks_uri
    if uri is None:
        return _good(state, state.keys.jwks)
    try:
        with away(scope):
            body = await services.documents.get(uri, accept=ACCEPT, largest=LARGEST, anew=anew)
        keys = _good(state, public_key.usable(_decode(body).keys))
    except (NotAllowed, NoAnswer, msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise KeysAway from error
    # Of keys that are registered here it is known then; what stands at an address may have leaked before it came.
    leaked = await services.ledger.look(present.leaked_keys, [public_key.thumbprint(key) for key in keys])
    return tuple(key for key in keys if public_key.thumbprint(key) not in leaked) if leaked else keys


def _good(state: client.State, keys: tuple[PublicKey, ...]) -> tuple[PublicKey, ...]:
    if not state.revoked_keys:
        return keys
    return tuple(key for key in keys if public_key.thumbprint(key) not in state.revoked_keys)


async def signer(services: Services, scope: Any, state: client.State, token: ReadToken) -> PublicKey | InvalidClient:
    """The client's key that signed a token. Keys at an address are fetched anew where none of the known ones did."""
    try:
        found = _signer(await keys_of(services, scope, state), token)
        if isinstance(found, InvalidClient) and state.keys.jwks_uri is not None:
            found = _signer(await keys_of(services, scope, state, anew=True), token)
    except KeysAway:
        return InvalidClient.KEYS_UNAVAILABLE
    return found


def _signer(keys: tuple[PublicKey, ...], token: ReadToken) -> PublicKey | InvalidClient:
    candidates = public_key.candidates(keys, token.algorithm, token.header.get("kid"))
    if not candidates:
        return InvalidClient.ASSERTION_KEY
    found = next((key for key in candidates if signed_by(token, msgspec.to_builtins(key))), None)
    return InvalidClient.ASSERTION_SIGNATURE if found is None else found
