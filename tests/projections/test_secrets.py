"""Secret versions: states, uses, and when one may go."""

import pytest

from domain.client_secret import SecretIssued, SecretRevoked, SecretRotated
from domain.event import SECOND
from domain.grant import TokensIssued
from domain.usage import FirstSeen, Seen
from projections import secrets
from tests.domain.history import NOW
from tests.projections.conftest import Log

DAY = 86_400 * SECOND
ISSUED = SecretIssued(secret_id="s1", version=1, sha256="11" * 32)


def rotated(
    number: int, others_expire_in: int | None = None, lifetime: int | None = None, not_before_in: int | None = None
) -> SecretRotated:
    return SecretRotated(
        secret_id=f"s{number}",
        version=number,
        sha256=f"{number}{number}" * 32,
        others_expire_in=others_expire_in,
        lifetime=lifetime,
        not_before_in=not_before_in,
    )


def tokens(secret_id: str | None, access_token: str = "ab" * 32) -> TokensIssued:
    return TokensIssued(
        grant_type="client_credentials",
        client_id="c1",
        scope="orders",
        secret_id=secret_id,
        access_token=access_token,
        lifetime=600,
    )


def states(log: Log, now: int = NOW) -> dict[int, str]:
    return {secret.version: secret.state for secret in secrets.of_client(log.connection, "c1", now).items}


def one(log: Log, secret_id: str, now: int = NOW) -> secrets.SecretRow:
    found = secrets.by_id(log.connection, secret_id, now)
    assert found is not None
    return found


def test_states_of_versions(log: Log) -> None:
    log.tell("client:c1", ISSUED, rotated(2, others_expire_in=60))
    assert states(log) == {1: "expiring", 2: "active"}
    assert states(log, NOW + 60 * SECOND) == {1: "expired", 2: "active"}
    log.tell("client:c1", SecretRevoked(secret_id="s2", tokens="keep"))
    assert states(log) == {1: "expiring", 2: "revoked"}


def test_rotation_ends_the_clients_other_versions_prolongs_none(log: Log) -> None:
    log.tell("client:other", SecretIssued(secret_id="other", version=1, sha256="99" * 32))
    log.tell("client:c1", ISSUED, rotated(2, 60), rotated(3, 3600), rotated(4, None), rotated(5, 0, lifetime=9))
    ends = [secret.expires_at for secret in secrets.of_client(log.connection, "c1", NOW).items]
    assert ends == [NOW, NOW, NOW, NOW, NOW + 9 * SECOND]
    assert one(log, "other").state == "active"


def test_uses_are_counted_however_they_come(log: Log) -> None:
    log.tell("client:c1", ISSUED)
    assert (one(log, "s1").use_count, one(log, "s1").last_used_at) == (0, None)
    log.tell("grant:g1", tokens("s1"), at=NOW + 1)
    log.tell("grant:g2", tokens(None, "cd" * 32), at=NOW + 2)
    log.tell("usage:s1", FirstSeen(client_id="c1", via="introspection"), at=NOW + 3)
    log.tell("usage:s1", Seen(client_id="c1", via="revocation", count=5, window_seconds=60), at=NOW + 4)
    assert (one(log, "s1").use_count, one(log, "s1").last_used_at) == (7, NOW + 4)


def test_a_version_is_found_in_whatever_state(log: Log) -> None:
    log.tell("client:c1", ISSUED, SecretRevoked(secret_id="s1", tokens="revoke"))
    found = secrets.by_id(log.connection, "s1", NOW)
    assert found is not None
    assert (found.secret_id, found.client_id, found.state) == ("s1", "c1", "revoked")
    assert secrets.by_id(log.connection, "s2", NOW) is None


def test_pages(log: Log) -> None:
    log.tell("client:c1", ISSUED, rotated(2), rotated(3))
    first = secrets.of_client(log.connection, "c1", NOW, limit=2)
    assert ([s.version for s in first.items], first.next) == ([1, 2], 2)
    rest = secrets.of_client(log.connection, "c1", NOW, limit=2, after=first.next)
    assert ([s.version for s in rest.items], rest.next) == ([3], None)


@pytest.mark.parametrize(
    ("used", "now", "safe", "reason"),
    [
        (None, NOW + DAY, False, "never used; made 2026-11-18, less than 14 days ago"),
        (None, NOW + 14 * DAY, True, "no use for 14 days; never used; made 2026-11-18"),
        (NOW + DAY, NOW + 14 * DAY, False, "last used 2026-11-19"),
        (NOW + DAY, NOW + 15 * DAY, True, "no use for 14 days; last used 2026-11-19"),
    ],
)
def test_a_version_may_go_when_nobody_has_used_it_for_long(log: Log, used, now, safe, reason) -> None:
    log.tell("client:c1", ISSUED, rotated(2))
    if used is not None:
        log.tell("grant:g1", tokens("s1"), at=used)
    assert (one(log, "s1", now).safe_to_retire, one(log, "s1", now).safe_to_retire_reason) == (safe, reason)


def test_version_not_yet_begun_may_not_go_though_unused(log: Log) -> None:
    month = 30 * 86_400
    log.tell("client:c1", ISSUED, rotated(2, not_before_in=month))

    def advice(days: int) -> list[tuple[bool, str]]:
        found = secrets.of_client(log.connection, "c1", NOW + days * DAY).items
        return [(each.safe_to_retire, each.safe_to_retire_reason) for each in found]

    assert advice(20) == [
        (False, "the client's only live secret; never used; made 2026-11-18"),
        (False, "begins to work on 2026-12-18"),
    ]
    since = "never used; made 2026-11-18, usable since 2026-12-18"
    assert advice(31)[1] == (False, f"{since}, less than 14 days ago")
    assert advice(44)[1] == (True, f"no use for 14 days; {since}")


def test_a_version_that_outlasts_all_others_may_not_go(log: Log) -> None:
    log.tell("client:c1", ISSUED, rotated(2, others_expire_in=20 * 86_400))
    later = NOW + 15 * DAY
    assert one(log, "s1", later).safe_to_retire
    assert not one(log, "s2", later).safe_to_retire
    reason = "no other secret of the client lasts as long; never used; made 2026-11-18"
    assert one(log, "s2", later).safe_to_retire_reason == reason


def test_only_live_version_may_never_go_and_an_ended_one_is_gone(log: Log) -> None:
    log.tell("client:c1", ISSUED, rotated(2), SecretRevoked(secret_id="s1", tokens="keep"))
    later = NOW + 99 * DAY
    assert one(log, "s1", later).safe_to_retire
    assert one(log, "s1", later).safe_to_retire_reason == "revoked on 2026-11-18"
    assert not one(log, "s2", later).safe_to_retire
    assert one(log, "s2", later).safe_to_retire_reason == "the client's only live secret; never used; made 2026-11-18"
