"""What a person allows: a row says whom, the stream what."""

from typing import NamedTuple

from domain import consent
from domain.event import Moment
from eventstore.present.folds import Folds
from projections import consents


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
