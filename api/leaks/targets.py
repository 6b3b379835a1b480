"""What a containment is about: a secret version, a client, a person, an address, or the grant of a single token."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, select

from api.leaks.gathered import Gathered
from domain import client, incident
from domain.client_secret import ended
from domain.event import SECOND, Moment
from domain.incident import Numbers
from eventstore.ending import grants_of
from eventstore.issued import Issued
from eventstore.lifespans import Life
from eventstore.living import lives_of
from eventstore.view import View
from projections import blast_radius as radius
from projections.blast_radius import Count, Derived
from projections.grants import TABLE as GRANTS


class Target(NamedTuple):
    """What is to end. `grants` are those of a single token, code or session, `gathered` those of an address.

    `alone_until` is the expiry of an access token that ends without its grant.
    """

    kind: incident.Target
    client_id: str | None = None
    account_id: str | None = None
    secret_id: str | None = None
    grants: tuple[str, ...] = ()
    session_id: str | None = None
    sha256: str | None = None
    secret_kind: str | None = None
    alone_until: Moment | None = None
    gathered: Gathered | None = None

    @property
    def cuts_off(self) -> bool:
        """Whether one fact ends all of it."""
        return self.secret_id is not None or self.kind in ("client", "account")

    @property
    def is_counted(self) -> bool:
        """Whether what comes of it is counted, of which there may be a million: of anything else one looks."""
        return self.secret_id is not None or self.kind == "client"


def of_secret(connection: Connection, found: Issued) -> Target:
    """What is to end when this secret leaked."""
    if found.kind == "client_secret":
        return Target("secret", found.client_id, None, found.secret_id, (), None, found.sha256, found.kind)
    session_id = None
    grants: tuple[str, ...] = () if found.grant_id is None else (found.grant_id,)
    if found.kind == "session":
        session_id = found.by.stream.partition(":")[2]
        grants = of_session(connection, session_id, found.account_id)
    return Target("secret", found.client_id, found.account_id, None, grants, session_id, found.sha256, found.kind)


def of_session(connection: Connection, session_id: str, account_id: str | None) -> tuple[str, ...]:
    """The grants that were allowed in a browser session."""
    query = select(GRANTS.c.grant_id).where(GRANTS.c.account_id == account_id, GRANTS.c.session_id == session_id)
    return tuple(connection.scalars(query.order_by(GRANTS.c.started_position)))


# What it would end ------------------------------------------------------------------------------------------------


def blast_radius(
    connection: Connection, target: Target, head: int, now: Moment, since: Moment | None = None
) -> Derived:
    """All that a containment concerns, with what of it is alive. What is counted has been brought up to `head`."""
    if target.secret_id is not None and target.client_id is not None:
        return radius.of_secret(connection, target.client_id, target.secret_id, now, since)
    if target.kind == "client" and target.client_id is not None:
        return radius.of_client(connection, target.client_id, now, since)
    named: Sequence[str] = target.grants
    if target.kind == "account" and target.account_id is not None:
        named = [grant_id for grant_id, _ in grants_of(connection, target.account_id, head, now)]
    found = lives_of(connection, named, head)
    if target.alone_until is not None:
        alone = counted([life for life in found if life.sha256 == target.sha256], now)
        return alone._replace(grants=Count())
    return counted(found, now, since)


def counted(found: Sequence[Life], now: Moment, since: Moment | None = None) -> Derived:
    """The lives as counts. `since` narrows what is alive to what was issued since that second."""
    floor = 0 if since is None else since // SECOND * SECOND
    living = [life for life in found if life.until > now and life.issued_at >= floor]

    def of(kind: str) -> Count:
        return Count(sum(life.kind == kind for life in found), sum(life.kind == kind for life in living))

    return Derived(
        Count(len({life.grant_id for life in found}), len({life.grant_id for life in living})),
        of("code"),
        of("access"),
        of("refresh"),
        len({life.account_id for life in living if life.account_id is not None}),
    )


def numbers(found: Derived, secrets_ended: int) -> Numbers:
    """What a containment reports."""
    return Numbers(secrets_ended, found.grants.live, found.tokens_live, found.people)


def secrets_ended(view: View, target: Target) -> int:
    """How many secret versions it ends that live."""
    if target.client_id is None or not (target.secret_id is not None or target.kind == "client"):
        return 0
    state: client.State = view.state(client.stream(target.client_id))
    return living_secrets(state, target.secret_id, view.now)


def living_secrets(state: client.State, secret_id: str | None, now: Moment) -> int:
    """The versions that live: of all, or of one. With a client that was deleted all of its versions are over."""
    if state.deleted:
        return 0
    return sum(ended(version, now) is None and secret_id in (None, version.secret_id) for version in state.secrets)
