"""What a containment affects, found and counted: what came of a client's secrets, and what was used from an address."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, or_, select, text

from domain import account, client, client_secret, consent, cut_off, ended_grants, exchange, grant, session
from domain.event import SECOND, Moment, Recorded
from domain.events import ENDING_MANY
from domain.rules import exchange_policy
from eventstore import search
from eventstore.issued import exchanged_with, has_exchanged
from eventstore.ledger import Ledger
from eventstore.recorder import portions, store
from eventstore.sealed import packed_rows, rows_given
from eventstore.sealed.excerpt import IS_DROPPED
from eventstore.sealed.rows_given import GIVEN
from eventstore.sealed.short_names import kept_type, listed
from eventstore.stored import events
from eventstore.time_travel import (
    AT_ONCE,
    Descendant,
    FoldOf,
    descendants,
    folded,
    grants_of_people,
    latest,
    offline_until,
    states_at,
)
from eventstore.view import View
from projections import blast_radius, event_index, issued_with
from projections.blast_radius import Alive, RadiusQuestion
from projections.event_index import NameKind
from projections.grants import TABLE as GRANTS
from projections.tokens import TABLE as TOKENS

FEW = 200
"""Where no more events than these came meanwhile, the next ones may be left for under the lock."""

ROUNDS = 20
"""How often what came meanwhile is added, while it is more than so few."""

_OF_GRANTS = frozenset(
    event.type
    for event in (
        grant.CodeIssued,
        grant.DeviceApproved,
        grant.CodeRedeemed,
        grant.TokensIssued,
        grant.TokensRefreshed,
        grant.AccessTokenIssued,
        grant.SuccessorReplaced,
        exchange.Exchanged,
        grant.TokenRevoked,
        grant.GrantEnded,
    )
)
_OF_PEOPLE = frozenset(
    event.type
    for event in (
        account.AccountDisabled,
        account.AccountEnabled,
        account.AccountErased,
        account.PasswordChanged,
        cut_off.AccountTokensEnded,
        consent.ConsentWithdrawn,
    )
)
_OF_CLIENTS = frozenset(
    event.type
    for event in (
        client.ClientDisabled,
        client.ClientEnabled,
        client.ClientDeleted,
        client.ClientUpdated,
        cut_off.ClientTokensEnded,
        client_secret.SecretRevoked,
    )
)
_SINCE = (
    select(events.c.originator_id, events.c.topic)
    .where(
        events.c.id > bindparam("b_after"),
        events.c.id <= bindparam("b_head"),
        events.c.topic.in_(sorted(_OF_GRANTS | _OF_PEOPLE | _OF_CLIENTS | ENDING_MANY)),
    )
    .distinct()
)


class Counting:
    """What is alive of something, as far as the log has been looked at: all that ends with it, and what is its `own`,
    without what others had in exchange for that (RFC 8693), which `offline_until` tells of."""

    def __init__(self, of: RadiusQuestion) -> None:
        self._of = of
        self._position, self._at = 0, 0
        self._state: client.State = client.INITIAL
        self.alive = self.own = Alive()
        self.offline_until: Moment | None = None

    async def count(self, ledger: Ledger) -> None:
        """Counts, up to where the log stands when that is done, or a few events behind. Holds no lock."""
        await ledger.read_long(self._begin, ledger.clock.now())
        for _ in range(ROUNDS):
            await ledger.settled()
            head, reached = ledger.changes.position, self._position
            if head > reached:
                await ledger.read_long(self._go_on, head, ledger.clock.now())
            if head - reached <= FEW:
                return

    def look(self, view: View) -> Alive:
        """The same under the lock, up to the newest event."""
        self._go_on(view.connection, view.head, view.now, view.state)
        return self.alive

    def _begin(self, connection: Connection, now: Moment) -> None:
        """Counts everything in one snapshot."""
        position = search.newest(connection)
        self._state = folded(connection, client.stream(self._of.client_id), position).state
        # One that may exchange none any more has what it got.
        exchanges = exchange_policy.GRANT_TYPE in self._state.grant_types or any(
            has_exchanged(connection, each.secret_id) for each in self._state.secrets
        )
        of = self._of = self._of._replace(exchanges=exchanges)
        unsettled = folded(connection, ended_grants.STREAM, position).state.unsettled
        over: frozenset[int] = frozenset().union(*(each.began for each in unsettled))
        found = blast_radius.alive(connection, of, self._state, over, now)
        left = blast_radius.left_out(connection, of, now)
        judged = self._judged(connection, self._states(connection, position), left, position, now)
        self.alive, self.own = map(found.plus, judged)
        self._position, self._at = position, now

    def _go_on(self, connection: Connection, head: int, now: Moment, state: FoldOf | None = None) -> None:
        """Adds what came up to `head`."""
        if head <= self._position:
            return
        if not self._position:
            self._begin(connection, now)
            return
        since = connection.execute(_SINCE, {"b_after": self._position, "b_head": head}).all()
        own = client.stream(self._of.client_id)
        if any(stream in (own, ended_grants.STREAM) for stream, _ in since):
            # Somebody cut it off meanwhile, or a set of grants: of what was counted hardly anything may be left.
            self._begin(connection, now)
            return
        concerned = self._concerned(connection, since, head)
        before = self._judged(connection, self._states(connection, self._position), concerned, self._position, self._at)
        after = self._judged(connection, state or self._states(connection, head), concerned, head, now)
        self.alive = self.alive.plus(after[0]).minus(before[0])
        self.own = self.own.plus(after[1]).minus(before[1])
        self._position = head

    def _states(self, connection: Connection, position: int) -> FoldOf:
        state, own = states_at(connection, position), client.stream(self._of.client_id)
        return lambda stream: self._state if stream == own else state(stream)

    def _concerned(self, connection: Connection, since: Sequence[Any], head: int) -> list[str]:
        """The grants of everybody who had anything: a person's together, since each of them counts once."""
        grants = [stream.partition(":")[2] for stream, topic in since if topic in _OF_GRANTS]
        people = {stream.split(":")[1] for stream, topic in since if topic in _OF_PEOPLE}
        alone = select(TOKENS.c.grant_id).where(
            TOKENS.c.client_id == self._of.client_id,
            TOKENS.c.position > self._position,
            TOKENS.c.position <= head,
            TOKENS.c.alone == 1,
        )
        found: dict[str, None] = dict.fromkeys(connection.scalars(alone))
        # What was revoked may have been all there is of its grant, of which there is no row then.
        found.update((stream.partition(":")[2], None) for stream, topic in since if topic == grant.TokenRevoked.type)
        for portion in portions(grants, AT_ONCE):
            theirs = or_(GRANTS.c.client_id == self._of.client_id, GRANTS.c.branched == 1)
            query = select(GRANTS.c.grant_id, GRANTS.c.account_id).where(GRANTS.c.grant_id.in_(portion), theirs)
            for grant_id, account_id in connection.execute(query):
                found[grant_id] = None
                if account_id is not None:
                    people.add(account_id)
        for portion in portions(sorted(people), AT_ONCE):
            found.update(dict.fromkeys(grants_of_people(connection, portion, self._at, self._of.client_id)))
        return list(found)

    def _judged(
        self, connection: Connection, state: FoldOf, grants: Sequence[str], position: int, now: Moment
    ) -> tuple[Alive, Alive]:
        found = descendants(connection, state, grants, position, now)
        self.offline_until = latest((self.offline_until, offline_until(filter(self.counts, found))))
        return counted(found, self.counts), counted(found, self._is_own)

    def counts(self, each: Descendant) -> bool:
        """Whether it ends with what is asked about, if it is alive."""
        of = self._of
        names = {secret if of.secret_ids else client for client, secret in each.through}
        ends_with = not names.isdisjoint(of.secret_ids or (of.client_id,))
        return self._is_own(each) or (ends_with and each.issued_at >= of.first_at)

    def _is_own(self, each: Descendant) -> bool:
        of = self._of
        return (
            of.client_id in (each.client_id, each.owner)
            and (of.secret_ids is None or each.secret_id in of.secret_ids)
            and each.issued_at >= of.first_at
        )


def counted(found: Sequence[Descendant], wanted: Callable[[Descendant], bool] = lambda each: True) -> Alive:
    """What of these is alive."""
    alive = [each for each in found if each.alive and wanted(each)]
    return Alive(
        len({each.grant_id for each in alive} - {""}),
        sum(each.kind == "code" for each in alive),
        sum(each.kind == "access" for each in alive),
        sum(each.kind == "refresh" for each in alive),
        len({each.account_id for each in alive} - {None}),
    )


# Ever issued ------------------------------------------------------------------------------------------------------


class IssuedCounts(NamedTuple):
    """How much was ever issued, dead or alive."""

    grants: int = 0
    codes: int = 0
    access_tokens: int = 0
    refresh_tokens: int = 0


_EVERY = 2**62
_ACCOUNT = {
    "sqlite": "json_extract(used.state, '$.data.account_id')",
    "postgresql": "used.state::json -> 'data' ->> 'account_id'",
}
_JOIN = {"sqlite": "CROSS JOIN", "postgresql": "JOIN"}
_BEGUN_BY = f"""
SELECT begun.id FROM (SELECT DISTINCT used.originator_id FROM {{given}}) AS of_grant {{join}} stored_events AS begun
ON begun.originator_id = of_grant.originator_id WHERE begun.topic IN ({listed(["grant.tokens_issued"])})
"""  # noqa: S608 - names of ours
_DROPPED = "SELECT DISTINCT used.originator_id FROM {given} WHERE {is_dropped}"
_PEOPLE = """
SELECT id FROM (SELECT DISTINCT {account} AS id FROM {given}) AS known WHERE id > :after ORDER BY id LIMIT :limit
"""


def issued(connection: Connection, secret_id: str) -> IssuedCounts:
    """All that a secret version ever authenticated, as far as the search index has come, which has it by what it was:
    the rows of what is over are gone. A code is the version's that redeemed it.
    """
    keys = {secret_id.encode() + each: each for each in issued_with.EVERYTHING}
    found = event_index.counts(connection, NameKind.ISSUED_WITH, list(keys))
    count = Counter({keys[key]: n for key, n in found.items()})
    everything, refreshed = count.total(), count[issued_with.REFRESHED]
    with_code, with_refresh_token = (
        sum(count[each] for number, each in enumerate(issued_with.ON_BEHALF) if number & what)
        for what in (issued_with.CODE, issued_with.REFRESH_TOKEN)
    )
    exchanged = exchanged_with(connection, secret_id)
    # A grant's first tokens are one event.
    grants = everything - refreshed + _only_went_on(connection, secret_id, exchanged)
    return IssuedCounts(grants, with_code, everything + len(exchanged), with_refresh_token + refreshed)


def _only_went_on(connection: Connection, secret_id: str, exchanged: Sequence[int]) -> int:
    """How many grants the version refreshed, or had tokens of in exchange, that it did not begin."""
    later = [*_named(connection, secret_id, (issued_with.REFRESHED,)), *exchanged]
    if not later:
        return 0
    dialect = connection.dialect.name
    query = text(_BEGUN_BY.format(given=GIVEN[dialect], join=_JOIN[dialect]))
    begun = {row[0] for row in rows_given.ask(connection, query, later)}
    dropped = rows_given.ask(connection, text(_DROPPED.format(given=GIVEN[dialect], is_dropped=IS_DROPPED)), later)
    for rows in packed_rows.of_streams(connection, [row[0] for row in dropped]).values():
        begun.update(row[0] for row in rows if row[3] == kept_type(grant.TokensIssued.type))
    return len(begun.difference(_named(connection, secret_id, (issued_with.FOR_ITSELF, *issued_with.ON_BEHALF))))


def people(connection: Connection, secret_id: str, after: str | None, limit: int) -> list[str]:
    """At most `limit` ids of people on whose behalf a secret version ever authenticated, in the order of their ids."""
    positions = _named(connection, secret_id, (issued_with.REFRESHED, *issued_with.ON_BEHALF))
    positions += exchanged_with(connection, secret_id)
    return people_at(connection, positions, after, limit)


def people_at(connection: Connection, positions: Sequence[int], after: str | None, limit: int) -> list[str]:
    """The same of the events at these positions."""
    dialect = connection.dialect.name
    query = text(_PEOPLE.format(account=_ACCOUNT[dialect], given=GIVEN[dialect]))
    return [row[0] for row in rows_given.ask(connection, query, positions, after=after or "", limit=limit)]


def with_secret(connection: Connection, secret_id: str, position: int) -> list[int]:
    """Where events up to a position say that a secret version had something issued, as far as the index has come."""
    found = [*_named(connection, secret_id, tuple(issued_with.EVERYTHING)), *exchanged_with(connection, secret_id)]
    return sorted(each for each in found if each <= position)


def _named(connection: Connection, secret_id: str, what: Sequence[bytes]) -> list[int]:
    """The positions of the events by which a version had this issued."""
    found: list[int] = []
    for kind, key in search.issued_names(secret_id, what):
        found += event_index.positions(connection, kind, key, 1, _EVERY, _EVERY, descending=False)
    return found


# What was used from an address

OF_GRANTS = ("grant.code_issued", "grant.tokens_issued", "grant.tokens_refreshed", "grant.access_token_issued")
OF_USES = ("usage.token_first_seen", "usage.token_seen")
USING = (*OF_GRANTS, *OF_USES)
"""What says from where a grant is used."""

TOPICS = (*USING, "session.started")
"""What says from where a grant or a browser session is used."""

_SESSION = {
    "sqlite": "json_extract(used.state, '$.data.session_id')",
    "postgresql": "used.state::json -> 'data' ->> 'session_id'",
}
_CODES, _LISTED, _TELLING = map(listed, (["grant.code_issued"], OF_GRANTS, (*OF_USES, "session.started")))
_GRANT, _SESSION_BEGAN, _READ = 1, 2, 3
"""What a row of `USED` tells: where a grant began, with its stream unless it lives by its row; where a session began,
or its stream; where an event is that has to be read."""

_EACH = {
    "sqlite": "LEFT JOIN {table} AS {name} ON {where}",
    "postgresql": "LEFT JOIN LATERAL (SELECT * FROM {table} AS {name} WHERE {where} OFFSET 0) AS {name} ON true",
}
"""Looks a row up for each one on the left: with `OFFSET 0` PostgreSQL cannot make a plain join of it."""


def _looked_up(dialect: str, table: str, name: str, where: str) -> str:
    """A join that finds at most one row. That which begins something may be packed, which is looked up afterwards."""
    return _EACH[dialect].format(table=table, name=name, where=where)


def _used(dialect: str) -> str:
    grants = _looked_up(dialect, "grants", "grants", "grants.started_position = began.id")
    alone = "tokens.alone = 1 AND tokens.expires_at > :now AND tokens.ended_position IS NULL"
    tokens = _looked_up(dialect, "tokens", "tokens", f"tokens.position = began.id AND {alone}")
    begun, signed_in = (
        _looked_up(
            dialect, "stored_events", "begun", f"begun.originator_id = {stream} AND begun.originator_version = 1"
        )
        for stream in ("later.stream", "'session:' || used.session_id")
    )
    return f"""
WITH used AS MATERIALIZED (
SELECT used.id, used.originator_id AS stream, used.originator_version AS version, used.topic,
CASE WHEN used.topic IN ({_CODES}) THEN {_SESSION[dialect]} END AS session_id
FROM {GIVEN[dialect]} WHERE used.topic IN ({_LISTED}, {_TELLING})),
began AS (
SELECT id, stream FROM used WHERE version = 1 AND topic IN ({_LISTED})
UNION ALL SELECT begun.id, later.stream
FROM (SELECT DISTINCT stream FROM used WHERE version > 1 AND topic IN ({_LISTED})) AS later {begun})
SELECT {_GRANT}, began.id, CASE WHEN CASE WHEN grants.grant_id IS NULL THEN tokens.grant_id IS NULL
ELSE grants.expires_at <= :now OR grants.ended_position IS NOT NULL END THEN began.stream END
FROM began {grants} {tokens}
UNION ALL SELECT DISTINCT {_SESSION_BEGAN}, begun.id, CASE WHEN begun.id IS NULL THEN 'session:' || used.session_id END
FROM used {signed_in} WHERE used.session_id IS NOT NULL
UNION ALL SELECT {_READ}, used.id, NULL FROM used WHERE used.topic IN ({_TELLING})
"""  # noqa: S608 - names of ours


USED = {dialect: text(_used(dialect)) for dialect in ("sqlite", "postgresql")}
"""Each event is looked up once, and nothing but what it names. Most of them begin the grant that they use."""

_BEGINNINGS = select(events.c.originator_id, events.c.id).where(
    events.c.originator_id.in_(bindparam("b_streams", expanding=True)), events.c.originator_version == 1
)


class Used(NamedTuple):
    """Where grants began that live by their rows, the ids of the others, and where browser sessions began; and where
    events are that are to be read one by one, since they tell of a use or a session."""

    began: list[int]
    doubted: list[str]
    sessions: list[int]
    telling: list[int]


def used_at(connection: Connection, positions: Sequence[int], now: Moment) -> Used:
    """What the events at these positions are about."""
    rows = rows_given.ask(connection, USED[connection.dialect.name], positions, now=now)
    packed = packed_rows.of_streams(connection, [stream for _, at, stream in rows if at is None])
    elsewhere = {stream: found[0][0] for stream, found in packed.items()}
    began = [each for each in rows if each[1] is not None or each[2] in elsewhere]
    return Used(
        [at for what, at, doubted in began if what == _GRANT and doubted is None],
        [doubted.partition(":")[2] for what, _, doubted in began if what == _GRANT and doubted is not None],
        [at or elsewhere[stream] for what, at, stream in began if what == _SESSION_BEGAN],
        sorted(at for what, at, _ in began if what == _READ),
    )


def uses_between(connection: Connection, after: int, head: int) -> Iterator[Recorded]:
    """The events of that kind `after` < position ≤ `head`."""
    return store(connection).between(after, head, TOPICS)


def began(connection: Connection, streams: Collection[str]) -> list[int]:
    """Where these streams began."""
    found: list[int] = []
    for portion in portions(sorted(streams), AT_ONCE):
        standing = dict(connection.execute(_BEGINNINGS, {"b_streams": portion}).tuples().all())
        packed = packed_rows.of_streams(connection, [each for each in portion if each not in standing])
        found += [*standing.values(), *(rows[0][0] for rows in packed.values())]
    return found


def living_grants(connection: Connection, grants: Collection[str], now: Moment) -> list[int]:
    """Where those of the grants began of which anything is alive by the log."""
    head = search.newest(connection)
    state = states_at(connection, head)
    found: set[str] = set()
    for portion in portions(sorted(grants), AT_ONCE):
        found.update(each.grant_id for each in descendants(connection, state, portion, head, now) if each.alive)
    return began(connection, [f"grant:{each}" for each in found])


def living_sessions(connection: Connection, positions: Collection[int], now: Moment) -> Iterator[int]:
    """Those of the sessions that began there which have not expired."""
    for portion in portions(sorted(positions), AT_ONCE):
        for started in search.recorded_forms(connection, portion):
            event = started.event
            if isinstance(event, session.SessionStarted) and started.time + event.lifetime * SECOND > now:
                yield started.position
