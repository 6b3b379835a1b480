"""Streams of security events (OpenID Shared Signals Framework 1.0): whom an event concerns, what receivers ask for, and
what came of telling them."""

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from domain import account, client, consent, grant, session
from domain.account import AccountDisabled, AccountErased, PasswordChanged
from domain.cut_off import AccountTokensEnded
from domain.decision import Outcome, Refusal
from domain.event import Event, Moment, Recorded
from domain.factors.second_factor import (
    FactorRemoved,
    Factors,
    FactorsReset,
    PasskeyCounterReversed,
    PasskeyEnrolled,
    TotpEnrolled,
)
from domain.grants import validity
from domain.rules import pairwise
from domain.session import SessionEnded
from domain.signals import event_stream
from domain.signals.event_stream import ControlKind, SignalFailure, SignalKind, StreamStatus, StreamTerms
from eventstore.command import Command
from eventstore.database import Connection
from eventstore.search import recorded_at
from eventstore.time_travel import FoldOf, states_at
from eventstore.view import View
from projections import clients, grants, session_grants, signals

SCOPE = "ssf"
"""What a receiver's tokens must hold."""

SEES_ALL = "audit:personal"
"""A client with this scope hears of everybody in its realm."""

GRANTS_AT_MOST = 10_000
"""Grants of one person that are looked at."""


class ToldSignal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a receiver is to be told: `said` are the event's own members. `sid` is the session as it knows it, None for
    all of them. Without an account it is about the stream itself."""

    event: SignalKind | ControlKind
    stream_id: str
    at: Moment
    account_id: str | None = None
    sector: str | None = None
    sid: str | None = None
    said: dict[str, str] = {}


class Addressed(NamedTuple):
    """A security event and the client that is to hear of it."""

    client_id: str
    told: ToldSignal


def addressed(connection: Connection, position: int) -> list[Addressed]:
    """Who is to be told what of the event at a position: each receiver with a live grant of that person, as it was
    before it, and those who hear of everybody in the realm."""
    recorded = recorded_at(connection, position)
    if recorded is None or not isinstance(recorded.event, signals.HANDLES):
        return []
    before = states_at(connection, position - 1)
    receivers = list(_receivers(connection, before))
    if not receivers:
        return []
    account_id, session_id = _whom(recorded, before)
    person: account.State = before(account.stream(account_id))
    found: list[Addressed] = []
    for receiver, stream in receivers:
        if not _concerns(connection, before, receiver, person, recorded, session_id):
            continue
        sid = None if session_id is None else session.sid(session_id, receiver.client_id)
        for event, said in _kinds(recorded.event, person.factors):
            if stream.terms is not None and event in stream.terms.events:
                told = ToldSignal(
                    event=event,
                    stream_id=stream.stream_id,
                    at=recorded.time,
                    account_id=account_id,
                    sector=pairwise.sector(receiver),
                    sid=sid if event == "session_revoked" else None,
                    said=said,
                )
                found.append(Addressed(receiver.client_id, told))
    return found


def _whom(recorded: Recorded, before: FoldOf) -> tuple[str, str | None]:
    """The person, and the session if it is about a single one."""
    category, _, name = recorded.stream.partition(":")
    if category == "session":
        state: session.State = before(recorded.stream)
        return state.account_id, name
    return name, None


def _kinds(event: Event, factors: Factors) -> Iterator[tuple[SignalKind, dict[str, str]]]:
    """What an event of ours is in the words of CAEP and RISC."""
    if isinstance(event, SessionEnded | AccountDisabled | AccountErased | PasswordChanged | AccountTokensEnded):
        yield "session_revoked", {}
    match event:
        case AccountDisabled() | AccountErased():
            yield "account_disabled", {}
        case PasswordChanged():
            yield "credential_change", {"credential_type": "password", "change_type": "update"}
        case TotpEnrolled():
            yield "credential_change", {"credential_type": "app", "change_type": "create"}
        case PasskeyEnrolled():
            yield "credential_change", {"credential_type": "passkey", "change_type": "create"}
        case FactorRemoved() | FactorsReset():
            for kind in _removed(event, factors):
                yield "credential_change", {"credential_type": kind, "change_type": "delete"}
        case PasskeyCounterReversed():
            # There may be a copy of it.
            yield "credential_compromise", {"credential_type": "passkey"}
        case AccountTokensEnded():
            yield "credential_compromise", {"credential_type": "token"}


def _removed(event: FactorRemoved | FactorsReset, factors: Factors) -> Iterator[str]:
    """Of which types the factors were that are gone."""
    gone = None if isinstance(event, FactorsReset) else event.factor_id
    if factors.totp is not None and gone in (None, factors.totp):
        yield "app"
    if factors.passkeys and (gone is None or factors.passkey(gone) is not None):
        yield "passkey"


def _receivers(connection: Connection, before: FoldOf) -> Iterator[tuple[client.State, event_stream.State]]:
    for client_id in clients.may_name_scope(connection, SCOPE):
        stream: event_stream.State = before(event_stream.stream(client_id))
        if stream.terms is None or stream.status == "disabled":
            continue
        receiver: client.State = before(client.stream(client_id))
        if client.barred(receiver) is None and SCOPE in receiver.scope:
            yield receiver, stream


def _concerns(
    connection: Connection,
    before: FoldOf,
    receiver: client.State,
    person: account.State,
    recorded: Recorded,
    session_id: str | None,
) -> bool:
    if SEES_ALL in receiver.scope:
        return receiver.realm == person.realm
    if session_id is not None:
        # Of a session that it has nothing from it learns nothing.
        of_session = session_grants.of_session(connection, session_id)
        return any(
            each.client_id == receiver.client_id and _was_live(before, each.grant_id, recorded) for each in of_session
        )
    held = grants.held(connection, person.account_id, receiver.client_id, recorded.time, GRANTS_AT_MOST)
    return any(_was_live(before, grant_id, recorded) for grant_id in held)


def _was_live(before: FoldOf, grant_id: str, recorded: Recorded) -> bool:
    state: grant.State = before(f"grant:{grant_id}")
    if not state.exists or state.account_id is None:
        return False
    consented: consent.State = before(consent.stream(state.account_id, state.client_id))
    standing = validity.Standing(
        token=validity.TokenStanding("refresh", state.position, state.started_at, recorded.time + 1),
        grant_id=grant_id,
        client=validity.of_client(before(client.stream(state.client_id)), None),
        person=validity.of_person(before(account.stream(state.account_id)), consented),
        # What ended with others is announced only now, session by session.
        grant_ended_at=None if state.ended_together is not None else state.ended_at,
    )
    return validity.cause(standing, recorded.time) == "active"


# What a receiver asks for.


def create(client_id: str, stream_id: str, terms: StreamTerms) -> Command[event_stream.State]:
    """Makes a receiver's stream."""
    return Command(
        event_stream.stream(client_id),
        lambda state, view: event_stream.create(state, now=view.now, stream_id=stream_id, terms=terms),
    )


def change(client_id: str, stream_id: str, terms: StreamTerms) -> Command[event_stream.State]:
    """Changes what a receiver hears and how."""
    return Command(
        event_stream.stream(client_id),
        lambda state, view: event_stream.change(state, now=view.now, stream_id=stream_id, terms=terms),
    )


def change_status(
    client_id: str, stream_id: str, status: StreamStatus, *, overflowed: bool = False
) -> Command[event_stream.State]:
    """Has a stream go on, wait or be silent."""

    def decide(state: event_stream.State, view: View) -> Outcome | Refusal:
        return event_stream.change_status(
            state, now=view.now, stream_id=stream_id, status=status, overflowed=overflowed
        )

    return Command(event_stream.stream(client_id), decide)


def delete(client_id: str, stream_id: str) -> Command[event_stream.State]:
    """Ends a receiver's stream."""
    return Command(
        event_stream.stream(client_id),
        lambda state, view: event_stream.delete(state, now=view.now, stream_id=stream_id),
    )


# What came of telling it.


def note_delivered(
    client_id: str, jti: str, event: SignalKind | ControlKind, attempts: int
) -> Command[event_stream.State]:
    """Records that a receiver took a security event."""
    return Command(
        event_stream.stream(client_id),
        lambda state, view: event_stream.note_delivered(state, now=view.now, jti=jti, event=event, attempts=attempts),
    )


def note_failed(
    client_id: str,
    jti: str,
    event: SignalKind | ControlKind,
    attempts: int,
    reason: SignalFailure,
    *,
    status: int | None = None,
    final: bool,
) -> Command[event_stream.State]:
    """Records that a receiver did not take a security event: the first time, and when it is given up."""
    return Command(
        event_stream.stream(client_id),
        lambda state, view: event_stream.note_failed(
            state, now=view.now, jti=jti, event=event, attempts=attempts, reason=reason, status=status, final=final
        ),
    )
