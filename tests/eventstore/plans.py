"""How a database would find what a statement asks for."""

from typing import Any

from sqlalchemy import Connection, Executable, event


def plan_of(connection: Connection, statement: Executable, parameters: dict[str, Any]) -> str:
    """The database's own plan, as text."""
    explain = "EXPLAIN QUERY PLAN " if connection.dialect.name == "sqlite" else "EXPLAIN "

    def explained(_c: Any, cursor: Any, sql: str, given: Any, _x: Any, _m: bool) -> tuple[str, Any]:
        return explain + sql, given

    event.listen(connection, "before_cursor_execute", explained, retval=True)
    try:
        return "\n".join(" ".join(str(value) for value in row) for row in connection.execute(statement, parameters))
    finally:
        event.remove(connection, "before_cursor_execute", explained)
