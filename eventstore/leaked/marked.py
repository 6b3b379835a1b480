"""What was issued by a key of the server or of a trusted issuer: tokens that it signed, or that an assertion got. The
search index has neither, so the log is looked through from where the key can have begun to where it ended.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, text

from domain.event import SECOND, Moment
from domain.keys.signing_key import TOKENS_LAST
from eventstore.affected import OF_GRANTS, IssuedCounts
from eventstore.recorder import portions
from eventstore.sealed import packed_rows
from eventstore.sealed.excerpt import IS_DROPPED
from eventstore.sealed.short_names import as_kept, listed
from eventstore.search import first_at, recorded_forms
from eventstore.time_travel import AT_ONCE, Descendant, descendants, states_at

Mark = Literal["signing_key", "asserted_by"]
"""The member of an event that says so."""

_TAGS = (*OF_GRANTS, "grant.exchanged")
_TOPICS = ", ".join(f"'{topic}'" for topic in _TAGS)
_MEMBER = {"sqlite": "json_extract(state, '$.data.{0}')", "postgresql": "(state::json -> 'data' ->> '{0}')"}
_FROM = "FROM stored_events WHERE id BETWEEN :low AND :high AND topic IN ({topics}) AND {member} = :value"
_COUNTED = "SELECT COUNT(DISTINCT originator_id), COUNT(*) " + _FROM
_GRANTS = "SELECT DISTINCT originator_id " + _FROM + " ORDER BY 1"
_DROPPED = f"""
SELECT id FROM stored_events WHERE id BETWEEN :low AND :high AND topic IN ({listed(_TAGS)})
AND {IS_DROPPED} ORDER BY id LIMIT {AT_ONCE}
"""  # noqa: S608 - names of ours
"""Of what was dropped the table has no such member: that is read in its segments."""


def _dropped(connection: Connection, low: int, high: int) -> list[int]:
    """The next of them, packed or not."""
    standing = connection.scalars(text(_DROPPED), {"low": low, "high": high}).all()
    packed = packed_rows.between(connection, low, high, AT_ONCE, as_kept(_TAGS))
    return sorted({*standing, *(row[0] for row in packed)})[:AT_ONCE]


class Marked(NamedTuple):
    """What the member `mark` of events says is of the key, by its `value`, from `since` on and before the position
    `ended`; None has no end."""

    mark: Mark
    value: str
    since: Moment
    ended: int | None = None

    def issued(self, connection: Connection, high: int) -> IssuedCounts:
        """All that was issued up to a position, dead or alive: access tokens, and how many grants these are of. Raises
        `ArchiveAway`."""
        grants, tokens = self._run(connection, _COUNTED, self.since, high).one()
        # A stream is archived as a whole, so that none has events here and there.
        archived = Counter(self._archived(connection, high))
        return IssuedCounts(grants=grants + len(archived), access_tokens=tokens + archived.total())

    def _archived(self, connection: Connection, high: int) -> Iterator[str]:
        """The streams of the events that say so and were dropped, one by one."""
        high = self._until(high)
        low = first_at(connection, self.since, high)
        while found := _dropped(connection, low, high):
            for each in recorded_forms(connection, found):
                if getattr(each.event, self.mark, None) == self.value:
                    yield each.stream
            low = found[-1] + 1

    def alive(self, connection: Connection, position: int, now: Moment) -> list[Descendant]:
        """What of it was alive at a position, at the time `now`."""
        since = max(self.since, now - TOKENS_LAST * SECOND)
        grants = [stream.partition(":")[2] for (stream,) in self._run(connection, _GRANTS, since, position)]
        state = states_at(connection, position)
        found: list[Descendant] = []
        for portion in portions(grants, AT_ONCE):
            found += [
                each
                for each in descendants(connection, state, portion, position, now)
                if each.alive and (self.mark != "signing_key" or each.signing_key == self.value)
            ]
        return found

    def _until(self, high: int) -> int:
        return high if self.ended is None else min(high, self.ended - 1)

    def _run(self, connection: Connection, statement: str, since: Moment, high: int) -> Any:
        member = _MEMBER[connection.dialect.name].format(self.mark)
        high = self._until(high)
        bound = {"low": first_at(connection, since, high), "high": high, "value": self.value}
        return connection.execute(text(statement.format(topics=_TOPICS, member=member)), bound)
