"""The present as the log proves it: a row is a hint where to look, and the events decide (docs/decisions).

Anyone who can write to the database can write a row of a projection, and no row is signed. Whatever decides something
therefore takes nothing from a row but the way to the events: the position of the one that issued a secret, or the
stream that a name or a digest leads to. What is true of it then, and whether it has ended, the fold of that stream
says. A row that leads nowhere, or to something else, counts as no row.

Lists of what somebody is shown, and counts, are read from the rows as they are.
"""

from base64 import urlsafe_b64decode
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Literal, NamedTuple

from domain import account, client, consent, incident, role, scope, session
from domain.event import Moment
from domain.factors import realm_policy
from domain.people import upstream_link
from domain.rules import administrative_scope
from domain.rules.built_in_scope import BUILT_IN, DESCRIPTIONS
from eventstore.personal_data import PersonalData
from eventstore.view import Folds
from projections import accounts, clients, consents, incidents, roles, scopes, sessions
from projections.people import foreign_hashes, upstream_links
from projections.tables import RowPage

# Clients, by a dashboard's slug, by an origin or by a scope.


def dashboard_by_slug(folds: Folds, slug: str) -> client.State | None:
    """The dashboard of this slug, enabled or not."""
    client_id = clients.id_by_slug(folds.connection, slug)
    if client_id is None:
        return None
    state: client.State = folds.state(client.stream(client_id))
    return state if client.alive(state) and state.slug == slug else None


def is_origin_allowed(folds: Folds, origin: str) -> bool:
    """Whether some enabled client may be called from this origin: for requests that name no client (CORS)."""
    states = (_client(folds, each) for each in clients.may_allow_origin(folds.connection, origin))
    return any(client.barred(state) is None and origin in state.allowed_origins for state in states)


def has_client_with_scope(folds: Folds, scope: str) -> bool:
    """Whether a client that is not deleted has this scope."""
    states = (_client(folds, each) for each in clients.may_name_scope(folds.connection, scope))
    return any(client.alive(state) and scope in state.scope for state in states)


def _client(folds: Folds, client_id: str) -> client.State:
    state: client.State = folds.state(client.stream(client_id))
    return state


# What a person allows: a row says whom, the stream what.


class GivenConsent(NamedTuple):
    """A consent that stands. `given_at` is for showing."""

    client_id: str
    scope: tuple[str, ...]
    given_at: Moment


def consents_of(folds: Folds, account_id: str, *, limit: int, after: str | None = None) -> RowPage[GivenConsent, str]:
    """What a person allows, by client; `after` is one."""
    page = consents.clients_of(folds.connection, account_id, limit, after)
    found = []
    for client_id, given_at in page.items:
        state: consent.State = folds.state(consent.stream(account_id, client_id))
        if state.given:
            found.append(GivenConsent(client_id, state.scope, given_at))
    return RowPage(tuple(found), page.next)


# People, by what they sign in with: the name that the stream holds, sealed, must have the blind index of the row.


Login = Literal["username", "email"]

ADMINISTRATION = "administration"
"""The realm of those who can make administrators."""


def person_by_login(folds: Folds, privacy: PersonalData, field: Login, realm: str, name: str) -> account.State | None:
    """The person in the realm who signs in with this name, enabled or not."""
    return _named(folds, privacy, field, realm, name, accounts.id_by_index).found


class NearestPerson(NamedTuple):
    """Whose name it is, if it is anybody's, and the one who stands there when names are put in order."""

    found: account.State | None
    neighbour: account.State | None


def nearest_person(folds: Folds, privacy: PersonalData, field: Login, realm: str, name: str) -> NearestPerson:
    """The same with one who stands in for them where there is nobody: then there is as much to be done."""
    return _named(folds, privacy, field, realm, name, accounts.id_nearest)


class LoginCheck(NamedTuple):
    """The nearest person to a name, and what their password is checked by: the hash in clear, theirs or that of who
    stands in for them, and the costs of the dearest hash that another system made of anybody's in the realm."""

    found: account.State | None
    neighbour: account.State | None
    encoded: str | None
    dearest: str | None


def login_check(folds: Folds, privacy: PersonalData, field: Login, realm: str, name: str) -> LoginCheck:
    """All of it at one look: whether there is such a person or not, it is as much to be done."""
    found, neighbour = nearest_person(folds, privacy, field, realm, name)
    sealed = None if neighbour is None else neighbour.password_hash
    return LoginCheck(found, neighbour, privacy.open(folds.connection, sealed), _dearest_hash(folds, realm))


def _dearest_hash(folds: Folds, realm: str) -> str | None:
    account_id = foreign_hashes.id_of_dearest(folds.connection, realm)
    if account_id is None:
        return None
    state: account.State = folds.state(account.stream(account_id))
    return None if state.foreign_hash is None else state.foreign_hash.costs


def person_by_upstream(folds: Folds, privacy: PersonalData, realm: str, issuer: str, sub: str) -> account.State | None:
    """The person in the realm who is linked to this `sub` at an OpenID provider, enabled or not."""
    index = privacy.index("sub", realm, sub)
    for account_id, name in upstream_links.found(folds.connection, realm, issuer, index):
        state: account.State = folds.state(account.stream(account_id))
        if account.alive(state) and state.realm == realm and is_linked(folds, privacy, state, name, issuer, sub):
            return state
    return None


def is_linked(folds: Folds, privacy: PersonalData, state: account.State, name: str, issuer: str, sub: str) -> bool:
    """Whether a person is linked to exactly this `sub`: unlike names, it differs by the case of its letters too."""
    link = upstream_link.named(state.upstreams, name, issuer)
    return link is not None and privacy.open(folds.connection, link.sub) == sub


def _named(
    folds: Folds, privacy: PersonalData, field: Login, realm: str, name: str, find: Callable[..., str | None]
) -> NearestPerson:
    index = privacy.index(field, realm, name)
    account_id = find(folds.connection, field, index, realm)
    if account_id is None:
        return NearestPerson(None, None)
    state: account.State = folds.state(account.stream(account_id))
    clear = privacy.open(folds.connection, getattr(state, field))
    named = clear is not None and state.realm == realm and account.alive(state)
    return NearestPerson(state if named and privacy.index(field, realm, clear or "") == index else None, state)


class TakenLogins(NamedTuple):
    """Which login names somebody else has."""

    username: bool
    email: bool


def taken_logins(
    folds: Folds, privacy: PersonalData, realm: str, *, username: str | None, email: str | None, but: str | None = None
) -> TakenLogins:
    """Whether somebody else in the realm has these login names."""

    def found(field: Login, name: str | None) -> bool:
        other = None if name is None else person_by_login(folds, privacy, field, realm, name)
        return other is not None and other.account_id != but

    return TakenLogins(found("username", username), found("email", email))


def ids_by_logins(
    folds: Folds, privacy: PersonalData, realm: str, username: str | None, email: str | None
) -> frozenset[str]:
    """Who in the realm has one of these login names."""
    given: tuple[tuple[Login, str | None], ...] = (("username", username), ("email", email))
    found = (person_by_login(folds, privacy, field, realm, name) for field, name in given if name)
    return frozenset(each.account_id for each in found if each is not None)


def has_person_with_role(folds: Folds, realm: str, name: str) -> bool:
    """Whether anybody in the realm has this role, disabled people included."""
    return any(True for _ in _people_with_role(folds, realm, name))


def is_last_administrator(folds: Folds, account_id: str) -> bool:
    """Whether this person alone is an administrator: the fact `leaves_no_administrator` of an account's verbs."""
    found = {each.account_id for each in _administrators(folds)}
    return found == {account_id}


def is_last_administrators_role(folds: Folds, realm: str, name: str) -> bool:
    """Whether all administrators owe it to this role: the fact `leaves_no_administrator` of a role's verbs."""
    if realm != ADMINISTRATION or not any(True for _ in _administrators(folds)):
        return False
    return not any(True for _ in _administrators(folds, without_role=name))


def _administrators(folds: Folds, without_role: str | None = None) -> Iterator[account.State]:
    """Enabled people who can make administrators, by another role than the one that is not counted."""
    realm = ADMINISTRATION
    for each in roles_of(folds, realm):
        if administrative_scope.PEOPLE_WRITE in each.scopes and each.name != without_role:
            yield from (person for person in _people_with_role(folds, realm, each.name) if person.enabled)


def _people_with_role(folds: Folds, realm: str, name: str) -> Iterator[account.State]:
    stream = role.stream(realm, name)
    if not folds.state(stream).exists:
        return
    for account_id in accounts.ids_with_role(folds.connection, realm, name):
        state: account.State = folds.state(account.stream(account_id))
        if account.alive(state) and state.realm == realm and name in state.roles:
            yield state


# Browser sessions, found by the digest of their secret: the row says which stream to ask, nothing else.


def session_by_digest(folds: Folds, sha256: bytes) -> tuple[str, session.State] | None:
    """Id and fold of the session with this secret, over or not; None when there is none or its row was pruned."""
    session_id = sessions.id_by_digest(folds.connection, sha256)
    if session_id is None:
        return None
    state: session.State = folds.state(session.stream(session_id))
    return (session_id, state) if state.exists and state.sha256 == sha256.hex() else None


# Roles.


def roles_of(folds: Folds, realm: str) -> Iterator[role.State]:
    """Every role of a realm, by name."""
    for name in roles.names_of(folds.connection, realm):
        state: role.State = folds.state(role.stream(realm, name))
        if state.exists:
            yield state


def default_roles(folds: Folds, realm: str) -> tuple[str, ...]:
    """The roles of people who are made without any."""
    return tuple(each.name for each in roles_of(folds, realm) if each.default)


def role_scopes(folds: Folds, realm: str, names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """What each of the named roles allows; those that do not exist are missing."""
    found: dict[str, role.State] = {name: folds.state(role.stream(realm, name)) for name in sorted(set(names))}
    return {name: state.scopes for name, state in found.items() if state.exists}


def has_role_with_scope(folds: Folds, scope: str) -> bool:
    """Whether a role allows this scope."""
    return any(
        scope in folds.state(role.stream(realm, name)).scopes
        for realm, name in roles.may_name_scope(folds.connection, scope)
    )


# Realms.


def realms(folds: Folds) -> tuple[str, ...]:
    """Every realm there is."""
    policies: realm_policy.State = folds.state(realm_policy.STREAM)
    return policies.realms


# Scopes.


def existing_scopes(folds: Folds, names: Iterable[str]) -> frozenset[str]:
    """Those of the names that are built in or defined."""
    return frozenset(name for name in names if name in BUILT_IN or folds.state(scope.stream(name)).exists)


def all_scopes(folds: Folds) -> tuple[str, ...]:
    """Every scope, by name."""
    named = scopes.names(folds.connection)
    folds.together([scope.stream(name) for name in named])
    defined = {name for name in named if folds.state(scope.stream(name)).exists}
    return tuple(sorted(defined | BUILT_IN))


def scope_descriptions(folds: Folds, names: Iterable[str]) -> dict[str, str]:
    """What to tell a person of each of the named scopes; those that do not exist are missing."""
    found: dict[str, scope.State] = {name: folds.state(scope.stream(name)) for name in sorted(set(names))}
    defined = {name: state.description for name, state in found.items() if state.exists}
    return {name: text for name, text in DESCRIPTIONS.items() if name in found} | defined


# Incidents.


def open_incident_about(
    folds: Folds,
    *,
    sha256: Collection[str] = (),
    client_id: str | None = None,
    account_id: str | None = None,
    target: incident.TargetKind | None = None,
) -> str | None:
    """The newest open incident about one of the digests, or about a target of that client or person."""

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


def leaked_keys(folds: Folds, thumbprints: Collection[str]) -> frozenset[str]:
    """Those keys and certificates that leaked, by their thumbprints, and were ended with an incident."""
    by_digest = {_digest_of(each): each for each in thumbprints}
    return frozenset(
        by_digest[sha256]
        for sha256, incident_id in incidents.with_secrets(folds.connection, list(by_digest))
        if _contained(folds.state(incident.stream(incident_id)), sha256)
    )


def _digest_of(thumbprint: str) -> str:
    return urlsafe_b64decode(thumbprint + "=").hex()


def _contained(state: incident.State, sha256: str) -> bool:
    return state.contained_at is not None and sha256 in state.secrets


def unclosed_incidents(folds: Folds) -> Iterator[tuple[str, incident.State]]:
    """Every incident that is not closed, with its id, the oldest first."""
    for each in incidents.ids(folds.connection):
        state: incident.State = folds.state(incident.stream(each))
        if state.exists and state.status != "closed":
            yield each, state
