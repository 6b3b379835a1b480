"""How the walk of a request is counted and drawn."""

from bench.walk import Call, Walk, drawn

WALK = Walk(
    (
        Call(None, "api/token.py", True),
        Call("api/token.py", "security/clock.py", False),
        Call("api/token.py", "eventstore/ledger.py", True),
        Call("eventstore/ledger.py", "eventstore/ledger.py", True),
        Call("eventstore/ledger.py", "domain/grant.py", False),
        Call("api/token.py", "eventstore/ledger.py", True),
    )
)


def test_a_leaf_counts_apart() -> None:
    assert WALK.files(leaves=False) == ["api/token.py", "eventstore/ledger.py"]
    assert len(WALK.files(leaves=True)) == 4
    assert (WALK.moves(leaves=False).total(), WALK.moves(leaves=True).total()) == (2, 4)


def test_it_is_drawn_without_leaves() -> None:
    picture = drawn(WALK)
    assert "  api_token -->|2| eventstore_ledger" in picture
    assert "clock" not in picture
    assert "subgraph domain" not in picture
