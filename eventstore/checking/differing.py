"""Which read models were found to differ from the log: noted in the database, until they are made anew."""

from sqlalchemy import Connection, delete, insert, select

from eventstore.stored import projection_versions

DIFFERS = -1
"""Noted in the place of the version with which rows were made."""

_NOTED = select(projection_versions.c.name).where(projection_versions.c.version == DIFFERS)


def differing(connection: Connection) -> list[str]:
    """The names of those, in their order."""
    return sorted(connection.scalars(_NOTED))


def note(connection: Connection, name: str) -> None:
    """Notes one. A rebuild of it notes its version again."""
    connection.execute(delete(projection_versions).where(projection_versions.c.name == name))
    connection.execute(insert(projection_versions), {"name": name, "version": DIFFERS})


def clear(connection: Connection, name: str) -> None:
    """Takes the note back where a whole round found nothing any more and nothing can be rebuilt."""
    noted = projection_versions.c.name == name, projection_versions.c.version == DIFFERS
    connection.execute(delete(projection_versions).where(*noted))
