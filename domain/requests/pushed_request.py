"""A pushed authorization request (RFC 9126). Stream `pushed_request:<request_id>`.

What it asks for stands sealed in a row for as long as it can be answered, and here who pushed it and what came of it:
that it was decided is what uses it up.
"""

from typing import Literal

import msgspec
from msgspec.structs import replace

from domain.decision import AccessDenied, Conflict, Outcome, accept, refuse
from domain.event import SECOND, Event, Moment, Recorded

PersonsAnswer = Literal["approved", "remembered", "denied"]
"""What the person said: in words, by what they had allowed before, or no."""


def stream(request_id: str) -> str:
    """The stream of this request."""
    return f"pushed_request:{request_id}"


class PushedRequestReceived(Event, frozen=True, kw_only=True):
    """A client that authenticated pushed an authorization request, to be opened within `lifetime` seconds.

    It showed a version of its secret, or signed with the key of that thumbprint.
    `request_uri` is the digest of the reference that it got for it; `asked` is the scope, null where it named none.
    """

    type = "pushed_request.received"

    client_id: str
    secret_id: str | None = None
    key_id: str | None = None
    request_uri: str
    lifetime: int
    redirect_uri: str
    asked: str | None = None


class PushedRequestDecided(Event, frozen=True, kw_only=True):
    """A person answered a pushed authorization request, which is used up by that. `grant_id` is what came of it."""

    type = "pushed_request.decided"
    in_doubt = True

    client_id: str
    account_id: str
    answer: PersonsAnswer
    grant_id: str | None = None


EVENTS: tuple[type[Event], ...] = (PushedRequestReceived, PushedRequestDecided)


class State(msgspec.Struct, frozen=True):
    """The request as its events tell; one of a client that proved nothing begins with its end."""

    client_id: str = ""
    received_at: Moment = 0
    expires_at: Moment = 0
    answer: PersonsAnswer | None = None


INITIAL = State()


def receive(
    state: State,
    *,
    now: Moment,
    client_id: str,
    secret_id: str | None,
    key_id: str | None = None,
    request_uri: str,
    lifetime: int,
    redirect_uri: str,
    asked: str | None,
) -> Outcome:
    """Records that a client which authenticated asked for something."""
    if state.client_id:
        return refuse(Conflict.EXISTS)
    return accept(
        PushedRequestReceived(
            client_id=client_id,
            secret_id=secret_id,
            key_id=key_id,
            request_uri=request_uri,
            lifetime=lifetime,
            redirect_uri=redirect_uri,
            asked=asked,
        )
    )


def decide(
    state: State, *, now: Moment, client_id: str, account_id: str, answer: PersonsAnswer, grant_id: str | None = None
) -> Outcome:
    """Uses the request up; refuses what was answered before (RFC 9126 §4)."""
    if state.answer is not None:
        return refuse(AccessDenied.ANSWERED)
    return accept(PushedRequestDecided(client_id=client_id, account_id=account_id, answer=answer, grant_id=grant_id))


def evolve(state: State, recorded: Recorded) -> State:
    """The request after one more event."""
    event, now = recorded.event, recorded.time
    match event:
        case PushedRequestReceived():
            return State(event.client_id, now, now + event.lifetime * SECOND)
        case PushedRequestDecided():
            return replace(state, client_id=event.client_id, answer=event.answer)
        case _:
            raise AssertionError(f"{recorded.type} is no event of a pushed request")
