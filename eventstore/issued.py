"""What a secret is, by its digest: the event that issued it, even if nothing else about it is left."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, cast

from sqlalchemy import Connection, select

from domain import session, succession
from domain.client_secret import SecretIssued, SecretRotated
from domain.event import SECOND, Event, Moment, Recorded
from domain.grant import CodeIssued, TokensIssued, TokensRefreshed
from domain.rules import validity
from domain.succession import Succession
from eventstore.search import recorded_at
from projections import digests, secrets, tokens

Kind = Literal["access", "refresh", "code", "client_secret", "session"]

JTI_HEX = 32
"""Hex digits of a token's `jti`: the first half of its digest."""


class IssuanceRecord(NamedTuple):
    """A secret and the event that issued it. `expires_at` is as that event says; later ones may bring it forward."""

    sha256: str
    kind: Kind
    by: Recorded
    expires_at: Moment | None

    @property
    def grant_id(self) -> str | None:
        return self.by.stream.partition(":")[2] if self.kind in ("access", "refresh", "code") else None

    @property
    def client_id(self) -> str | None:
        if self.kind == "client_secret":
            return self.by.stream.partition(":")[2]
        found: str | None = getattr(self.by.event, "client_id", None)
        return found

    @property
    def account_id(self) -> str | None:
        found: str | None = getattr(self.by.event, "account_id", None)
        return found

    @property
    def secret_id(self) -> str | None:
        """The client secret version that authenticated the request, or the very one that this is."""
        found: str | None = getattr(self.by.event, "secret_id", None)
        return found


def find(connection: Connection, digest: bytes) -> IssuanceRecord | None:
    """The secret with this digest; None when it was never issued here."""
    return find_all(connection, (digest,)).get(digest)


def find_all(connection: Connection, sha256s: Sequence[bytes]) -> dict[bytes, IssuanceRecord]:
    """The same of many, by their digests; those that were never issued here are left out."""
    found = _at_places(connection, tokens.positions(connection, sha256s))
    # A row that leads to an event which issued no such secret counts as none.
    missing = [digest for digest in sha256s if digest not in found]
    return found | _at_places(connection, digests.find_all(connection, missing))


def _at_places(connection: Connection, places: Mapping[bytes, int]) -> dict[bytes, IssuanceRecord]:
    found = {digest: issued_at(connection, position, digest.hex()) for digest, position in places.items()}
    return {digest: each for digest, each in found.items() if each is not None}


def issued_at(connection: Connection, position: int, sha256: str) -> IssuanceRecord | None:
    """The secret with this digest that the event at a position issued; None when it issued no such one."""
    recorded = recorded_at(connection, position)
    if recorded is None:
        return None
    return next((each for each in all_of(recorded) if each.sha256 == sha256), None)


def all_of(recorded: Recorded) -> list[IssuanceRecord]:
    """Every secret that an event issued."""
    event: Event = recorded.event
    match event:
        case CodeIssued():
            return [_issued(event.code, "code", recorded, event.lifetime)]
        case TokensIssued() | TokensRefreshed():
            access = _issued(event.access_token, "access", recorded, event.lifetime)
            if event.refresh_token is None:
                return [access]
            return [access, _issued(event.refresh_token, "refresh", recorded, event.refresh_lifetime)]
        case SecretIssued() | SecretRotated():
            return [_issued(event.sha256, "client_secret", recorded, event.lifetime)]
        case session.Started():
            return [_issued(event.sha256, "session", recorded, event.lifetime)]
        case _:
            return []


def _issued(sha256: str, kind: Kind, recorded: Recorded, lifetime: int | None) -> IssuanceRecord:
    return IssuanceRecord(sha256, kind, recorded, None if lifetime is None else recorded.time + lifetime * SECOND)


def as_token(found: IssuanceRecord, refreshing: Succession, *, ended: bool) -> validity.Token:
    """A code or token by itself. `ended` says whether it was redeemed or revoked alone; of a refresh token the
    succession of its grant tells that it was used.
    """
    good = succession.good(refreshing, found.sha256) if found.kind == "refresh" else succession.Good(False)
    return validity.Token(
        cast(validity.Kind, found.kind),
        found.by.position,
        found.by.time,
        found.by.time if found.expires_at is None else found.expires_at,
        ended=ended,
        rotated=good.rotated,
        grace_ends_at=good.until,
    )


def digest_of_jti(connection: Connection, jti: str) -> bytes | None:
    """The digest of the token that introspection names so, as long as its row is there or its digest is kept."""
    low = bytes.fromhex(jti) + bytes(32 - JTI_HEX // 2)
    high = bytes.fromhex(jti) + b"\xff" * (32 - JTI_HEX // 2)
    for table in (tokens.TABLE, digests.TABLE):
        query = select(table.c.digest).where(table.c.digest >= low, table.c.digest <= high).limit(1)
        found: bytes | None = connection.scalar(query)
        if found is not None:
            return bytes(found)
    return None


def digest_of_secret_version(connection: Connection, secret_id: str) -> bytes | None:
    """The digest of a client secret version."""
    found = connection.scalar(select(secrets.TABLE.c.sha256).where(secrets.TABLE.c.secret_id == secret_id))
    return None if found is None else bytes(found)
