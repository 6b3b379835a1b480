"""Fresh tables beside the live ones: their shape under other names, and the projections' statements turned to them."""

from collections.abc import Iterable
from types import ModuleType
from typing import Any

from sqlalchemy import Connection, Executable, MetaData, Table, inspect, text
from sqlalchemy.schema import CreateTable
from sqlalchemy.sql import quoted_name, visitors

from eventstore.schema import grant_to_server
from projections import digests
from projections.schema import metadata as live_metadata

PREFIX = "fresh_"


def tables_of(projection: ModuleType) -> tuple[Table, ...]:
    """Every table that a projection's file declares."""
    tables: tuple[Table, ...] = getattr(projection, "TABLES", (projection.TABLE,))
    return tables


class FreshTables:
    """The fresh twins of some projections' tables. `generation` keeps the names of their indexes and keys apart for
    ever, so that none is ever renamed."""

    def __init__(self, projections: Iterable[ModuleType], generation: int) -> None:
        self.live: tuple[Table, ...] = tuple(table for projection in projections for table in tables_of(projection))
        self.generation = generation
        self._metadata = MetaData(naming_convention=live_metadata.naming_convention)
        self._turned: dict[Executable, Executable] = {}
        self._twins: dict[Any, Any] = {}
        for table in self.live:
            twin = table.to_metadata(self._metadata, name=PREFIX + table.name)
            self._twins[table] = twin
            self._twins |= {column: twin.columns[column.name] for column in table.columns}
            # On PostgreSQL the names themselves are taken by what the live table has.
            parts: tuple[Any, ...] = (*twin.indexes, *twin.constraints)
            for named in parts:
                if named.name is not None:
                    named.name = quoted_name(f"{named.name}_{generation}", None)

    def twin(self, table: Table) -> Table:
        """The fresh table of a live one."""
        found: Table = self._twins[table]
        return found

    @property
    def settled(self) -> Table | None:
        """The fresh table of digests, where it is among them."""
        found: Table | None = self._twins.get(digests.TABLE)
        return found

    def turned(self, statement: Executable) -> Executable:
        """A projection's statement, about the fresh tables instead of the live ones."""
        found = self._turned.get(statement)
        if found is None:
            given: Any = statement
            found = self._turned[statement] = visitors.replacement_traverse(given, {}, self._replace)
        return found

    def _replace(self, element: Any, **_: Any) -> Any:
        return self._twins.get(element) if getattr(element, "__visit_name__", "") in ("table", "column") else None

    def exist(self, connection: Connection) -> bool:
        """Whether a rebuild that was broken off left them all."""
        present = set(inspect(connection).get_table_names())
        return all(PREFIX + table.name in present for table in self.live)

    def create(self, connection: Connection) -> None:
        """Makes them empty and without indexes, whatever was left of an earlier rebuild."""
        self.drop(connection)
        for table in self.live:
            # Without indexes: one that is made when all rows are there costs a fraction of one that grows with them.
            connection.execute(CreateTable(self._twins[table]))

    def index(self, connection: Connection) -> None:
        """Makes their indexes, when they are nearly full."""
        for table in self.live:
            for index in self._twins[table].indexes:
                index.create(connection, checkfirst=True)

    def drop(self, connection: Connection) -> None:
        """Removes them."""
        quote = connection.dialect.identifier_preparer.quote
        for table in self.live:
            connection.execute(text(f"DROP TABLE IF EXISTS {quote(PREFIX + table.name)}"))

    def swap_in(self, connection: Connection, server_role: str | None) -> None:
        """Puts them in the live ones' place, within the caller's transaction."""
        quote = connection.dialect.identifier_preparer.quote
        for table in self.live:
            connection.execute(text(f"DROP TABLE {quote(table.name)}"))
            connection.execute(text(f"ALTER TABLE {quote(PREFIX + table.name)} RENAME TO {quote(table.name)}"))
        if server_role is not None:
            grant_to_server(connection, self.live, server_role)
