"""Incidents that are open: a row says which stream to ask, the stream what it is about and whether it is closed."""

from collections.abc import Collection, Iterator

from domain import incident
from eventstore.present.folds import Folds
from projections import incidents


def open_about(
    folds: Folds,
    *,
    sha256: Collection[str] = (),
    client_id: str | None = None,
    account_id: str | None = None,
    target: incident.Target | None = None,
) -> str | None:
    """The id of the newest incident that is open and about this: one of the digests, or a target of that client or
    person.
    """

    def about(state: incident.State) -> bool:
        if not state.exists or state.status == "closed":
            return False
        if sha256:
            return not state.secrets.isdisjoint(sha256)
        return (
            state.target == target and client_id in (None, state.client_id) and account_id in (None, state.account_id)
        )

    found = incidents.ids_open_about(
        folds.connection, sha256=sha256, client_id=client_id, account_id=account_id, target=target
    )
    return next((each for each in found if about(folds.state(incident.stream(each)))), None)


def unclosed(folds: Folds) -> Iterator[tuple[str, incident.State]]:
    """Every incident that is not closed, with its id, the oldest first."""
    for each in incidents.ids(folds.connection):
        state: incident.State = folds.state(incident.stream(each))
        if state.exists and state.status != "closed":
            yield each, state
