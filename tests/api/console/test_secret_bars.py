"""Secret versions as bars over time."""

from api.console.secret_bars import SecretVersion, drawn
from security.clock import parse_rfc3339


def test_axis_tells_its_ends_apart() -> None:
    """Also where all of it is of one day."""

    def version(created_at: str) -> SecretVersion:
        return SecretVersion("x", 1, "active", created_at, 0, False, "")

    now = parse_rfc3339("2026-02-01T12:30:00.000000Z")
    for created_at, first, last in (
        ("2026-02-01T08:05:00.000000Z", "08:05", "12:30"),
        ("2026-01-31T23:05:00.000000Z", "2026-01-31", "2026-02-01"),
    ):
        bars = drawn([version(created_at)], now)
        assert bars is not None
        assert (bars.first, bars.last) == (first, last)
