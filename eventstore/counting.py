"""What is counted of a grant's lives."""

from collections import Counter
from collections.abc import Iterable, Sequence

from domain.event import Moment
from eventstore.lifespans import Life
from projections.derived import NO_SECRET, Kind, Piece

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
