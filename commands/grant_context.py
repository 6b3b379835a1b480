"""Who stands behind a request, read again under the ledger's lock."""

from collections.abc import Iterable

from domain import account, client, consent, role, scope, server
from domain.decision import Refusal, Unavailable
from domain.grants.grant_type import Parties, Subject
from eventstore.view import View

ASKED_AT_MOST = 100
"""Scope names of one request that are looked up. A client can have no more, so one beyond them is not its own."""


SUSPENDED = Refusal(Unavailable.SUSPENDED, "Nothing is issued at present, to anybody.")


def suspended(view: View) -> Refusal | None:
    """Why nothing may be issued at this moment, to whomever; None when it may."""
    state: server.State = view.state(server.STREAM)
    return None if state.suspended_at is None else SUSPENDED


def known_scopes(view: View, names: Iterable[str]) -> frozenset[str]:
    """Those of the names that are defined."""
    return frozenset(name for name in names if view.state(scope.stream(name)).exists)


def parties(
    view: View,
    *,
    client_id: str,
    secret_id: str | None,
    account_id: str | None,
    asked: tuple[str, ...] | None,
    issuer: str,
    with_consent: bool = False,
    subject: Subject | None = None,
) -> Parties:
    """Client, person, roles and scopes as they are now, for a decision about a grant."""
    asking: client.State = view.state(client.stream(client_id))
    names = {*asking.scope, *(asked or ())[:ASKED_AT_MOST]}
    person: account.State | None = None
    roles: tuple[role.State, ...] = ()
    consented: consent.State | None = None
    if account_id is not None:
        person = view.state(account.stream(account_id))
        roles = tuple(view.state(role.stream(person.realm, name)) for name in person.roles)
        if with_consent:
            consented = view.state(consent.stream(account_id, client_id))
    return Parties(
        client=asking,
        secret_id=secret_id,
        account=person,
        consent=consented,
        roles=roles,
        known=known_scopes(view, names),
        issuer=issuer,
        subject=subject,
    )
