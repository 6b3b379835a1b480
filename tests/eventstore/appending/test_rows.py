"""Waiting rows are sent once: what was sent, or failed on its way, leaves nothing behind for the next transaction."""

from collections.abc import Iterator

import pytest
from msgspec.structs import replace
from sqlalchemy import Column, Connection, Integer, MetaData, Table, Text, bindparam, create_engine, insert, update
from sqlalchemy.exc import IntegrityError

from domain.grant import TokensIssued, is_alone
from eventstore.appending.rows import NOT_OF_LONE, OF_LONE, Rows, handlers
from projections import ONCE, PROJECTIONS, secrets, tokens
from projections.tables import Write, metadata
from tests.domain.story import DASHBOARD, SERVICE, Story, parties

TABLE = Table("counted", MetaData(), Column("name", Text, primary_key=True), Column("count", Integer, nullable=False))
INSERT = insert(TABLE).values(name=bindparam("name"), count=bindparam("count"))
RAISE = update(TABLE).where(TABLE.c.name == bindparam("b_name")).values(count=TABLE.c.count + bindparam("more"))


@pytest.fixture
def connection() -> Iterator[Connection]:
    engine = create_engine("sqlite://")
    with engine.connect() as opened:
        TABLE.create(opened)
        yield opened
    engine.dispose()


def made(name: str) -> Write:
    return Write(INSERT, {"name": name, "count": 0}, name)


def raised(name: str) -> Write:
    return Write(RAISE, {"b_name": name, "more": 1}, name, add=("more",))


def counts(connection: Connection) -> dict[str, int]:
    return {name: count for name, count in connection.execute(TABLE.select())}


def test_rows_already_sent_are_neither_resent_nor_counted_again(connection: Connection) -> None:
    rows = Rows()
    for write in (made("a"), raised("a"), raised("a")):
        rows.add(write)
    rows.flush(connection)
    assert counts(connection) == {"a": 2}
    rows.flush(connection)
    assert counts(connection) == {"a": 2}
    rows.add(raised("a"))
    rows.flush(connection)
    assert counts(connection) == {"a": 3}


def test_what_failed_is_not_left_for_the_next_transaction(connection: Connection) -> None:
    rows = Rows()
    rows.add(made("a"))
    rows.flush(connection)
    rows.add(made("a"))
    with pytest.raises(IntegrityError):
        rows.flush(connection)
    rows.add(made("b"))
    rows.flush(connection)
    assert counts(connection) == {"a": 0, "b": 0}


def test_a_lone_token_has_rows_in_no_table_that_is_left_out() -> None:
    lone, signed_in = Story(), Story()
    lone.credentials(parties(SERVICE))
    signed_in.sign_in(parties(DASHBOARD))
    assert [is_alone(each.events[0]) for each in (lone, signed_in)] == [True, False]
    for projection in NOT_OF_LONE:
        assert [*projection.project(lone.recorded[0], {})] == []
        assert [*projection.project(signed_in.recorded[0], {})] != []


def test_who_wants_first_tokens_has_them_or_is_left_out() -> None:
    assert {*OF_LONE, *NOT_OF_LONE} == {*handlers((*PROJECTIONS, *ONCE))[TokensIssued.type]}


def test_lone_tokens_together_have_the_rows_of_each() -> None:
    story = Story()
    story.credentials(parties(SERVICE))
    first = story.recorded[0]
    alone = [
        replace(first, position=n, stream=f"grant:{n}", event=replace(first.event, access_token=f"{n:064x}"))
        for n in range(1, 4)
    ]
    one_by_one, together = (create_engine("sqlite://") for _ in range(2))
    with one_by_one.begin() as connection:
        metadata.create_all(connection, [tokens.TABLE, secrets.USES])
        rows = Rows()
        for each in alone:
            for projection in OF_LONE:
                for write in projection.project(each, {}):
                    rows.add(write)
        rows.flush(connection)
        expected = connection.execute(tokens.TABLE.select()).all()
    with together.begin() as connection:
        metadata.create_all(connection, [tokens.TABLE])
        tokens.insert_alone(connection, alone)
        assert connection.execute(tokens.TABLE.select()).all() == expected
    assert [write.params["b_count"] for write in secrets.used_for(alone)] == [3]
    for engine in (one_by_one, together):
        engine.dispose()
