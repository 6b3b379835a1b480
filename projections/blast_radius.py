"""The questions that `projections.derived` answers: what came of a client secret, and how much of it is alive now."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, select

from domain.event import SECOND, Moment
from projections import derived_people
from projections.derived import DAYS, LIVES, NO_SECRET, SECONDS_OF_DAY, TOTALS, Kind


class Count(NamedTuple):
    """How many there ever were, and how many are alive."""

    total: int = 0
    live: int = 0


class Derived(NamedTuple):
    """What came of something, and how many people that concerns who have something alive of it."""

    grants: Count = Count()
    codes: Count = Count()
    access_tokens: Count = Count()
    refresh_tokens: Count = Count()
    people: int = 0

    @property
    def tokens_live(self) -> int:
        """Tokens and codes that are alive."""
        return self.codes.live + self.access_tokens.live + self.refresh_tokens.live


def of_secret(
    connection: Connection, client_id: str, secret_id: str, now: Moment, since: Moment | None = None
) -> Derived:
    """What one secret version authenticated. `since` narrows what is alive to what was issued since that second."""
    live = _live(connection, client_id, secret_id, now, since)
    row = connection.execute(
        select(TOTALS).where(TOTALS.c.client_id == client_id, TOTALS.c.secret_id == secret_id)
    ).first()
    total = (0, 0, 0, 0) if row is None else (row.grants, row.codes, row.access_tokens, row.refresh_tokens)
    return Derived(
        Count(total[0], live.get(Kind.GRANT, 0)),
        Count(total[1], 0),
        Count(total[2], live.get(Kind.ACCESS, 0)),
        Count(total[3], live.get(Kind.REFRESH, 0)),
        derived_people.alive(connection, client_id, (secret_id,), now, since),
    )


def of_secrets(
    connection: Connection, client_id: str, secret_ids: Sequence[str], now: Moment, since: Moment | None = None
) -> Derived:
    """What several versions of one client's secret authenticated. A grant of more than one counts for each of them."""
    found = [of_secret(connection, client_id, each, now, since) for each in secret_ids]
    if len(found) < 2:
        return found[0] if found else Derived()
    kinds: Iterable[Any] = zip(*(each[:4] for each in found), strict=True)
    grants, codes, access, refresh = (
        Count(sum(each.total for each in kind), sum(each.live for each in kind)) for kind in kinds
    )
    people = derived_people.alive(connection, client_id, secret_ids, now, since)
    return Derived(grants, codes, access, refresh, people)


def of_client(connection: Connection, client_id: str, now: Moment, since: Moment | None = None) -> Derived:
    """What a client was given, by whichever secret or none."""
    live = _live(connection, client_id, None, now, since)
    rows = connection.execute(select(TOTALS).where(TOTALS.c.client_id == client_id)).all()
    whole = next((row for row in rows if row.secret_id == NO_SECRET), None)
    return Derived(
        Count(0 if whole is None else whole.grants, live.get(Kind.NEWEST, 0)),
        Count(0 if whole is None else whole.codes, live.get(Kind.CODE, 0)),
        Count(sum(row.access_tokens for row in rows), live.get(Kind.ACCESS, 0)),
        Count(sum(row.refresh_tokens for row in rows), live.get(Kind.REFRESH, 0)),
        derived_people.alive(connection, client_id, None, now, since),
    )


def _live(
    connection: Connection, client_id: str, secret_id: str | None, now: Moment, since: Moment | None
) -> dict[int, int]:
    """What is alive, by kind: of later days by their sums, of today and since a moment by the second."""
    second = now // SECOND
    following = second // SECONDS_OF_DAY + 1
    lives = select(LIVES.c.kind, func.sum(LIVES.c.count)).where(LIVES.c.client_id == client_id)
    # Kinds and versions are named, so that an index leads to the seconds of each.
    lives = lives.where(LIVES.c.kind.in_([int(kind) for kind in Kind]), LIVES.c.until > second)
    versions = [secret_id] if secret_id is not None else _versions(connection, client_id)
    lives = lives.where(LIVES.c.secret_id.in_(versions)).group_by(LIVES.c.kind)
    if since is not None:
        return {kind: int(found) for kind, found in connection.execute(lives.where(LIVES.c.issued >= since // SECOND))}
    days = select(DAYS.c.kind, func.sum(DAYS.c.count)).where(DAYS.c.client_id == client_id, DAYS.c.day >= following)
    days = days.where(DAYS.c.secret_id.in_(versions)).group_by(DAYS.c.kind)
    found: Counter[int] = Counter()
    for query in (lives.where(LIVES.c.until < following * SECONDS_OF_DAY), days):
        for kind, number in connection.execute(query):
            found[kind] += int(number)
    return found


def _versions(connection: Connection, client_id: str) -> list[str]:
    """The secret versions of a client of which anything came, and the one that stands for none."""
    known = connection.scalars(select(TOTALS.c.secret_id).where(TOTALS.c.client_id == client_id))
    return sorted({NO_SECRET, *known})
