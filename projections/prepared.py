"""Statements of the hot paths: compiled once for each database, then run on the driver's own cursor.

Executing a compiled statement through SQLAlchemy costs more than SQLite needs for the work itself. What is passed on
here is what the driver understands: bytes, text, whole numbers and None. So are the rows that come back, which is why a
statement that reads a Boolean column does not belong here: SQLite has none.
"""

from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Any, NoReturn

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import operators, visitors

StatementParameters = dict[str, Any]
Bind = Callable[[StatementParameters], Any]
"""From parameters by name to what the driver takes."""


_encode = msgspec.json.Encoder().encode


AMONG = "ANY (ARRAY (SELECT decode(given, 'hex') FROM unnest(string_to_array(CAST({} AS text), ',')) AS given))"
"""Many octets on PostgreSQL, by one parameter."""


def in_hex(octets: Iterable[bytes]) -> str:
    """These as `AMONG` takes them: of an array the driver would look at each octet."""
    return ",".join([each.hex() for each in octets])


class Prepared:
    """One statement, built at import. Errors are SQLAlchemy's own, as if it had executed the statement."""

    __slots__ = ("_compiled", "_given", "_insert", "_key", "_octets", "_plain", "_update", "statement")

    def __init__(self, statement: sa.Executable, *, planned_anew: bool = False) -> None:
        """With `planned_anew` PostgreSQL keeps no plan of it, and plans each time by what it knows of the tables."""
        self.statement = statement
        self._given: dict[str, bool] = {"prepare": False} if planned_anew else {}
        self._insert: str | None = None
        self._update: tuple[str, StatementParameters] | None = None
        self._key: str | None = None
        self._octets: tuple[str, ...] | None = None
        self._plain: bool | None = None
        self._compiled: dict[str, tuple[str, Bind]] = {}

    def first(self, connection: sa.Connection, parameters: StatementParameters) -> tuple[Any, ...] | None:
        """The first row, or None."""
        row: tuple[Any, ...] | None = self._execute(connection, parameters).fetchone()
        return row

    def all(self, connection: sa.Connection, parameters: StatementParameters) -> list[tuple[Any, ...]]:
        """Every row."""
        rows: list[tuple[Any, ...]] = self._execute(connection, parameters).fetchall()
        return rows

    def each(self, connection: sa.Connection, many: Sequence[StatementParameters]) -> list[tuple[Any, ...]]:
        """The first row for each set of parameters that has one, one question after the other: for SQLite."""
        sql, bind = self._sql(connection, many[0])
        found: list[tuple[Any, ...]] = []

        def ask(cursor: Any) -> None:
            for given in many:
                row = cursor.execute(sql, bind(given)).fetchone()
                if row is not None:
                    found.append(row)

        with_cursor(connection, sql, ask)
        return found

    def run(self, connection: sa.Connection, many: Sequence[StatementParameters]) -> None:
        """Executes it once for each set of parameters; all have the same names."""
        if len(many) == 1:
            self._execute(connection, many[0])
            return
        sql, bind = self._sql(connection, many[0])
        if connection.dialect.name == "postgresql":
            if self._is_plain_insert(connection, sql, many[0]):
                self._insert_all(connection, many)
                return
            if self._updates_apart(many):
                self._update_all(connection, many)
                return
        with_cursor(connection, sql, lambda cursor: cursor.executemany(sql, list(map(bind, many))))

    def run_all(self, connection: sa.Connection, names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
        """The same for an insert of many rows, given in the order of `names`, which are the columns."""
        if connection.dialect.name == "postgresql":
            self._copy(connection, names, rows)
            return
        sql, _ = self._sql(connection, dict.fromkeys(names))
        with_cursor(connection, sql, lambda cursor: cursor.executemany(sql, rows))

    def insert(self, connection: sa.Connection, names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
        """The same within a pipeline too, in which PostgreSQL takes no COPY."""
        if connection.dialect.name == "postgresql":
            self.run(connection, [dict(zip(names, each, strict=True)) for each in rows])
        else:
            self.run_all(connection, names, rows)

    def _copy(self, connection: sa.Connection, names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
        quote = connection.dialect.identifier_preparer
        statement: Any = self.statement
        sql = f"COPY {quote.format_table(statement.table)} ({', '.join(map(quote.quote, names))}) FROM STDIN"
        if self._octets is None:
            self._octets = _octets(statement, connection.dialect, list(names))
        places = [names.index(name) for name in self._octets]

        def copy(cursor: Any) -> None:
            with cursor.copy(sql) as copying:
                for row in rows:
                    copying.write_row(_in_hex(row, places) if places else row)

        with_cursor(connection, sql, copy)

    def _is_plain_insert(self, connection: sa.Connection, sql: str, parameters: StatementParameters) -> bool:
        """Whether the statement does nothing but put its parameters into a table's columns."""
        if self._plain is None:
            statement: Any = self.statement
            self._plain = (
                isinstance(statement, sa.Insert)
                and set(parameters) <= set(statement.table.columns.keys())
                and sql
                == str(sa.insert(statement.table).compile(dialect=connection.dialect, column_keys=list(parameters)))
            )
        return self._plain

    def _insert_all(self, connection: sa.Connection, many: Sequence[StatementParameters]) -> None:
        """Hands all rows over as one JSON text, a fraction of the cost; PostgreSQL reads it by its columns' types."""
        if self._insert is None:
            quote = connection.dialect.identifier_preparer
            statement: Any = self.statement
            table, names = quote.format_table(statement.table), ", ".join(map(quote.quote, many[0]))
            source = f"json_populate_recordset(NULL::{table}, %(rows)s::json)"
            self._insert = f"INSERT INTO {table} ({names}) SELECT {names} FROM {source}"  # noqa: S608 - names of ours
        self._send(connection, self._insert, many, {})

    def _updates_apart(self, many: Sequence[StatementParameters]) -> bool:
        """Whether it updates rows by a key of theirs, and each another one."""
        if self._key is None:
            self._key = _key_of(self.statement)
        key = self._key
        return key != "" and len({each[key] for each in many}) == len(many)

    def _update_all(self, connection: sa.Connection, many: Sequence[StatementParameters]) -> None:
        """The same for updates: the rows are joined to the table by the key."""
        if self._update is None:
            self._update = _joined(self.statement, connection.dialect, list(many[0]))
        sql, constants = self._update
        self._send(connection, sql, many, constants)

    def _send(
        self,
        connection: sa.Connection,
        sql: str,
        many: Sequence[StatementParameters],
        constants: StatementParameters,
    ) -> None:
        if self._octets is None:
            self._octets = _octets(self.statement, connection.dialect, list(many[0]))
        rows = [_with_hex(each, self._octets) for each in many] if self._octets else many
        with_cursor(connection, sql, lambda cursor: cursor.execute(sql, constants | {"rows": _encode(rows).decode()}))

    def _execute(self, connection: sa.Connection, parameters: StatementParameters) -> Any:
        sql, bind = self._sql(connection, parameters)
        cursor: Any = connection.connection.cursor()
        try:
            cursor.execute(sql, bind(parameters), **self._given)
        except Exception as error:
            translate(connection, sql, error)
        return cursor

    def _sql(self, connection: sa.Connection, parameters: StatementParameters) -> tuple[str, Bind]:
        dialect = connection.dialect
        found = self._compiled.get(dialect.name)
        if found is None:
            statement: Any = self.statement
            # By place on SQLite, whose driver looks up each name for every row.
            style = {"paramstyle": "qmark"} if dialect.name == "sqlite" else {}
            compiled = statement.compile(dialect=type(dialect)(**style), column_keys=list(parameters))
            # What stands in the statement itself, such as a number in its WHERE.
            constants = {name: value for name, value in compiled.params.items() if name not in parameters}
            found = self._compiled[dialect.name] = (str(compiled), _binding(compiled.positiontup, constants))
        return found


def _octets(statement: Any, dialect: sa.Dialect, names: list[str]) -> tuple[str, ...]:
    """Those of the parameters that stand in columns of octets, which JSON does not know."""
    binds = statement.compile(dialect=dialect, column_keys=names).binds
    return tuple([name for name in names if isinstance(binds[name].type, sa.LargeBinary)])


def _with_hex(given: StatementParameters, octets: Sequence[str]) -> StatementParameters:
    """The same as PostgreSQL reads octets in a text."""
    found = dict(given)
    for name in octets:
        if (value := found[name]) is not None:
            found[name] = "\\x" + value.hex()
    return found


def _in_hex(given: tuple[Any, ...], places: Sequence[int]) -> tuple[Any, ...]:
    """The same of a row. What the driver makes of octets for COPY is meant for a literal: where the database is set to
    `standard_conforming_strings = off` it is another value."""
    for place in places:
        if (value := given[place]) is not None:
            given = (*given[:place], "\\x" + value.hex(), *given[place + 1 :])
    return given


def _joined(statement: Any, dialect: sa.Dialect, names: Sequence[str]) -> tuple[str, StatementParameters]:
    """An update whose parameters of these names come from the JSON text `rows`, and its other parameters."""
    binds = statement.compile(dialect=dialect, column_keys=names).binds
    source = (
        sa.func.json_to_recordset(sa.cast(sa.bindparam("rows", type_=sa.Text), sa.JSON))
        .table_valued(*(sa.column(name, binds[name].type) for name in names))
        .render_derived(name="given", with_types=True)
    )

    def given(element: Any, **_: Any) -> Any:
        return source.c[element.key] if isinstance(element, sa.BindParameter) and element.key in source.c else None

    turned: Any = visitors.replacement_traverse(statement, {}, given)
    compiled = turned.compile(dialect=dialect)
    return str(compiled), {name: value for name, value in compiled.params.items() if name != "rows"}


def _key_of(statement: Any) -> str:
    """The parameter that an update compares its table's key with, and nothing more; empty for any other statement."""
    where = statement.whereclause if isinstance(statement, sa.Update) else None
    if not isinstance(where, sa.BinaryExpression) or where.operator is not operators.eq:
        return ""
    compared, value = where.left, where.right
    if not isinstance(compared, sa.Column) or not isinstance(value, sa.BindParameter):
        return ""
    return value.key if compared.primary_key and len(compared.table.primary_key) == 1 or compared.unique else ""


def _binding(places: Sequence[str] | None, constants: StatementParameters) -> Bind:
    """How parameters are handed over: in the order of `places`, or by name where there are none."""
    if places is None:
        return (lambda given: constants | given) if constants else (lambda given: given)
    if constants:
        return lambda given: [(constants | given)[name] for name in places]
    if len(places) > 1:
        return itemgetter(*places)
    return lambda given: [given[name] for name in places]


def with_cursor(connection: sa.Connection, sql: str, work: Callable[[Any], object]) -> None:
    """Does something with the driver's own cursor; `sql` is what an error is told with."""
    cursor: Any = connection.connection.cursor()
    try:
        work(cursor)
    except Exception as error:
        translate(connection, sql, error)


def translate(connection: sa.Connection, sql: str, error: Exception) -> NoReturn:
    """Raises the error as SQLAlchemy would, and gives a broken connection back to the pool as broken."""
    dialect = connection.dialect
    driver: Any = dialect.loaded_dbapi
    if not isinstance(error, driver.Error):
        raise error
    gone = dialect.is_disconnect(error, connection.connection, None)
    if gone:
        connection.invalidate(error)
    raise DBAPIError.instance(
        sql, None, error, driver.Error, hide_parameters=True, connection_invalidated=gone, dialect=dialect
    ) from error
