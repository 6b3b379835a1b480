"""What people hear about their accounts: whether an event concerns somebody, who it is, and what they chose."""

import re
from collections.abc import Collection, Mapping, Sequence
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from commands.people import session_is_live
from domain import account, session
from domain.cut_off import AccountTokensEnded
from domain.decision import AccessDenied, Outcome, Refusal
from domain.event import SECOND, Event, Moment, Recorded, Sealed
from domain.factors.second_factor import FactorFailed, PasskeyCounterReversed
from domain.grant import GrantEnded, RefreshReplayed, TokensIssued
from domain.people import notices
from domain.people.notices import NoticeKind
from domain.people.own_data import ErasureRequested
from domain.session import SessionStarted
from eventstore.command import Command
from eventstore.database import Connection
from eventstore.pending import letters
from eventstore.pending.letters import Letter
from eventstore.personal_data import PersonalData
from eventstore.search import Criteria, recorded_at, recorded_forms, search
from eventstore.view import Folds, View
from projections import person_notices
from projections.event_index import NameKind
from projections.person_notices import FACTOR_CHANGES, UPSTREAM_CHANGES
from security.tokens import new_id
from security.vault import Vault

LASTS = 3 * 86_400
"""Seconds for which it is tried to tell somebody."""

LOOKED_BACK = 50
"""Sign-ins before one, among which it is looked whether its network and device are known."""

SIGN_INS = ("session.started", "grant.tokens_issued")
CHANGES: Mapping[NoticeKind, tuple[type[Event], ...]] = {
    "factor_changed": FACTOR_CHANGES,
    "upstream_changed": UPSTREAM_CHANGES,
    "erasure_requested": (ErasureRequested,),
    "passkey_copied": (PasskeyCounterReversed,),
}
_VERSIONS = re.compile(r"[\d._]+")
"""Of a user agent, what changes with every update of a browser."""


class ConcernedPerson(NamedTuple):
    """Who is told, and of what."""

    account_id: str
    kind: NoticeKind


def concerned(folds: Folds, privacy: PersonalData, position: int) -> ConcernedPerson | None:
    """Whom the event at a position is told to; None for nobody, and for who has no address or chose not to be told."""
    recorded = recorded_at(folds.connection, position)
    if recorded is None or not isinstance(recorded.event, person_notices.HANDLES):
        return None
    account_id = _account_id(folds, recorded)
    if account_id is None:
        return None
    person: account.State = folds.state(account.stream(account_id))
    kind = _kind(folds.connection, privacy, recorded, person)
    if kind is None or not account.alive(person) or person.email is None or kind in person.notices_off:
        return None
    return ConcernedPerson(account_id, kind)


def _account_id(folds: Folds, recorded: Recorded) -> str | None:
    category, _, name = recorded.stream.partition(":")
    if category == "account":
        return name
    if isinstance(recorded.event, SessionStarted | TokensIssued):
        return recorded.event.account_id
    found: str | None = folds.state(recorded.stream).account_id
    return found


def _kind(
    connection: Connection, privacy: PersonalData, recorded: Recorded, person: account.State
) -> NoticeKind | None:
    event = recorded.event
    if not person_notices.is_told(event):
        return None
    match event:
        case SessionStarted() | TokensIssued():
            return "new_device" if _is_new(connection, privacy, recorded, person.account_id) else None
        case FactorFailed():
            failures = person.factors.failures
            # Of those within an hour the first is told.
            return "factor_failed" if failures and failures[0].at == recorded.time else None
        case RefreshReplayed():
            return "refresh_replayed"
        case GrantEnded() | AccountTokensEnded():
            return "contained"
        case _:
            return next((kind for kind, types in CHANGES.items() if isinstance(event, types)), "password_changed")


def _is_new(connection: Connection, privacy: PersonalData, recorded: Recorded, account_id: str) -> bool:
    """Whether the person never signed in from such a network, or never with such a device. Where they never signed in
    at all, as far as the log still tells from where, nothing is new."""
    types = tuple((NameKind.TYPE, name.encode()) for name in SIGN_INS)
    filters = (((NameKind.PERSON_ACTING, account_id.encode()),), types)
    before = Criteria(filters, 1, recorded.position - 1, descending=True)
    found = recorded_forms(connection, search(connection, before, LOOKED_BACK).positions)
    places = [_place(connection, privacy, each) for each in found]
    networks = {network for network, _ in places if network is not None}
    devices = {device for _, device in places if device is not None}
    network, device = _place(connection, privacy, recorded)
    is_new_network = network is not None and bool(networks) and network not in networks
    return is_new_network or (device is not None and bool(devices) and device not in devices)


def _place(connection: Connection, privacy: PersonalData, recorded: Recorded) -> tuple[str | None, str | None]:
    address, agent = came_from(connection, privacy, recorded)
    return None if address is None else network_of(address), None if agent is None else _VERSIONS.sub("", agent)


def came_from(connection: Connection, privacy: PersonalData, recorded: Recorded) -> tuple[str | None, str | None]:
    """The address and the user agent that an event was caused from, in clear; None for what has ended."""
    address = None if recorded.ip is None else Sealed(recorded.id, "ip", recorded.ip)
    agent = None if recorded.user_agent is None else Sealed(recorded.id, "user_agent", recorded.user_agent)
    return privacy.open(connection, address), privacy.open(connection, agent)


def network_of(address: str) -> str:
    """The network of an address as one knows where somebody usually is: a /16 of IPv4, a /32 of IPv6."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    return str(ip_network((parsed, 16 if parsed.version == 4 else 32), strict=False))


def write_letters(
    connection: Connection, vault: Vault, found: Sequence[tuple[int, ConcernedPerson | None]], now: Moment
) -> None:
    """Exchanges events that wait, by their positions, for the letters that tell of them, unless somebody was faster."""
    for position, whom in found:
        if person_notices.take(connection, position) and whom is not None:
            letter = Letter(whom.kind, whom.account_id, now + LASTS * SECOND, position=position)
            letters.put(connection, vault, new_id(), letter, now)


WAITING_AT_MOST = 5
"""Letters to a person that wait, with which no further one comes of a sign-in that was left."""


def factor_letter_id(auth_session: str) -> str:
    """By which the letter is known that tells of a sign-in which was left before the second factor: the digest of that
    sign-in, shortened."""
    return f"factor-{auth_session[:32]}"


def await_factor(connection: Connection, vault: Vault, auth_session: str, letter: Letter, now: Moment) -> None:
    """Has the person told when the time for the factor is over, unless it was shown, or a wrong one was, which is told
    by itself."""
    if letters.count_to(connection, letter.account_id) < WAITING_AT_MOST:
        due_at = letter.expires_at - LASTS * SECOND
        letters.put(connection, vault, factor_letter_id(auth_session), letter, now, due_at)


def choose(account_id: str, session_id: str, off: Collection[NoticeKind]) -> Command[account.State]:
    """A person who is signed in is not to be notified of these."""

    def decide(state: account.State, view: View) -> Outcome | Refusal:
        signed_in: session.State = view.state(session.stream(session_id))
        if signed_in.account_id != account_id or not session_is_live(view, session_id):
            return Refusal(AccessDenied.ACCOUNT)
        return notices.choose(state.notices_off, now=view.now, off=off)

    return Command(account.stream(account_id), decide)
