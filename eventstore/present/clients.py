"""Clients, found by a dashboard's slug, by an origin or by a scope: a row says which stream to ask."""

from typing import NamedTuple

from domain import client, consent
from domain.event import Moment
from eventstore.present.folds import Folds
from projections import clients, consents


def by_slug(folds: Folds, slug: str) -> client.State | None:
    """The dashboard of this slug, enabled or not."""
    client_id = clients.id_by_slug(folds.connection, slug)
    if client_id is None:
        return None
    state: client.State = folds.state(client.stream(client_id))
    return state if client.alive(state) and state.slug == slug else None


def allow_origin(folds: Folds, origin: str) -> bool:
    """Whether some enabled client may be called from this origin: for requests that name no client (CORS)."""
    found = clients.may_allow_origin(folds.connection, origin)
    return any(_enabled(state) and origin in state.allowed_origins for state in (_of(folds, each) for each in found))


def naming_scope(folds: Folds, scope: str) -> bool:
    """Whether a client that is not deleted has this scope."""
    found = clients.may_name_scope(folds.connection, scope)
    return any(client.alive(state) and scope in state.scope for state in (_of(folds, each) for each in found))


def _of(folds: Folds, client_id: str) -> client.State:
    state: client.State = folds.state(client.stream(client_id))
    return state


def _enabled(state: client.State) -> bool:
    return client.barred(state) is None


# What a person allows: a row says whom, the stream what.


class Given(NamedTuple):
    """A consent that stands. `given_at` is for showing."""

    client_id: str
    scope: tuple[str, ...]
    given_at: Moment


def given_by(folds: Folds, account_id: str, *, limit: int) -> list[Given]:
    """All that a person allows, by client; `limit` of them at most."""
    found = []
    for client_id, given_at in consents.clients_of(folds.connection, account_id, limit):
        state: consent.State = folds.state(consent.stream(account_id, client_id))
        if state.given:
            found.append(Given(client_id, state.scope, given_at))
    return found
