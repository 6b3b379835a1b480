"""What clients do to register themselves and to manage that (RFC 7591, RFC 7592), and the tokens that let them."""

from typing import Literal, NamedTuple

from commands.clients import register, update
from domain import client, server
from domain.decision import InvalidToken, Outcome, Refusal
from domain.event import Recorded
from domain.keys.client_keys import KeyChanges
from domain.registering import initial_access_token, registration_token
from domain.registering.refusals import DeadInitialToken, RegistrationError
from domain.registering.registration_token import RegistrationToken, RegistrationTokenIssued
from domain.rules.client_metadata import ClientKeys
from domain.rules.pairwise import SectorDocument
from eventstore.command import Command
from eventstore.personal_data import PersonalData
from eventstore.view import View
from security.tokens import Format, Kind, Secret, new_id


def nobody(view: View) -> frozenset[str]:
    """What somebody may hand out who has no authority at all: nothing administrative."""
    return frozenset()


class MadeToken(NamedTuple):
    """A token that was made: in clear, for the one answer that shows it, and as the log learns of it."""

    secret: Secret
    known: RegistrationToken


def make_registration_token(format: Format) -> MadeToken:
    """Makes the token by which a client manages its registration."""
    secret = format.mint(Kind.REGISTRATION_ACCESS_TOKEN)
    return MadeToken(secret, RegistrationToken(new_id(), secret.hex))


def issue_initial(
    token_id: str, sha256: str, *, lifetime: int | None, uses: int | None
) -> Command[initial_access_token.State]:
    """Makes a token that lets its holders register clients: so many, for so many seconds; None has no end."""
    return Command(
        initial_access_token.stream(token_id),
        lambda state, view: initial_access_token.issue(
            state, now=view.now, sha256=sha256, lifetime=lifetime, uses=uses
        ),
    )


def use_initial(stream: str, client_id: str) -> Command[initial_access_token.State]:
    """Registers a client with an initial access token, as long as that is good."""
    return Command(stream, lambda state, view: initial_access_token.use(state, now=view.now, client_id=client_id))


def note_refusal(
    stream: str, members: tuple[str, ...], reason: RegistrationError | DeadInitialToken, count: int, seconds: int
) -> Command[initial_access_token.State]:
    """Nothing was registered with an initial access token."""
    refused = initial_access_token.RegistrationRefused(
        reason=reason, members=members, count=count, window_seconds=seconds
    )
    return Command(stream, lambda state, view: initial_access_token.note_refusal(state, now=view.now, refused=refused))


def note_change_refused(
    client_id: str, members: tuple[str, ...], reason: RegistrationError, count: int, seconds: int
) -> Command[client.State]:
    """A client was refused what it wanted to change of its registration."""
    refused = registration_token.ChangeRefused(reason=reason, members=members, count=count, window_seconds=seconds)
    return Command(client.stream(client_id), lambda state, view: registration_token.note_refusal(state.exists, refused))


def note_strangers(
    reason: RegistrationError | Literal["invalid_token"], count: int, seconds: int
) -> Command[server.State]:
    """Clients that nobody vouches for were refused."""
    refused = server.RegistrationsRefused(reason=reason, count=count, window_seconds=seconds)
    return Command(server.STREAM, lambda state, view: server.note(state, now=view.now, refused=refused))


def revoke_initial(token_id: str) -> Command[initial_access_token.State]:
    """Ends an initial access token."""
    return Command(
        initial_access_token.stream(token_id), lambda state, view: initial_access_token.revoke(state, now=view.now)
    )


def end(issued: Recorded) -> Command[client.State] | Command[initial_access_token.State]:
    """Ends the token of registration that an event issued."""
    event = issued.event
    if isinstance(event, RegistrationTokenIssued):
        token_id = event.token_id
        return Command[client.State](
            issued.stream,
            lambda state, view: client.revoke_registration_token(state, now=view.now, token_id=token_id),
        )
    return Command[initial_access_token.State](
        issued.stream, lambda state, view: initial_access_token.revoke(state, now=view.now)
    )


def change_itself(
    client_id: str,
    changes: client.Attributes,
    keys: ClientKeys,
    *,
    token: str,
    privacy: PersonalData,
    issuer: str,
    sector: SectorDocument | None,
) -> Command[client.State]:
    """Changes a client as it asks by its registration access token, of which `token` is the digest (RFC 7592 §2.2);
    `sector` is what its `sector_identifier_uri` gave."""
    every = KeyChanges(jwks=keys.jwks, jwks_uri=keys.jwks_uri, certificate=keys.certificate)
    changing = update(client_id, changes, keys=every, privacy=privacy, issuer=issuer, by=nobody, sector=sector)
    return changing.guarded(lambda view: _not_itself(view, client_id, token))


def keep_described(
    client_id: str,
    metadata_uri: str,
    described: client.Attributes,
    keys: ClientKeys,
    *,
    privacy: PersonalData,
    issuer: str,
    sector: SectorDocument | None,
) -> Command[client.State]:
    """Registers a client as the metadata document at its address describes it, or changes what is registered to that.
    One that was deleted stays so."""
    registration = client.Registration(
        attributes=described, keys=keys, self_registered="document", metadata_uri=metadata_uri
    )
    registering = register(client_id, registration, issuer=issuer, by=nobody, sector=sector)
    every = KeyChanges(jwks=keys.jwks, jwks_uri=keys.jwks_uri, certificate=keys.certificate)
    changing = update(client_id, described, keys=every, privacy=privacy, issuer=issuer, by=nobody, sector=sector)

    def decide(state: client.State, view: View) -> Outcome | Refusal:
        return (changing if state.exists else registering).decide(state, view)

    return Command(client.stream(client_id), decide)


def delete_itself(client_id: str, *, token: str) -> Command[client.State]:
    """Ends a client for good, as it asks by its registration access token (RFC 7592 §2.3)."""

    def decide(state: client.State, view: View) -> Outcome | Refusal:
        return _not_itself(view, client_id, token) or client.delete(state, now=view.now)

    return Command(client.stream(client_id), decide)


def _not_itself(view: View, client_id: str, token: str) -> Refusal | None:
    state: client.State = view.state(client.stream(client_id))
    if client.alive(state) and registration_token.matches(state.registration_token, token):
        return None
    return Refusal(InvalidToken.REVOKED)
