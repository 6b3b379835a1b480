"""Any sequence of requests: at most one refresh token works, and whatever was used up ends the grant for good."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec.structs import replace

from domain import grant
from domain.event import SECOND
from domain.refusal import InvalidGrant
from tests.domain.story import DASHBOARD, THIRD_PARTY, parties, redeemed, signed_in


class Grant(RuleBasedStateMachine):
    """Holds in a model of its own which refresh token is which, and compares."""

    @initialize(dashboard=st.booleans())
    def begin(self, dashboard):
        self.by = parties(DASHBOARD if dashboard else THIRD_PARTY)
        self.story = signed_in() if dashboard else redeemed()
        self.grace = 10 if dashboard else 0
        first = f"rt{self.story.minted}"
        self.issued = [first]
        self.current = first
        self.former = None
        self.used_at = None
        self.over = False
        self.absolute = self.story.now + 90 * 86_400 * SECOND
        self.idle = self.story.now + 30 * 86_400 * SECOND

    @rule(seconds=st.one_of(st.integers(0, 20), st.integers(0, 20 * 86_400)))
    def wait(self, seconds):
        self.story.later(seconds)

    @rule(data=st.data())
    def present(self, data):
        name = data.draw(st.sampled_from(self.issued[-6:]))
        was_over, now = self.over, self.story.now
        in_grace = self.used_at is not None and now < self.used_at + self.grace * SECOND
        outcome = self.story.refresh(name, self.by)
        reason = None if outcome.refusal is None else outcome.refusal.reason
        if name != self.current and not (name == self.former and in_grace):
            assert reason is InvalidGrant.REPLAYED
            self.over = True
        elif was_over:
            assert reason is InvalidGrant.ENDED
        elif name == self.current and now >= min(self.idle, self.absolute):
            assert reason is InvalidGrant.EXPIRED
        else:
            assert reason is None
            if name == self.current:
                self.former, self.used_at = name, now
            self.current = f"rt{self.story.minted}"
            self.issued.append(self.current)
            self.idle = now + 30 * 86_400 * SECOND

    @rule()
    def foreign_client(self):
        stranger = parties(replace(THIRD_PARTY, client_id="foreign"))
        outcome = self.story.refresh(self.current, stranger)
        assert outcome.refusal is not None
        assert outcome.refusal.reason is InvalidGrant.FOREIGN_CLIENT

    @rule(number=st.integers(1, 5))
    def revoke_one(self, number):
        story = self.story
        expires_at = story.now + 60 * SECOND
        story.decide(
            grant.revoke_token,
            client_id=self.by.client.client_id,
            kind="access",
            sha256=f"{number:064x}",
            expires_at=expires_at,
            by="client",
        )

    @rule(really=st.sampled_from([False, False, False, True]))
    def end(self, really):
        if really:
            self.story.decide(grant.end, reason="administrator")
            self.over = True

    @invariant()
    def one_end_and_no_life_after_it(self):
        story = getattr(self, "story", None)
        if story is None:
            return
        types = story.types
        assert (story.state.ended_at is not None) == self.over
        assert types.count("grant.ended") <= 1
        assert types.count("grant.refresh_replayed") <= 1
        assert types.count("grant.refresh_refused") <= 5
        if "grant.ended" in types:
            assert "grant.tokens_refreshed" not in types[types.index("grant.ended") :]

    @invariant()
    def every_successor_but_one_is_used_or_replaced(self):
        story = getattr(self, "story", None)
        if story is None:
            return
        refreshed = story.types.count("grant.tokens_refreshed")
        replaced = story.types.count("grant.successor_replaced")
        assert len(self.issued) == refreshed + 1
        assert replaced <= refreshed
        assert len(story.state.revoked) <= 5


TestGrant = Grant.TestCase
TestGrant.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
