"""What was issued by a key of the server or of a trusted issuer: tokens that it signed, or that an assertion got. The
search index has neither, so the log is looked through from where the key can have begun to where it ended.
"""

from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, text

from domain.event import SECOND, Moment
from domain.keys.signing_key import TOKENS_LAST
from eventstore.affected import OF_GRANTS, IssuedCounts
from eventstore.recorder import portions
from eventstore.search import first_at
from eventstore.time_travel import AT_ONCE, Descendant, descendants, states_at

Mark = Literal["signing_key", "asserted_by"]
"""The member of an event that says so."""

_TOPICS = ", ".join(f"'{topic}'" for topic in (*OF_GRANTS, "grant.exchanged"))
_MEMBER = {"sqlite": "json_extract(state, '$.data.{0}')", "postgresql": "(state::json -> 'data' ->> '{0}')"}
_FROM = "FROM stored_events WHERE id BETWEEN :low AND :high AND topic IN ({topics}) AND {member} = :value"
_COUNTED = "SELECT COUNT(DISTINCT originator_id), COUNT(*) " + _FROM
_GRANTS = "SELECT DISTINCT originator_id " + _FROM + " ORDER BY 1"


class Marked(NamedTuple):
    """What the member `mark` of events says is of the key, by its `value`, from `since` on and before the position
    `ended`; None has no end."""

    mark: Mark
    value: str
    since: Moment
    ended: int | None = None

    def issued(self, connection: Connection, high: int) -> IssuedCounts:
        """All that was issued up to a position, dead or alive: access tokens, and how many grants these are of."""
        grants, tokens = self._run(connection, _COUNTED, self.since, high).one()
        return IssuedCounts(grants=grants, access_tokens=tokens)

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

    def _run(self, connection: Connection, statement: str, since: Moment, high: int) -> Any:
        member = _MEMBER[connection.dialect.name].format(self.mark)
        high = high if self.ended is None else min(high, self.ended - 1)
        bound = {"low": first_at(connection, since, high), "high": high, "value": self.value}
        return connection.execute(text(statement.format(topics=_TOPICS, member=member)), bound)
