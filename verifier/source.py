"""Where published artefacts come from: a database, or a server."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from verifier.stored_form import Row
from verifier.verdict import SourceError

Progress = Callable[[int, int], None]
"""(events done, events in all), called every few thousand events and at the end."""


def no_progress(_done: int, _total: int) -> None:
    """For callers who do not watch."""


class Source(Protocol):
    """What a log publishes. Every method raises `SourceError` when the place cannot be read."""

    def newest(self) -> str | None:
        """The newest checkpoint's note; None when the log has none."""

    def sizes(self) -> Sequence[int]:
        """For which sizes older checkpoints can be had."""

    def note(self, size: int) -> str:
        """The checkpoint's note of one of those sizes."""

    def rows(self, size: int) -> Iterator[Row] | None:
        """Every event in order of position, `size` of them or more; None when this reader may not see events."""

    def tile(self, level: int, number: int, width: int) -> bytes | None:
        """The first `width` hashes of a tile; None when it is missing."""

    def close(self) -> None:
        """Lets go of connections."""


def open_source(place: str, token: str | None = None) -> Source:
    """The source of a server's URL (`https://…`), a database's URL (`postgresql://…`, `sqlite:///…`) or an SQLite file.

    `token` is a bearer token with `audit:read`: without one a server shows its tree only. Raises `SourceError`.
    """
    scheme, separator, _ = place.partition("://")
    if scheme in ("http", "https"):
        from verifier.server import ServerSource

        return ServerSource(place, token)
    from verifier.database import PostgresqlSource, SqliteSource

    if scheme.startswith("postgres"):
        return PostgresqlSource(place)
    if separator and not scheme.startswith("sqlite"):
        raise SourceError(f"nobody knows how to read {scheme}:// here")
    return SqliteSource(place.partition(":///")[2] if separator else place)
