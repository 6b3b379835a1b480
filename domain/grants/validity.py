"""Validity: the one rule by which a token, a code or a whole grant is alive, now or at any moment of the past.

It judges a small standing, so that the same rule serves live validation (a standing built from folds as they are) and
time travel (from folds as they were). A cut-off is a position: whatever stood in the log before it is dead for ever,
however often the client or the person is enabled again.
"""

from typing import Literal

import msgspec

from domain import account, client, consent, cut_off
from domain.event import Moment

TokenKind = Literal["access", "refresh", "code"]

TokenReason = Literal[
    "unknown",
    "not_yet_issued",
    "active",
    "expired",
    "revoked",
    "redeemed",
    "rotated",
    "grant_ended",
    "secret_ended",
    "client_disabled",
    "client_deleted",
    "person_disabled",
    "person_erased",
]
"""The closed list of the HTTP contract."""

Cause = Literal[TokenReason, "password_changed", "consent_withdrawn", "contained"]
"""What decided it. The contract counts a changed password, withdrawn consent and containment as ends of the grant."""

_ENDS_OF_THE_GRANT = frozenset[Cause](("password_changed", "consent_withdrawn", "contained"))


class TokenStanding(msgspec.Struct, frozen=True):
    """A token or code: `ended` by itself, or `rotated` and good until `grace_ends_at` (RFC 9700 §4.14.2). The key that
    signed it may have been revoked, at `key_revoked_at`."""

    kind: TokenKind
    position: int
    issued_at: Moment
    expires_at: Moment
    ended: bool = False
    rotated: bool = False
    grace_ends_at: Moment | None = None
    key_revoked_at: Moment | None = None


class ClientStanding(msgspec.Struct, frozen=True):
    """The client it was issued to, with its cut-offs and those of the version that authenticated (`domain.cut_off`)."""

    state: Literal["enabled", "disabled", "deleted"]
    cutoff: int = 0
    secret_cutoff: int = 0
    windows: tuple[cut_off.Stretch, ...] = ()
    secret_windows: tuple[cut_off.Stretch, ...] = ()


class PersonStanding(msgspec.Struct, frozen=True):
    """The person it acts for. `consent_cutoff` is that of their consent to the client, where the grant rests on one."""

    state: Literal["enabled", "disabled", "erased"]
    cutoff: int = 0
    password_cutoff: int = 0
    password_except: str | None = None
    consent_cutoff: int = 0
    windows: tuple[cut_off.Stretch, ...] = ()


class Standing(msgspec.Struct, frozen=True):
    """All that decides about one token. `person` is None where the client acts for itself. `through` are the
    clients whose tokens were exchanged for it (RFC 8693): what ends one of theirs ends it."""

    token: TokenStanding
    grant_id: str
    client: ClientStanding
    person: PersonStanding | None = None
    grant_ended_at: Moment | None = None
    through: tuple[ClientStanding, ...] = ()


def reason(standing: Standing | None, now: Moment) -> TokenReason:
    """Why it is dead at `now`, in the contract's words, or `active`; no standing at all is `unknown`."""
    if standing is None:
        return "unknown"
    found = cause(standing, now)
    return "grant_ended" if found in _ENDS_OF_THE_GRANT else found  # type: ignore[return-value]


def cause(standing: Standing, now: Moment) -> Cause:
    """What decides at `now`. Its own end comes first, then the grant's, then the cut-offs, then time."""
    token, ended_at = standing.token, standing.grant_ended_at
    if now < token.issued_at:
        return "not_yet_issued"
    if token.ended:
        return "redeemed" if token.kind == "code" else "revoked"
    if token.rotated and (token.grace_ends_at is None or now >= token.grace_ends_at):
        return "rotated"
    if token.key_revoked_at is not None and token.key_revoked_at < token.expires_at:
        return "revoked"
    # A grant that ended after the token had expired changed nothing for it.
    if ended_at is not None and ended_at < token.expires_at:
        return "grant_ended"
    cut = _client_cut(standing.client, token.position) or _person_cut(standing, token.position)
    if cut is not None:
        return cut
    if standing.through and any(_client_cut(each, token.position) is not None for each in standing.through):
        return "grant_ended"
    return "expired" if now >= token.expires_at else "active"


def active_until(standing: Standing) -> Moment:
    """Until when it is active, as long as nothing else happens: from `token.issued_at` to before this moment."""
    token = standing.token
    if cause(standing, token.issued_at) != "active":
        return token.issued_at
    if token.rotated and token.grace_ends_at is not None:
        return min(token.expires_at, token.grace_ends_at)
    return token.expires_at


def only_time_decides(standing: Standing) -> bool:
    """Whether it is active from its issue until it expires, as long as nothing else happens."""
    return not standing.token.rotated and cause(standing, standing.token.issued_at) == "active"


def _client_cut(client: ClientStanding, position: int) -> Cause | None:
    if client.state == "deleted":
        return "client_deleted"
    if client.state == "disabled" or position < client.cutoff:
        return "client_disabled"
    if position < client.secret_cutoff or cut_off.cutting(client.secret_windows, position) is not None:
        return "secret_ended"
    return "contained" if cut_off.cutting(client.windows, position) is not None else None


def _person_cut(standing: Standing, position: int) -> Cause | None:
    person = standing.person
    if person is None:
        return None
    if person.state == "erased":
        return "person_erased"
    if person.state == "disabled" or position < person.cutoff:
        return "person_disabled"
    if position < person.password_cutoff and standing.grant_id != person.password_except:
        return "password_changed"
    if cut_off.cutting(person.windows, position) is not None:
        return "contained"
    return "consent_withdrawn" if position < person.consent_cutoff else None


def of_client(state: client.State, secret_id: str | None) -> ClientStanding:
    """A client's part, from its fold and the secret version that authenticated."""
    cutoff = 0
    # With every refresh, and a generator costs twice as much.
    for secret in state.secrets:
        if secret.secret_id == secret_id:
            cutoff = secret.tokens_cutoff
            break
    windows, of_secret = cut_off.of_all(state.windows), cut_off.of_secret(state.windows, secret_id)
    if state.deleted or not state.exists:
        return ClientStanding("deleted", state.cutoff, cutoff, windows, of_secret)
    return ClientStanding("enabled" if state.enabled else "disabled", state.cutoff, cutoff, windows, of_secret)


def of_person(state: account.State, consented: consent.State | None) -> PersonStanding:
    """A person's part, from their fold and, where the grant rests on one, that of their consent."""
    kept: Literal["enabled", "disabled", "erased"] = "enabled" if state.enabled else "disabled"
    if state.erased or not state.exists:
        kept = "erased"
    return PersonStanding(
        kept,
        state.cutoff,
        state.password_cutoff,
        state.password_except,
        0 if consented is None else consented.cutoff,
        cut_off.of_all(state.windows),
    )
