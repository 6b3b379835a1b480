"""A client's keys and its registration token: registered, exchanged for others, ended when they leak."""

from typing import Any

import pytest
from msgspec.structs import replace

from domain import client as client_page
from domain.client import Attributes, ClientDeleted, ClientUpdated
from domain.client_secret import NewSecret
from domain.decision import Forbidden, InvalidRequest, NotFound
from domain.keys.client_keys import KeyChanges, KeyRevoked, KeysRegistered
from domain.registering.registration_token import RegistrationToken, RegistrationTokenIssued, RegistrationTokenRevoked
from domain.rules.client_metadata import ClientKeys, PublicKey
from domain.rules.public_key import thumbprint
from tests.domain.history import NOW, given, loosely
from tests.domain.rules.test_client_registration import APP, SECRET, STREAM, register, registered, update

client = loosely(client_page)

ONE, TWO = (PublicKey(kty="OKP", crv="Ed25519", x=mark * 43) for mark in "AE")
URI = "https://app.example.test/jwks"
NONE = Attributes()
TOKEN = RegistrationToken(token_id="t1", sha256="cd" * 32)
KEYED = registered(token_endpoint_auth_method="private_key_jwt")


def after(*events: Any) -> Any:
    return given(client, STREAM, KEYED, KeysRegistered(jwks=(ONE,)), *events)


# Registration -------------------------------------------------------------------------------------------------------


def test_a_client_with_keys_comes_with_them_and_without_a_secret() -> None:
    attributes = replace(APP, token_endpoint_auth_method="private_key_jwt")
    outcome = register(client.INITIAL, attributes=attributes, keys=ClientKeys(jwks=(ONE,)), token=TOKEN)
    told = RegistrationTokenIssued(token_id="t1", sha256="cd" * 32)
    assert outcome.events[1:] == (KeysRegistered(jwks=(ONE,)), told)


def test_who_registers_itself_gets_a_token_beside_its_secret() -> None:
    first, secret, told = register(client.INITIAL, attributes=APP, token=TOKEN, **SECRET).events
    assert (first.type, secret.type) == ("client.registered", "client.secret_issued")
    assert told == RegistrationTokenIssued(token_id="t1", sha256="cd" * 32)
    hashed = register(client.INITIAL, attributes=APP, token=TOKEN, foreign_secret="$2b$04$x").events
    assert [each.type for each in hashed[1:]] == ["client.foreign_secret_imported", told.type]


@pytest.mark.parametrize(("lifetime", "good"), [(-1, False), (0, False), (1, True), (None, True)])
def test_a_first_secret_lives_a_second_at_least(lifetime: int | None, good: bool) -> None:
    refusal = register(client.INITIAL, attributes=APP, secret=NewSecret("s1", "ab" * 32, lifetime)).refusal
    assert (refusal and refusal.field) == (None if good else "secret_lifetime")


def test_its_token_ends_once_and_no_other() -> None:
    state = given(client, STREAM, registered(), RegistrationTokenIssued(token_id="t1", sha256="cd" * 32))
    ended = client.revoke_registration_token(state, now=NOW, token_id="t1").events
    assert ended == (RegistrationTokenRevoked(token_id="t1"),)
    assert client.revoke_registration_token(state, now=NOW, token_id="t0").events == ()
    over = given(client, STREAM, registered(), RegistrationTokenIssued(token_id="t1", sha256="cd" * 32), *ended)
    assert client.revoke_registration_token(over, now=NOW, token_id="t1").events == ()
    assert client.revoke_registration_token(client.INITIAL, now=NOW, token_id="t1").refusal.reason is NotFound.UNKNOWN


# Change -------------------------------------------------------------------------------------------------------------


def test_other_keys_are_told_by_themselves_or_beside_the_rest() -> None:
    other = KeyChanges(jwks=(TWO,))
    assert update(after(), changes=NONE, keys=other).events == (KeysRegistered(jwks=(TWO,)),)
    assert update(after(), changes=NONE, keys=KeyChanges(jwks=(ONE,))).events == ()
    named = Attributes(client_name="Another")
    updated = ClientUpdated(old=Attributes(client_name="An app"), new=named)
    assert update(after(), changes=named, keys=other).events == (updated, KeysRegistered(jwks=(TWO,)))
    assert update(after(), changes=named).events == (updated,)


def test_keys_replace_their_address_and_the_other_way_round() -> None:
    at_address = update(after(), changes=NONE, keys=KeyChanges(jwks_uri=URI)).events
    assert at_address == (KeysRegistered(jwks_uri=URI),)
    state = after(*at_address)
    assert update(state, changes=NONE, keys=KeyChanges(jwks=(TWO,))).events == (KeysRegistered(jwks=(TWO,)),)
    assert update(state, changes=NONE, keys=KeyChanges(jwks=(TWO,), jwks_uri=URI)).refusal.field == "jwks_uri"


def test_keys_are_changed_by_who_could_give_what_they_open() -> None:
    service = registered(
        token_endpoint_auth_method="private_key_jwt",
        grant_types=("client_credentials",),
        redirect_uris=(),
        scope=("people:write",),
    )
    state = given(client, STREAM, service, KeysRegistered(jwks=(ONE,)))
    refused = update(state, changes=NONE, keys=KeyChanges(jwks=(TWO,))).refusal
    assert refused.reason is Forbidden.ADMINISTRATIVE_SCOPE


# The end ------------------------------------------------------------------------------------------------------------


def test_a_key_that_leaked_ends_once_and_never_comes_back() -> None:
    name = thumbprint(ONE)
    ended = client.revoke_key(after(), now=NOW, thumbprint=name).events
    assert ended == (KeyRevoked(thumbprint=name),)
    state = after(*ended)
    assert client.revoke_key(state, now=NOW, thumbprint=name).events == ()
    refused = update(state, changes=NONE, keys=KeyChanges(jwks=(ONE, TWO))).refusal
    assert (refused.reason, refused.field) == (InvalidRequest.MALFORMED, "jwks")
    assert update(state, changes=NONE, keys=KeyChanges(jwks=(TWO,))).refusal is None
    # Nor does it once another stood in its place.
    later = after(*ended, KeysRegistered(jwks=(TWO,)))
    assert update(later, changes=NONE, keys=KeyChanges(jwks=(ONE,))).refusal.field == "jwks"


def test_of_a_client_that_is_gone_there_is_nothing_to_end() -> None:
    assert client.revoke_key(after(ClientDeleted()), now=NOW, thumbprint="x").events == ()
    assert client.revoke_key(client.INITIAL, now=NOW, thumbprint="x").refusal.reason is NotFound.UNKNOWN
