"""Digests of archived events' secrets are packed: rows of `digests` become entries of `projections.named.digest_runs`.

It goes by what stands in the tables and may be done again: what is a token's row yet is a row of `digests` later. A
rebuild makes all of them rows, and the command packs them again.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import merge
from itertools import groupby
from types import MappingProxyType
from typing import Any, NamedTuple

from sqlalchemy import Connection

from domain.event import Recorded
from eventstore import issued
from eventstore.recorder import portions
from projections import digests, event_index, tokens
from projections.named import digest_runs
from projections.named.digest_runs import Runs
from projections.named.run_rows import BEGINNING, DigestEntry, position_of

AT_ONCE = 500
"""Digests of one statement."""


def issued_by(told: Iterable[Recorded]) -> dict[bytes, int]:
    """The digests of all secrets that events issued, each with its position."""
    return {bytes.fromhex(each.sha256): each.by.position for one in told for each in issued.all_of(one)}


def pack(
    connection: Connection, sha256: str, places: Mapping[bytes, int], living: Mapping[bytes, int] = MappingProxyType({})
) -> None:
    """Packs the digests of a segment that have a row, in a transaction of its own, with those of events that live among
    its own, and notes the segment as done where none of its own has a token's row any more."""
    # Whoever else packs waits.
    event_index.hold(connection, event_index.NAME)
    is_done, entries = True, []
    for some in portions(sorted(places), AT_ONCE):
        # Asked first: a row that leaves meanwhile is among those below, and the segment is looked at once more.
        is_done = is_done and not tokens.positions(connection, some)
    places = {**living, **places}
    for some in portions(sorted(places), AT_ONCE):
        found = digests.find_all(connection, some)
        packed = [digest for digest, position in found.items() if places[digest] == position]
        digests.remove(connection, packed)
        entries += [digest_runs.entry(digest, places[digest]) for digest in packed]
    digest_runs.add(connection, entries)
    if is_done:
        digest_runs.note(connection, sha256)


class Joining(NamedTuple):
    """Runs of a table that are to become one, and its rows."""

    of: Runs
    runs: Sequence[int]
    merged: digest_runs.MergedRuns


def joining(connection: Connection, of: Runs = digest_runs.DIGESTS) -> Joining | None:
    """The next runs that are to become one, read outside of the transaction that replaces them; None for none."""
    runs = of.due(connection)
    return Joining(of, runs, of.merged(connection, runs)) if runs else None


def reforming(connection: Connection, of: Runs) -> Joining | None:
    """The next run in the form of earlier versions, that it be one of today's; None for none."""
    runs = of.former(connection)
    return Joining(of, runs, of.merged(connection, runs)) if runs else None


def join(connection: Connection, found: Joining) -> bool:
    """Replaces them, unless they have changed."""
    event_index.hold(connection, event_index.NAME)
    return found.of.replace(connection, found.runs, found.merged)


# What comparisons with the log see of them.


def rows(connection: Connection, expected: Sequence[tuple[Any, ...]]) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """Those of the rows of `digests`, by their key, that are kept, packed or not."""
    found = kept(connection, dict(expected))
    return {row[:1]: row for row in expected if row[0] in found}


def kept(connection: Connection, places: Mapping[bytes, int]) -> set[bytes]:
    """Those of the digests that are kept, packed or not, each at the position where its secret was issued."""
    rows = digests.find_all(connection, [*places])
    packed = digests.packed(connection, [digest for digest in places if digest not in rows])
    return {digest for digest, at in places.items() if at in (rows.get(digest), *packed.get(digest, ()))}


Issued = tuple[bytes, int]
"""A digest and where its secret was issued."""


def completed(packed: Iterator[DigestEntry], known: Iterator[Issued]) -> Iterator[Issued]:
    """The digests that stand packed, in order, as far as the log knows of such ones; others as they stand there."""
    both = merge(
        ((entry[:BEGINNING], 0, entry, 0) for entry in packed),
        ((digest[:BEGINNING], 1, digest, position) for digest, position in known),
    )
    for beginning, alike in groupby(both, lambda each: each[0]):
        every = [*alike]
        entries = [entry for _, is_known, entry, _ in every if not is_known]
        if entries:
            of_log = [(digest, position) for _, is_known, digest, position in every if is_known]
            yield from sorted(_each(beginning, entries, of_log))


def _each(beginning: bytes, entries: Sequence[bytes], of_log: Sequence[Issued]) -> Iterator[Issued]:
    left = list(of_log)
    for entry in entries:
        position = position_of(entry)
        same = next((each for each in left if each[1] == position), None)
        if same is not None:
            # One event may issue two secrets whose digests begin alike.
            left.remove(same)
        yield same or (beginning, position)
