"""The grants of presented codes and tokens: a row says which stream to ask, and the stream whether it knows them."""

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from domain import grant
from eventstore import issued
from eventstore.issued import Kind
from eventstore.present.folds import Folds
from projections import tokens


class OfGrant(NamedTuple):
    """To which grant a code or token belongs."""

    kind: Kind
    grant_id: str
    account_id: str | None


def grants_of(
    folds: Folds, digests: Sequence[bytes], load: Callable[[Collection[str]], None]
) -> dict[bytes, OfGrant | None]:
    """The grants of codes and tokens, even of those whose rows were pruned: their replay is still to be noticed.

    `load` is told the streams that will be asked for, so that they are read together.
    """
    rows = tokens.grants_of(folds.connection, digests)
    load({f"grant:{grant_id}" for _, grant_id in rows})
    known: dict[bytes, OfGrant | None] = {}
    for digest, grant_id in rows:
        known[digest] = _current(folds.state(f"grant:{grant_id}"), digest.hex())
    for digest in digests:
        if known.get(digest) is None:
            known[digest] = _by_event(folds, digest)
    return known


def _current(state: grant.State, sha256: str) -> OfGrant | None:
    """What the fold itself knows of: the code, and the refresh tokens that can still be presented."""
    if state.code is not None and state.code.sha256 == sha256:
        return OfGrant("code", state.grant_id, state.account_id)
    if state.succession.find(sha256) is not None:
        return OfGrant("refresh", state.grant_id, state.account_id)
    return None


def _by_event(folds: Folds, digest: bytes) -> OfGrant | None:
    found = issued.find(folds.connection, digest)
    if found is None or found.grant_id is None:
        return None
    return OfGrant(found.kind, found.grant_id, found.account_id)
