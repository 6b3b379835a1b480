"""Any sequence of requests: one branch of refresh tokens goes on, and whatever was used up ends the grant for good."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec.structs import replace

from domain import grant, succession
from domain.decision import InvalidGrant
from domain.event import SECOND
from tests.domain.story import DASHBOARD, THIRD_PARTY, digest, parties, redeemed, signed_in


class Grant(RuleBasedStateMachine):
    """Holds in a model of its own, the whole tree of refresh tokens, which of them is which, and compares."""

    @initialize(dashboard=st.booleans())
    def begin(self, dashboard):
        self.by = parties(DASHBOARD if dashboard else THIRD_PARTY)
        self.story = signed_in() if dashboard else redeemed()
        self.grace = 10 if dashboard else 0
        first = f"rt{self.story.minted}"
        self.issued = [first]
        self.before = {first: None}
        self.used = {}
        self.went_on = None
        self.over = False
        self.absolute = self.story.now + 90 * 86_400 * SECOND
        self.idle = {first: self.story.now + 30 * 86_400 * SECOND}

    def line(self, name):
        """The token and all before it, newest first."""
        return [] if name is None else [name, *self.line(self.before[name])]

    def is_good(self, name):
        now, window = self.story.now, self.grace * SECOND
        if any(before == name for each, before in self.before.items() if each in self.used):
            return False
        windows = [self.used[name] + window] if name in self.used else []
        line = self.line(name)
        if self.went_on is not None and self.went_on not in line:
            parted = next(each for each in self.line(self.went_on) if each in line)
            windows.append(self.used[parted] + window)
        return all(now < end for end in windows)

    @rule(seconds=st.one_of(st.integers(0, 4), st.integers(0, 20), st.integers(0, 20 * 86_400)))
    def wait(self, seconds):
        self.story.later(seconds)

    @rule(data=st.data())
    def present(self, data):
        name = data.draw(st.sampled_from(self.issued[-6:]))
        was_over, now, good = self.over, self.story.now, self.is_good(name)
        outcome = self.story.refresh(name, self.by)
        reason = None if outcome.refusal is None else outcome.refusal.reason
        if not good:
            assert reason is InvalidGrant.REPLAYED
            self.over = True
        elif was_over:
            assert reason is InvalidGrant.ENDED
        elif now >= min(self.idle[name], self.absolute):
            assert reason is InvalidGrant.EXPIRED
        else:
            assert reason is None
            assert ("grant.successor_replaced" in [each.type for each in outcome.events]) == (name != self.issued[-1])
            if name not in self.used:
                self.used[name], self.went_on = now, name
            fresh = f"rt{self.story.minted}"
            self.issued.append(fresh)
            self.before[fresh] = name
            self.idle[fresh] = now + 30 * 86_400 * SECOND
            # What can never be presented again is forgotten with the next refresh, and not before.
            assert len(self.story.state.succession.tokens) <= 2 * sum(map(self.is_good, self.issued)) + 2

    @rule()
    def foreign_client(self):
        stranger = parties(replace(THIRD_PARTY, client_id="foreign"))
        outcome = self.story.refresh(self.issued[-1], stranger)
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

    @invariant()
    def every_token_that_is_good_is_known_and_somebody_can_always_go_on(self):
        story = getattr(self, "story", None)
        if story is None:
            return
        good = {name for name in self.issued if self.is_good(name)}
        assert good == {
            name for name in self.issued if succession.good(story.state.succession, digest(name)).at(story.now)
        }
        assert any(name not in self.used for name in good)


TestGrant = Grant.TestCase
TestGrant.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
