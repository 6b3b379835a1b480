"""Rows of secrets by their digests: any number of them in one question to PostgreSQL, where a question is a journey."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ARRAY, Column, Connection, LargeBinary, Select, any_, bindparam

from projections.prepared import Prepared


class ByDigest:
    """A query, built at import, for the rows with one digest or with several."""

    __slots__ = ("many", "one")

    def __init__(self, query: Select[Any], digest: Column[Any]) -> None:
        self.one = Prepared(query.where(digest == bindparam("b_digest")))
        several = query.where(digest == any_(bindparam("b_digests", type_=ARRAY(LargeBinary))))
        # A plan that PostgreSQL keeps is as old as the connection. Made over tables with a few rows it reads all of
        # them, and goes on to when there are a hundred thousand.
        self.many = Prepared(several, planned_anew=True)

    def first(self, connection: Connection, digest: bytes) -> tuple[Any, ...] | None:
        """The row with this digest; None if there is none."""
        return self.one.first(connection, {"b_digest": digest})

    def all(self, connection: Connection, digests: Sequence[bytes]) -> list[tuple[Any, ...]]:
        """The rows of those of the digests that have one, in no order."""
        if connection.dialect.name == "postgresql" and len(digests) > 1:
            return self.many.all(connection, {"b_digests": list(digests)})
        found = [self.first(connection, digest) for digest in digests]
        return [row for row in found if row is not None]
