"""What is remembered of tokens is bounded, and more of them than that are no reason to forget all the time."""

from typing import Any

import pytest

from eventstore.repository import Changes
from eventstore.validation import Known, TokenTerms, Validation

pytestmark = pytest.mark.anyio

REMEMBERED, IN_ROTATION, ROUNDS = 50, 55, 20


class Rows:
    """The rows of tokens, each of which is there."""

    is_settled = True

    def __init__(self) -> None:
        self.looked_up = self.as_of = 0

    async def find(self, _: Any, digest: bytes) -> Known:
        self.looked_up += 1
        terms = TokenTerms("access", "client", None, None, (), (), None, ("client:client",))
        return Known(digest, terms, f"grant:{digest.hex()}", 0, 10, 10, None, self.as_of)


async def test_slightly_over_capacity_most_tokens_stay_remembered() -> None:
    """Were the oldest forgotten for the newest, each token in turn would have been forgotten just before."""
    rows = Rows()
    validation = Validation(rows, Changes(0, lambda _: None), None, None, size=REMEMBERED)  # type: ignore[arg-type]
    digests = [number.to_bytes(32) for number in range(IN_ROTATION)]
    for _ in range(ROUNDS):
        for digest in digests:
            known = await validation.find(digest)
            assert known is not None
            assert known.digest == digest
            assert validation.remembered(digest) is known
    assert sum(validation.remembered(digest) is not None for digest in digests) == REMEMBERED
    assert rows.looked_up < IN_ROTATION * ROUNDS / 2


async def test_a_token_that_is_looked_up_again_takes_no_second_place() -> None:
    rows, changes = Rows(), Changes(0, lambda _: None)
    validation = Validation(rows, changes, None, None, size=2)  # type: ignore[arg-type]
    first, second = bytes(32), bytes([1]) * 32
    await validation.find(first)
    changes.note("client:client", 1)
    assert validation.remembered(first) is None
    rows.as_of = 1
    await validation.find(first)
    await validation.find(second)
    assert validation.remembered(first) is not None
    assert validation.remembered(second) is not None


@pytest.mark.parametrize(("now", "reason"), [(5, "active"), (10, "active"), (19, "active"), (20, "expired")])
def test_existing_token_was_issued_whatever_the_clock_says(now: int, reason: str) -> None:
    """Another node's clock may be ahead, and its newest event has the time that ours gives to what comes after it."""
    terms = TokenTerms("access", "client", None, None, (), (), None, ("client:client",))
    assert Known(bytes(32), terms, "grant:g", 10, 20, 20, None, 0).reason(now) == reason
