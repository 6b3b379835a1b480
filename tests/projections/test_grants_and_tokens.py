"""Rows of grants and tokens, and how a token stands by the events that its row leads to."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from sqlalchemy import Connection, Engine, create_engine, delete, func, insert, select, update

from domain import account, client, consent, ended_grants, grant, succession
from domain.event import SECOND
from domain.exchange import Exchanged
from domain.grant import GrantEnded
from domain.grants import validity
from eventstore import stored
from eventstore.appending.rows import Rows
from eventstore.issued import judge
from eventstore.mapper import LogMapper, Ring, attach, decoder
from eventstore.view import Folds
from projections import accounts, clients, consents, grants, secrets, tokens
from projections.tables import metadata
from security import vault
from security.keyring import new_master_key, parse_keyring
from tests.domain.story import (
    CONSENTED,
    DASHBOARD,
    DAY,
    MEMBER,
    PAUL,
    SERVICE,
    START,
    THIRD_PARTY,
    Story,
    digest,
    parties,
)
from tests.explore import ONE_FIXTURE_FOR_ALL
from tests.projections.settled import settle

KEYRING = parse_keyring(new_master_key())


@pytest.fixture(scope="module")
def engine(module_empty_database_url: str) -> Iterator[Engine]:
    made = create_engine(module_empty_database_url)
    metadata.create_all(made)
    stored.metadata.create_all(made)
    vault.metadata.create_all(made)
    yield made
    made.dispose()


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    """Nothing is ever committed."""
    with engine.connect() as opened:
        begin(opened)
        yield opened


def begin(connection):
    """The parties' rows, and a key for the events."""
    ring = Ring(vault.Vault(KEYRING), "log.example")
    ring.settle(connection, 0, lambda: START)
    attach(connection, LogMapper(ring))
    settle(connection)
    connection.info["mapper"] = LogMapper(ring)


def write(connection, *stories, grant_id="g1"):
    """Projects what the stories have recorded since the last time, each as a grant of its own."""
    rows = Rows()
    for number, story in enumerate(stories, 1):
        for recorded in story.recorded:
            stored_ = replace(recorded, stream=f"grant:g{number}" if len(stories) > 1 else f"grant:{grant_id}")
            append(connection, stored_)
            for projection in (grants, tokens):
                if type(recorded.event) in projection.HANDLES:
                    for each in projection.project(stored_, {}):
                        rows.add(each)
        story.recorded.clear()
    rows.flush(connection)


def append(connection, recorded):
    """Puts an event where the log keeps it."""
    row = {"id": recorded.position, "originator_id": recorded.stream, "originator_version": recorded.version}
    state = connection.info["mapper"].stored(recorded).decode()
    connection.execute(insert(stored.events), row | {"topic": recorded.type, "state": state})


PARTIES = {
    "client:third": THIRD_PARTY,
    "client:dash": DASHBOARD,
    "client:service": SERVICE,
    "account:paul": PAUL,
    "role:platform:member": MEMBER,
    "consent:paul:third": CONSENTED,
    ended_grants.STREAM: ended_grants.INITIAL,
}


def folds(connection, changed=PARTIES):
    """The grants' streams as they stand in the log, and the parties as they are given."""

    def state(stream):
        if not stream.startswith("grant:"):
            return (PARTIES | changed).get(stream, consent.INITIAL)
        rows = connection.execute(
            select(*stored.ROW)
            .where(stored.events.c.originator_id == stream)
            .order_by(stored.events.c.originator_version)
        )
        found = grant.INITIAL
        for row in rows:
            found = grant.evolve(found, decoder(connection).recorded(row))
        return found

    return Folds(connection, state)


def verdict(connection, name, now, changed=PARTIES):
    found = judge(folds(connection, changed), [bytes.fromhex(digest(name))])
    return validity.reason(found[bytes.fromhex(digest(name))].standing if found else None, now)


def is_there(connection, name):
    """Whether the secret has a row."""
    return bool(tokens.positions(connection, [bytes.fromhex(digest(name))]))


def redeemed():
    story = Story()
    story.code()
    story.later(1).redeem()
    return story


def test_a_row_for_each_secret(connection):
    story = redeemed()
    write(connection, story)
    rows = {bytes(row.digest): row for row in connection.execute(select(tokens.TABLE))}
    access, code = rows[bytes.fromhex(digest("at1"))], rows[bytes.fromhex(digest("code"))]
    assert (access.kind, access.grant_id, access.client_id, access.account_id) == ("access", "g1", "third", "paul")
    assert (access.secret_id, access.scope, access.position) == ("s1", "orders catalog:read", 3)
    assert (access.issued_at, access.expires_at) == (story.now, story.now + 600 * SECOND)
    assert (code.kind, code.ended_position) == ("code", 3)
    found = judge(folds(connection), [access.digest])[access.digest]
    assert (found.issued.by.position, found.issued.expires_at) == (3, access.expires_at)
    assert (found.grant_type, found.person, found.roles) == ("authorization_code", PAUL, (MEMBER,))


def test_several_are_found_in_one_query(connection):
    write(connection, redeemed())
    digests = [bytes.fromhex(digest(name)) for name in ("code", "at1", "rt1")]
    services = folds(connection)
    assert judge(services, []) == {}
    together = judge(services, [*digests, bytes(32)])
    assert together == {each: found for each in digests for found in judge(services, [each]).values()}
    assert sorted(together) == sorted(digests)


def test_reasons_by_the_events(connection):
    story = Story()
    story.code()
    write(connection, story)
    assert verdict(connection, "code", story.now) == "active"
    assert verdict(connection, "code", story.now + 60 * SECOND) == "expired"
    story.later(1).redeem()
    story.refresh("rt1")
    story.decide(
        grant.revoke_token,
        client_id="third",
        kind="access",
        sha256=digest("at2"),
        expires_at=story.now + 600 * SECOND,
        by="client",
    )
    write(connection, story)
    now = story.now
    assert verdict(connection, "code", now) == "redeemed"
    assert verdict(connection, "rt1", now) == "rotated"
    assert verdict(connection, "at1", now) == verdict(connection, "rt2", now) == "active"
    assert verdict(connection, "at2", now) == "revoked"
    assert verdict(connection, "nothing", now) == "unknown"
    story.refresh("rt1")
    write(connection, story)
    assert verdict(connection, "at1", now) == verdict(connection, "rt2", now) == "grant_ended"


CUT_OFF = replace(THIRD_PARTY.secrets[0], tokens_cutoff=99)


@pytest.mark.parametrize(
    ("stream", "state", "expected"),
    [
        ("client:third", replace(THIRD_PARTY, enabled=False), "client_disabled"),
        ("client:third", replace(THIRD_PARTY, deleted=True), "client_deleted"),
        ("client:third", replace(THIRD_PARTY, cutoff=99), "client_disabled"),
        ("client:third", replace(THIRD_PARTY, secrets=(CUT_OFF,)), "secret_ended"),
        ("account:paul", replace(PAUL, enabled=False), "person_disabled"),
        ("account:paul", replace(PAUL, erased=True), "person_erased"),
        ("account:paul", replace(PAUL, cutoff=99), "person_disabled"),
        ("account:paul", replace(PAUL, password_cutoff=99), "grant_ended"),
        ("account:paul", replace(PAUL, password_cutoff=99, password_except="g1"), "active"),
        ("consent:paul:third", replace(CONSENTED, cutoff=99), "grant_ended"),
        ("client:third", client.INITIAL, "client_deleted"),
        ("account:paul", account.INITIAL, "person_erased"),
    ],
)
def test_folds_decide_for_tokens_and_no_row_does(connection, stream, state, expected):
    story = redeemed()
    write(connection, story)
    for table in (clients.TABLE, secrets.TABLE, accounts.TABLE, consents.TABLE):
        connection.execute(delete(table))
    assert verdict(connection, "at1", story.now, {stream: state}) == expected


@pytest.mark.parametrize(
    ("table", "values", "expected"),
    [
        (clients.TABLE, {"state": "disabled"}, "ended"),
        (clients.TABLE, {"cutoff": 99}, "ended"),
        (secrets.TABLE, {"tokens_cutoff": 99}, "ended"),
        (accounts.TABLE, {"state": "erased"}, "ended"),
        (accounts.TABLE, {"password_cutoff": 99}, "ended"),
        (accounts.TABLE, {"password_cutoff": 99, "password_except": "g1"}, "active"),
        (consents.TABLE, {"cutoff": 99}, "ended"),
        (clients.TABLE, None, "ended"),
        (accounts.TABLE, None, "ended"),
    ],
)
def test_grant_view_follows_the_rows_of_client_and_person(connection, table, values, expected):
    story = redeemed()
    write(connection, story)
    connection.execute(delete(table) if values is None else update(table).values(**values))
    found = grants.by_id(connection, "g1", story.now)
    assert found is not None
    assert found.state == expected


def test_a_dashboards_and_a_services_grant_rest_on_no_consent(connection):
    dashboard, service = Story(), Story(position=10)
    dashboard.sign_in(parties(DASHBOARD))
    service.credentials()
    write(connection, dashboard, replaced(service))
    withdrawn = {"consent:paul:dash": replace(CONSENTED, cutoff=99)}
    assert verdict(connection, "at1", START, withdrawn) == "active"
    assert verdict(connection, "service", START, withdrawn) == "active"


def replaced(story):
    """The same story with an access token of another name."""
    story.recorded[:] = [
        replace(recorded, event=replace(recorded.event, access_token=digest("service"))) for recorded in story.recorded
    ]
    return story


def test_pages_of_grants(connection):
    stories = []
    for number in range(5):
        story = Story(position=number * 10, now=START + number * SECOND, minted=number * 10)
        if number % 2:
            story.sign_in()
        else:
            story.credentials()
        stories.append(story)
    write(connection, *stories)
    first = grants.page(connection, START, limit=2)
    assert [found.grant_id for found in first.items] == ["g5", "g4"]
    second = grants.page(connection, START, after=first.next, limit=2)
    assert [found.grant_id for found in second.items] == ["g3", "g2"]
    assert grants.page(connection, START, after=second.next, limit=2).next is None
    assert [g.grant_id for g in grants.page(connection, START, client_id="dash").items] == ["g4", "g2"]
    assert [g.grant_id for g in grants.page(connection, START, account_id="paul").items] == ["g4", "g2"]
    assert grants.page(connection, START, client_id="dash", account_id="nobody").items == ()
    old = grants.page(connection, START, unused_since=START + 2 * SECOND).items
    assert [found.grant_id for found in old] == ["g2", "g1"]


def test_a_grants_life_as_it_is_shown(connection):
    story = Story()
    story.code()
    write(connection, story)
    started = story.now
    shown = grants.by_id(connection, "g1", story.now)
    assert (shown.grant_type, shown.session_id, shown.state) == ("authorization_code", "browser", "active")
    assert grants.by_id(connection, "g1", story.now + 60 * SECOND).state == "ended"
    story.later(5).redeem()
    story.later(DAY).refresh("rt1")
    write(connection, story)
    shown = grants.by_id(connection, "g1", story.now)
    assert (shown.started_at, shown.last_used_at, shown.state) == (started, story.now, "active")
    assert grants.by_id(connection, "g1", story.now + 30 * DAY * SECOND).state == "ended"
    story.record(GrantEnded(reason="person"))
    write(connection, story)
    shown = grants.by_id(connection, "g1", story.now)
    assert (shown.state, shown.ended_at, shown.ended_reason) == ("ended", story.now, "person")
    assert grants.by_id(connection, "g2", story.now) is None


def test_a_grant_that_is_one_token_gets_a_row_with_what_follows(connection):
    story = Story()
    story.credentials()
    issued = story.events[0]
    write(connection, story)
    assert grants.by_id(connection, "g1", START) is None
    alone = grants.by_token(connection, bytes.fromhex(issued.access_token), START)
    lone = grant.lone_token(story.state)
    exchanged = Exchanged(
        client_id="dash",
        scope=issued.scope,
        subject_token=issued.access_token,
        access_token=digest("exchanged"),
        lifetime=60,
        lone=lone,
    )
    story.later(5).record(exchanged)
    write(connection, story)
    # It is told once, and the row is what it would have been.
    assert grant.lone_token(story.state) is None
    assert grants.by_token(connection, bytes.fromhex(issued.access_token), START) is None
    assert grants.by_id(connection, "g1", START) == alone._replace(last_used_at=story.now)
    row = connection.execute(select(grants.TABLE)).one()
    assert (row.branched, row.expires_at, row.secret_id) == (1, lone.expires_at, issued.secret_id)
    story.decide(grant.end, reason="administrator")
    assert story.events[-1] == GrantEnded(reason="administrator")
    write(connection, story)
    shown = grants.by_id(connection, "g1", story.now)
    assert (shown.state, shown.ended_at, shown.ended_reason) == ("ended", story.now, "administrator")


def test_a_shorter_lifetime_does_not_hide_an_older_token(connection):
    story = redeemed()
    brief = replace(THIRD_PARTY, access_token_lifetime=1, refresh_token_lifetime=1)
    story.refresh("rt1", parties(brief))
    write(connection, story)
    assert verdict(connection, "at1", story.now + 60 * SECOND) == "active"
    assert grants.by_id(connection, "g1", story.now + 60 * SECOND).state == "active"


def test_pruning_goes_in_small_batches_and_keeps_live_rows(connection):
    story = redeemed()
    for number in range(1, 5):
        story.refresh(f"rt{number}")
    write(connection, story)
    count = select(func.count()).select_from(tokens.TABLE)
    assert connection.scalar(count) == 11
    assert tokens.prune(connection, story.now + 600 * SECOND) == 0
    later = story.now + 601 * SECOND
    assert [tokens.prune(connection, later, 2) for _ in range(4)] == [2, 2, 1, 0]
    # The code has expired long ago, but presenting it again must still end the grant.
    assert is_there(connection, "code")
    assert grants.prune(connection, later) == 0
    assert tokens.prune(connection, story.now + 91 * DAY * SECOND) == 6
    assert grants.prune(connection, story.now + 91 * DAY * SECOND) == 1
    assert connection.scalar(count) == 0


def test_a_code_that_nobody_redeemed_leaves_when_it_has_expired(connection):
    story = Story()
    story.code()
    write(connection, story)
    assert tokens.prune(connection, story.now + 61 * SECOND) == 1


def expected(state, name, now, lifetime, token):
    """The verdict by folds, for a refresh token."""
    good = succession.good(state.succession, digest(name))
    judged = validity.TokenStanding(
        "refresh",
        token.position,
        token.time,
        token.time + lifetime * SECOND,
        rotated=good.rotated,
        grace_ends_at=good.until,
    )
    dashboard = validity.of_client(DASHBOARD, "s1")
    person = validity.of_person(PAUL, None)
    return validity.reason(validity.Standing(judged, "g1", dashboard, person, state.ended_at), now)


@settings(max_examples=40, suppress_health_check=ONE_FIXTURE_FOR_ALL)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3), st.booleans()), max_size=12))
def test_rows_and_folds_agree_however_a_chain_went(engine, steps):
    by = parties(DASHBOARD, consent=consent.INITIAL)
    story, issued = Story(), {}
    with engine.connect() as connection:
        begin(connection)
        story.sign_in(by)
        for seconds, back, flush in steps:
            names = [f"rt{number}" for number in range(1, story.minted + 1)]
            if flush:
                remember(story, issued)
                write(connection, story)
            story.later(seconds).refresh(names[-1 - min(back, len(names) - 1)], by)
        remember(story, issued)
        write(connection, story)
        for name, (token, lifetime) in issued.items():
            for now in (story.now, story.now + 11 * SECOND, story.now + 31 * DAY * SECOND):
                assert verdict(connection, name, now) == expected(story.state, name, now, lifetime, token)
        connection.rollback()


def remember(story, issued):
    for recorded in story.recorded:
        sha256 = getattr(recorded.event, "refresh_token", None)
        if recorded.type in ("grant.tokens_issued", "grant.tokens_refreshed"):
            name = next(f"rt{n}" for n in range(1, story.minted + 1) if digest(f"rt{n}") == sha256)
            issued[name] = (recorded, recorded.event.refresh_lifetime)
