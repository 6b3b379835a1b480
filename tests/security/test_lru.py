"""The one bounded mapping."""

import pytest

from security.lru import Lru


def test_what_was_used_longest_ago_is_dropped():
    kept = Lru[str, int](2)
    kept.put("a", 1)
    kept.put("b", 2)
    assert kept.used("a") == 1
    assert kept.get("b") == 2, "and to look is no use"
    kept.put("c", 3)
    assert dict(kept) == {"a": 1, "c": 3}
    kept.put("a", 4)
    kept.put("d", 5)
    assert dict(kept) == {"a": 4, "d": 5}
    assert kept.used("b") is None
    with pytest.raises(ValueError, match="at least one"):
        Lru[str, int](0)


def test_what_weighs_too_much_together_is_dropped():
    kept = Lru[str, bytes](5, len)
    for key, value in (("a", b"12"), ("b", b"12"), ("c", b"1")):
        kept.put(key, value)
    assert [*kept] == ["a", "b", "c"]
    kept.used("a")
    kept.put("d", b"12")
    assert [*kept] == ["c", "a", "d"]
    kept.put("e", b"123456")
    assert dict(kept) == {"e": b"123456"}, "the last one is kept, whatever it weighs"
