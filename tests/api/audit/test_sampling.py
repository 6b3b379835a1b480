"""A sample of very many events: little is looked at, from the first to the last, and it says what all of them are."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, insert

from api.audit.queries import sampling
from eventstore import search
from eventstore.search import Criteria, SearchName
from eventstore.stored import events
from eventstore.stored import metadata as log_metadata
from projections import event_index
from projections.event_index import NameKind
from projections.tables import metadata
from tests.databases import BACKENDS, Databases

HEAD = 20_000
CLIENT: tuple[SearchName, ...] = ((NameKind.CLIENT, b"client"),)
ISSUED, USED, ENDED = ((NameKind.TYPE, each) for each in (b"grant.issued", b"token.used", b"grant.ended"))


def _type(position: int) -> SearchName:
    """One of four ends something until the middle of the log, and none from there on; one of ten is a use."""
    if position < HEAD / 2 and position % 4 == 0:
        return ENDED
    return USED if position % 10 == 1 else ISSUED


@pytest.fixture(scope="module", params=BACKENDS)
def connection(request: pytest.FixtureRequest, databases: Databases) -> Iterator[Connection]:
    """A log in which a client is named by every other event."""
    url = databases.create(request.param, migrated=False)
    made = create_engine(url, **({"paramstyle": "named"} if request.param == "sqlite" else {}))
    metadata.create_all(made)
    log_metadata.create_all(made)
    with made.connect() as opened:
        names = ("id", "originator_id", "originator_version", "topic", "state")
        rows = [(n, f"s:{n}", 1, _type(n)[1].decode(), "{}") for n in range(1, HEAD + 1)]
        opened.execute(insert(events), [dict(zip(names, row, strict=True)) for row in rows])
        event_index.add(opened, ((*CLIENT[0], n) for n in range(1, HEAD + 1, 2)))
        event_index.add(opened, ((*_type(n), n) for n in range(1, HEAD + 1)))
        yield opened
        opened.rollback()
    made.dispose()
    databases.drop(url)


def _types(connection: Connection, positions: Any) -> list[tuple[int, str]]:
    return list(search.types_at(connection, positions).items())


def _unused(connection: Connection, positions: Sequence[int]) -> list[int]:
    return search.not_of_types(connection, positions, ("token.used",))


def _estimated(connection: Connection, criteria: Criteria, count: int = 1_000) -> tuple[search.Count, dict[str, int]]:
    places = sampling.places(sampling.LogStretch(criteria.low, criteria.high), count)
    drawn = sampling.together(sampling.draw(connection, criteria, places, count // len(places), _types))
    assert drawn.drawn <= count
    return sampling.estimated(connection, criteria, drawn)


def test_a_sample_says_how_many_match_and_of_which_types(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []
    original = event_index.positions

    def positions(*given: Any, **named: Any) -> list[int]:
        found = original(*given, **named)
        reads.append(len(found))
        return found

    monkeypatch.setattr(event_index, "positions", positions)
    total, groups = _estimated(connection, Criteria((CLIENT,), 1, HEAD))
    # The index knows how many there are; of each type there is a guess.
    assert total == (10_000, False)
    assert groups == pytest.approx({"grant.issued": 8_000, "token.used": 2_000}, rel=0.1)
    # A fifth of the client's events; types that are left out are told from those of the drawn.
    total, groups = _estimated(connection, Criteria((CLIENT,), 1, HEAD, passing=_unused))
    assert total.events == pytest.approx(8_000, rel=0.05)
    assert not total.exact
    assert set(groups) == {"grant.issued"}
    total, _ = _estimated(connection, Criteria((CLIENT, (USED, ENDED)), 1, HEAD))
    assert total.events == pytest.approx(2_000, rel=0.1)
    # From the whole of the log, of which the first half is unlike the second.
    total, groups = _estimated(connection, Criteria(((ISSUED, ENDED),), 1, HEAD))
    assert groups["grant.ended"] == pytest.approx(2_500, rel=0.1)
    assert len(reads) <= 7 * 1_000 // sampling.FROM_A_PLACE
    assert sum(reads) <= 12_000


def test_a_sample_of_everything_is_exact(connection: Connection) -> None:
    criteria = Criteria((CLIENT,), 101, 120, passing=_unused)
    total, groups = _estimated(connection, criteria)
    assert total == (8, True)
    assert groups == {"grant.issued": 8}
    (nothing,) = sampling.draw(connection, criteria, [sampling.LogStretch(101, 100)], 10, _types)
    assert sampling.estimated(connection, criteria._replace(high=100), nothing) == ((0, True), {})


def test_without_a_group_nothing_of_the_log_is_read(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "types_at", partial(pytest.fail, "the log is asked"))
    (drawn,) = sampling.draw(connection, Criteria((CLIENT,), 1, HEAD), [sampling.LogStretch(1, HEAD)], 100, None)
    (total, _) = sampling.estimated(connection, Criteria((CLIENT,), 1, HEAD), drawn)
    assert total.events == 10_000
