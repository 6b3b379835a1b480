"""What is counted of a grant's lives, and what an event adds to everything ever issued."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from domain import grant
from domain.event import Moment, Recorded
from eventstore.lifespans import Life
from projections.derived import NO_SECRET, Kind, Piece, Total

ISSUING = (grant.TokensIssued, grant.TokensRefreshed)
_KINDS = {"access": Kind.ACCESS, "refresh": Kind.REFRESH, "code": Kind.CODE}


def pieces(found: Sequence[Life], now: Moment) -> list[Piece]:
    """The pieces of one grant's lives at a moment: its codes and tokens, and the grant itself."""
    made = [
        Piece(life.client_id, life.secret_id or NO_SECRET, _KINDS[life.kind], life.until, life.issued_at)
        for life in found
        if life.until > now
    ]
    if not made:
        return []
    newest: dict[str, Life] = {}
    for life in found:
        newest[life.secret_id or NO_SECRET] = life
    for secret_id, last in newest.items():
        until = max(each.until for each in found if (each.secret_id or NO_SECRET) == secret_id)
        if secret_id != NO_SECRET and not last.cut and until > now:
            made.append(Piece(last.client_id, secret_id, Kind.GRANT, until, last.issued_at))
    last = found[-1]
    if not last.cut:
        until = max(life.until for life in found if not life.cut)
        made.append(Piece(last.client_id, last.secret_id or NO_SECRET, Kind.NEWEST, until, last.issued_at))
    return made


def difference(before: Iterable[Piece], after: Iterable[Piece]) -> list[tuple[Piece, int]]:
    """How often each piece came or went."""
    counted: Counter[Piece] = Counter(after)
    counted.subtract(Counter(before))
    return [(piece, number) for piece, number in counted.items() if number]


def total_of_code(recorded: Recorded) -> tuple[Total, ...]:
    """What a code that was issued adds."""
    return (Total(recorded.event.client_id, NO_SECRET, grants=1, codes=1),)


def totals(recorded: Recorded, before: Sequence[Recorded] | None) -> Iterator[Total]:
    """What issued tokens add. `before` are the grant's earlier events; None for the event that starts it."""
    event: Any = recorded.event
    if before is None:
        yield Total(event.client_id, NO_SECRET, grants=1)
    named = event.secret_id is not None
    first = not any(
        isinstance(each.event, ISSUING) and each.event.secret_id == event.secret_id for each in before or ()
    )
    yield Total(
        event.client_id,
        event.secret_id or NO_SECRET,
        grants=int(named and first),
        codes=int(named and getattr(event, "code", None) is not None),
        access_tokens=1,
        refresh_tokens=int(event.refresh_token is not None),
    )
