"""What a containment is about: a secret version, a client, a person, an address, or the grant of a single token."""

from collections.abc import Collection, Iterable, Sequence
from itertools import chain
from typing import NamedTuple, TypeVar

from api.leaks.address_target import GatheredTarget
from domain import client, incident
from domain.client_secret import ended
from domain.event import Moment
from domain.grant import CodeIssued, DeviceApproved
from domain.incident import Leaked, Numbers
from domain.registering import initial_access_token, registration_token
from eventstore import search
from eventstore.affected import Counting, counted
from eventstore.database import Connection
from eventstore.issued import IssuanceRecord
from eventstore.pending import mailed_links
from eventstore.time_travel import Descendant, descendants, grants_of_people
from eventstore.view import View
from projections import grants
from projections.blast_radius import Alive, RadiusQuestion

T = TypeVar("T")

REGISTERING = ("initial_access_token", "registration_access_token")
"""Kinds of secrets by which clients register, and manage that."""


class Alone(NamedTuple):
    """An access token that ends without its grant."""

    grant_id: str
    sha256: str
    expires_at: Moment


class Target(NamedTuple):
    """What is to end. `grants` are those of single tokens, codes or sessions, `gathered` those of an address or a key.
    `leaked` are the secrets by which it is known. There may be many of one client, or of one person's sign-ins.
    `registering` are tokens that let clients register and manage that, `links` digests of links that were mailed."""

    kind: incident.TargetKind
    client_id: str | None = None
    account_id: str | None = None
    secret_ids: tuple[str, ...] = ()
    grants: tuple[str, ...] = ()
    session_ids: tuple[str, ...] = ()
    leaked: tuple[Leaked, ...] = ()
    alone: tuple[Alone, ...] = ()
    gathered: GatheredTarget | None = None
    registering: tuple[IssuanceRecord, ...] = ()
    links: tuple[bytes, ...] = ()

    @property
    def clients(self) -> tuple[str, ...]:
        """The clients whose it is."""
        if self.gathered is not None:
            return self.gathered.holders
        return () if self.client_id is None else (self.client_id,)

    @property
    def cuts_off(self) -> bool:
        """Whether facts about a client or person end all of it, which can spare what is older."""
        return self.kind in ("client", "account") or bool(self.secret_ids and not self.grants and not self.alone)

    def counted(self, since: Moment | None) -> RadiusQuestion | None:
        """What of it is counted, of which there may be a million; None where one looks at each."""
        if self.client_id is None or not (self.secret_ids or self.kind == "client"):
            return None
        return RadiusQuestion(self.client_id, None if self.kind == "client" else self.secret_ids, since)

    @property
    def secret_id(self) -> str | None:
        """The secret version that it is about, if it is one."""
        return self.secret_ids[0] if len(self.secret_ids) == 1 else None

    @property
    def grant_id(self) -> str | None:
        """The grant that it is about, if it is one."""
        return self.grants[0] if len(self.grants) == 1 else None

    @property
    def sha256(self) -> str | None:
        """The digest of the first secret that leaked."""
        return self.leaked[0].sha256 if self.leaked else None


def of_secret(connection: Connection, found: IssuanceRecord) -> Target:
    """What is to end when this secret leaked."""
    leaked = (Leaked(found.sha256, found.kind),)
    if found.kind == "client_secret":
        return Target("secret", found.client_id, secret_ids=(found.secret_id or "",), leaked=leaked)
    if found.kind in REGISTERING:
        return Target("secret", found.client_id, leaked=leaked, registering=(found,))
    session_ids: tuple[str, ...] = ()
    grants: tuple[str, ...] = () if found.grant_id is None else (found.grant_id,)
    if found.kind == "session":
        session_ids = (found.by.stream.partition(":")[2],)
        grants = of_session(connection, session_ids[0], found.account_id)
    return Target("secret", found.client_id, found.account_id, (), grants, session_ids, leaked)


def together(targets: Iterable[Target]) -> list[Target]:
    """Secrets that leaked together: one target for each client, and for each person whose sign-ins are among them."""
    return [merged(group) for group in grouped(targets)]


def grouped(targets: Iterable[Target]) -> list[list[Target]]:
    """Those of one client together, and those of one person's sign-ins."""
    groups: dict[tuple[str, str | None], list[Target]] = {}
    for target in targets:
        about = ("account", target.account_id) if target.client_id is None else ("client", target.client_id)
        groups.setdefault(about, []).append(target)
    return list(groups.values())


def merged(group: Sequence[Target]) -> Target:
    """All of one client's or one person's as one target."""
    first = group[0]
    if len(group) == 1:
        return first
    people = {each.account_id for each in group}
    grants = _distinct(each.grants for each in group)
    return first._replace(
        account_id=first.account_id if len(people) == 1 else None,
        secret_ids=_distinct(each.secret_ids for each in group),
        grants=grants,
        session_ids=_distinct(each.session_ids for each in group),
        leaked=_distinct(each.leaked for each in group),
        registering=tuple(each for part in group for each in part.registering),
        links=_distinct(each.links for each in group),
        alone=tuple(each for each in _distinct(each.alone for each in group) if each.grant_id not in grants),
    )


def _distinct(parts: Iterable[Iterable[T]]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(chain.from_iterable(parts)))


def of_session(connection: Connection, session_id: str, account_id: str | None) -> tuple[str, ...]:
    """The grants that were allowed in a browser session, as the event that began each of them says."""
    told = search.recorded_forms(connection, grants.begun_in(connection, session_id, account_id))
    return tuple(
        each.stream.partition(":")[2]
        for each in told
        if isinstance(each.event, CodeIssued | DeviceApproved) and each.event.session_id == session_id
    )


# What it would end ------------------------------------------------------------------------------------------------


def concerned(view: View, target: Target) -> list[Descendant]:
    """The codes and tokens of what a containment names one by one: each of them is looked at."""
    connection, state, head, now = view.connection, view.state, view.head, view.now
    if target.kind == "account" and target.account_id is not None:
        return descendants(connection, state, grants_of_people(connection, [target.account_id], now), head, now)
    found = descendants(connection, state, target.grants, head, now)
    if target.alone:
        digests = {each.sha256 for each in target.alone}
        named = tuple(dict.fromkeys(each.grant_id for each in target.alone))
        # No grant ends with them.
        found += [
            each._replace(grant_id="")
            for each in descendants(connection, state, named, head, now)
            if each.sha256 in digests
        ]
    return found


def with_counted(view: View, counting: Counting, looked_at: Sequence[Descendant]) -> Alive:
    """What is counted together with what was looked at, of which some may be counted: nobody and nothing twice."""
    every = counting.look(view)
    own = [each for each in looked_at if each.alive and not counting.counts(each)]
    if not own:
        return every
    grants = {each.grant_id for each in own} & {
        each.grant_id for each in looked_at if each.alive and counting.counts(each)
    }
    people = {each.account_id for each in own if each.account_id is not None}
    theirs = grants_of_people(view.connection, sorted(people), view.now)
    other = descendants(view.connection, view.state, theirs, view.head, view.now)
    people &= {each.account_id for each in other if each.alive and counting.counts(each)}
    return every.plus(counted(own)).minus(Alive(grants=len(grants - {""}), people=len(people)))


def numbers(found: Alive, secrets_ended: int) -> Numbers:
    """What a containment reports."""
    return Numbers(secrets_ended, found.grants, found.tokens, found.people)


def secrets_ended(view: View, target: Target) -> int:
    """How many secret versions, and tokens of registration, it ends that live."""
    alive = sum(_registers(view, each) for each in target.registering) + links_good(view, target)
    if target.client_id is None or target.counted(None) is None:
        return alive
    state: client.State = view.state(client.stream(target.client_id))
    return alive + living_secrets(state, None if target.kind == "client" else target.secret_ids, view.now)


def links_good(view: View, target: Target) -> int:
    """How many links that were mailed it ends that are not over."""
    return mailed_links.count_good(view.connection, target.links, view.now) if target.links else 0


def _registers(view: View, found: IssuanceRecord) -> bool:
    """Whether a token of registration is good for anything."""
    state = view.state(found.by.stream)
    if isinstance(state, client.State):
        return client.alive(state) and registration_token.matches(state.registration_token, found.sha256)
    return initial_access_token.standing(state, view.now) == "active"


def living_secrets(state: client.State, secret_ids: Collection[str] | None, now: Moment) -> int:
    """The versions that live: of all, or of these. With a client that was deleted all of its versions are over."""
    if state.deleted:
        return 0
    return sum(
        ended(version, now) is None and (secret_ids is None or version.secret_id in secret_ids)
        for version in state.secrets
    )
