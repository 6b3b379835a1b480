"""Any number of digests in one question: the answer is that of asking for each."""

import pytest
from sqlalchemy import Column, Integer, LargeBinary, MetaData, Table, create_engine, insert, select

from projections.digests import MANY, ByDigest
from tests.databases import BACKENDS, Backend, Databases

TABLE = Table(
    "things", MetaData(), Column("digest", LargeBinary(32), primary_key=True), Column("number", Integer, nullable=False)
)
ASKED = ByDigest(select(TABLE.c.number), TABLE.c.digest)


@pytest.mark.parametrize("backend", BACKENDS)
def test_rows_of_many_digests(databases: Databases, backend: Backend) -> None:
    url = databases.create(backend, migrated=False)
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            TABLE.create(connection)
            connection.execute(insert(TABLE), [{"digest": bytes([n]) * 32, "number": n} for n in range(5)])
            digests = [bytes([n]) * 32 for n in (1, 3, 9)]
            assert [ASKED.first(connection, digest) for digest in digests] == [(1,), (3,), None]
            many = [bytes([n]) * 32 for n in range(1, MANY + 2)]
            every = (([], []), (digests[:1], [1]), (digests[2:], []), (digests, [1, 3]), (many, [1, 2, 3, 4]))
            for asked, numbers in every:
                assert sorted(number for (number,) in ASKED.all(connection, asked)) == numbers
    finally:
        engine.dispose()
        databases.drop(url)
