"""What a grant's next event changes, worked out without looking back, is what its whole history says."""

from collections import Counter
from itertools import count
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from domain import grant, grant_code, succession
from domain.event import ANONYMOUS, SECOND, Event, Moment, Recorded
from eventstore.continuing import Standing
from eventstore.counting import difference, pieces
from eventstore.lifespans import lives

SECRETS = (None, "first", "second")
steps = st.tuples(
    st.sampled_from(["refresh", "refresh in grace", "again", "again", "again, as events told it", "revoke"]),
    st.sampled_from(SECRETS),
    st.sampled_from([0, 1, 29, 30, 31, 599, 600, 601, 3_000]),
    st.sampled_from([1, 60, 600]),
    st.integers(0, 5),
)


class Life:
    """A grant's stream as the decisions allow it, told event by event."""

    def __init__(self) -> None:
        self.told: list[Recorded] = []
        self.now: Moment = 1_000 * SECOND + 5
        self.state = grant.INITIAL
        self.access = ""
        self._names = count()

    def name(self) -> str:
        return f"{next(self._names):064x}"

    def newest(self) -> str:
        self.access = self.name()
        return self.access

    def tell(self, event: Event) -> Recorded:
        version = len(self.told) + 1
        recorded = Recorded(
            version * 3, f"e{version}", "grant:g", version, self.now, ANONYMOUS, None, None, None, event
        )
        self.told.append(recorded)
        self.state = grant.evolve(self.state, recorded)
        return recorded

    def issued(self, **given: Any) -> Event:
        return grant.TokensIssued(
            grant_type="authorization_code", client_id="c", account_id="p", scope="s", access_token=self.newest(),
            lifetime=600, refresh_token=self.name(), refresh_lifetime=3_000,
            refresh_ends_in=90_000, **given,
        )  # fmt: skip

    def refreshed(self, secret_id: str | None, lifetime: int, grace_ends_at: Moment | None) -> Event:
        return grant.TokensRefreshed(
            client_id="c", account_id="p", scope="s", secret_id=secret_id, access_token=self.newest(),
            lifetime=lifetime, refresh_token=self.name(), refresh_lifetime=3_000, grace_ends_at=grace_ends_at,
        )  # fmt: skip

    def events(self, step: str, secret_id: str | None, lifetime: int, which: int) -> list[Event]:
        if step == "revoke":
            return [grant.TokenRevoked(access_token=self.access, expires_at=0, by="client")]
        known = self.state.succession
        good = [each for each in known.tokens if succession.good(known, each.sha256).at(self.now)]
        newest, grace = good[-1], None if step == "refresh" else self.now + 30 * SECOND
        assert newest is known.newest
        presented = good[which % len(good)]
        if not step.startswith("again") or presented is newest:
            return [self.refreshed(secret_id, lifetime, grace)]
        told = step == "again" or presented.sha256 != known.used
        replaced = grant.SuccessorReplaced(refresh_token=newest.sha256, presented=presented.sha256 if told else None)
        return [replaced, self.refreshed(secret_id, lifetime, presented.grace_ends_at or grace)]


def rows(life: Life, standing: Standing, event: Event) -> tuple[Counter[Any], Counter[Any]]:
    """By how much each row changes: as remembered, and as the whole history says."""
    before = standing.rows(life.now)
    recorded = life.tell(event)
    standing.apply(recorded)
    remembered = Counter(standing.rows(life.now))
    remembered.subtract(Counter(before))
    if isinstance(event, grant.TokensIssued | grant.TokensRefreshed):
        ends = -(-(life.now + event.lifetime * SECOND) // SECOND)
        remembered[("c", event.secret_id or "", 1, ends, life.now // SECOND)] += 1
    told: Counter[Any] = Counter()
    for piece, number in difference(pieces(lives(life.told[:-1]), life.now), pieces(lives(life.told), life.now)):
        told[piece.row] += number
    return remembered, told


def same(both: tuple[Counter[Any], Counter[Any]]) -> bool:
    remembered, told = ({row: number for row, number in each.items() if number} for each in both)
    return remembered == told


@given(st.booleans(), st.lists(steps, max_size=12), st.integers(0, 12))
def test_it_changes_what_the_whole_history_says(by_code: bool, taken: list[Any], forgets_at: int) -> None:
    life, standing = Life(), Standing()
    if by_code:
        code = grant_code.CodeIssued(
            client_id="c", account_id="p", redirect_uri="u", redirect_uri_given=True, scope="s", code=life.name(),
            lifetime=60,
        )  # fmt: skip
        assert same(rows(life, standing, code))
        assert same(rows(life, standing, grant_code.CodeRedeemed()))
        assert same(rows(life, standing, life.issued(secret_id="first", code=code.code)))
    else:
        assert same(rows(life, standing, life.issued()))
    for number, (step, secret_id, later, lifetime, which) in enumerate(taken):
        life.now += later * SECOND
        if number == forgets_at:
            standing = Standing.of(life.told)
        for event in life.events(step, secret_id, lifetime, which):
            if isinstance(event, grant.TokenRevoked):
                # The end of a single token needs the history, and what was remembered is read anew.
                life.tell(event)
                standing = Standing.of(life.told)
            else:
                assert same(rows(life, standing, event))
    again = Standing.of(life.told)
    assert (again.version, again.account_id) == (standing.version, standing.account_id)
    assert all(again.knows(secret_id) == standing.knows(secret_id) for secret_id in ("first", "second"))
