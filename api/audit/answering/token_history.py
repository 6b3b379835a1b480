"""All that ever happened with a token, code or secret."""

from collections.abc import Iterator

import msgspec

from api.audit.answering.auditor import Auditor
from api.audit.presented import presented
from api.audit.rendering import Rendering, ShownEvent, unsealed
from api.problems import Invalid, Missing
from domain import client, client_secret, consent, session, usage
from domain.event import Moment, Recorded
from domain.grant_code import CodeIssued
from domain.rules.validity import Reason
from eventstore import issued, past, searching
from eventstore.asking import Connection
from eventstore.issued import Issued, Kind
from projections import clients
from security.clock import format_rfc3339

USES_AT_MOST = 200
"""Grouped uses that a history ends with, the newest ones."""


class SecretVersion(msgspec.Struct, frozen=True):
    """A version of a client's secret."""

    id: str
    version: int


class TokenHistory(msgspec.Struct, frozen=True):
    """What it is and how it stands now. `secret` authenticated the request that got it; of a secret it is itself.

    `events` begin with the ground that it stands on (its client registered, the secret made, the sign-in, the consent)
    and end with its newest uses.
    """

    kind: Kind
    sha256: str
    state: Reason
    client_id: str | None
    client_name: str | None
    secret: SecretVersion | None
    account_id: str | None
    grant_id: str | None
    scope: str | None
    issued_at: str
    expires_at: str | None
    events: list[ShownEvent]


async def token_history(
    asking: Auditor, token: str | None, sha256: str | None, id: str | None, *, names: bool
) -> TokenHistory:
    """The history of a secret, by itself, its digest or an id, and the event that it was asked for. Raises Missing when
    no such secret was ever issued here.
    """
    await asking.here.ledger.settled()
    if id is None:
        about = presented(asking, token, sha256, or_else=", or an id")
        digest: bytes | None = bytes.fromhex(about.sha256)
        asked = about.asked
    else:
        if token is not None or sha256 is not None:
            raise Invalid.field("id", "give one of token, sha256 and id")
        asked = {"id": id}
        digest = await asking.here.ledger.read(_by_id, id)
    history = None if digest is None else await asking.here.ledger.read(_history, asking, digest, names)
    shown = () if history is None else history.events
    await asking.record("token_history", asked, len(shown), unsealed=any(unsealed(event) for event in shown))
    if history is None:
        raise Missing("No such secret was ever issued here.")
    return history


def _by_id(connection: Connection, text: str) -> bytes | None:
    """The digest of what an id names: a token by its `jti`, else the first secret of a grant, session or version."""
    if len(text) == issued.JTI_HEX and not text.strip("0123456789abcdef"):
        return issued.digest_of_jti(connection, text)
    for category in ("grant", "session"):
        first = next(iter(list(past.history(connection, f"{category}:{text}"))), None)
        if first is not None:
            return bytes.fromhex(issued.all_of(first)[0].sha256)
    return issued.digest_of_secret_version(connection, text)


def _history(connection: Connection, asking: Auditor, digest: bytes, names: bool) -> TokenHistory | None:
    found = issued.find(connection, digest)
    if found is None:
        return None
    head = searching.newest(connection)
    judgement = past.judge(connection, found, head, asking.now)
    positions = sorted({*_ground(connection, found), *_told(connection, found), *judgement.decided_by})
    rendering = Rendering(asking.here.ledger.privacy, connection, personal=asking.personal, names=names)
    shown = [rendering.event(state) for state in searching.stored_forms(connection, positions)]
    named = None if found.client_id is None else clients.by_id(connection, found.client_id)
    expires_at = _expires_at(connection, found, head)
    return TokenHistory(
        found.kind,
        found.sha256,
        judgement.reason,
        found.client_id,
        None if named is None else named.client_name,
        _secret(found),
        found.account_id,
        found.grant_id,
        getattr(found.by.event, "scope", None),
        format_rfc3339(found.by.time),
        None if expires_at is None else format_rfc3339(expires_at),
        shown,
    )


def _ground(connection: Connection, found: Issued) -> Iterator[int]:
    """On what it was issued: its client, the secret that was shown, the person's sign-in and what they allowed."""
    if found.client_id is not None:
        for each in past.history(connection, client.stream(found.client_id), found.by.position):
            made = isinstance(each.event, client_secret.SecretIssued | client_secret.SecretRotated)
            if isinstance(each.event, client.Registered) or (made and each.event.secret_id == found.secret_id):
                yield each.position
    if found.account_id is None or found.kind in ("client_secret", "session"):
        return
    code = next((each.event for each in past.history(connection, found.by.stream)), None)
    if isinstance(code, CodeIssued):
        if code.session_id is not None:
            sign_in = past.history(connection, session.stream(code.session_id), found.by.position)
            yield from (each.position for each in sign_in if isinstance(each.event, session.Started))
        consented = past.history(connection, consent.stream(code.account_id, code.client_id), found.by.position)
        yield from (each.position for each in consented if isinstance(each.event, consent.Given | consent.Extended))


def _told(connection: Connection, found: Issued) -> Iterator[int]:
    """The positions of everything that was told of it, its newest uses included."""
    if found.kind != "client_secret":
        yield from (each.position for each in past.history(connection, found.by.stream))
        yield from past.newest_of(connection, usage.stream(found.sha256), USES_AT_MOST)
        return
    yield from (each.position for each in _of_secret(connection, found))
    yield from past.newest_of(connection, usage.stream(found.secret_id or ""), USES_AT_MOST)


def _of_secret(connection: Connection, found: Issued) -> Iterator[Recorded]:
    """What the client's stream tells of a secret version, the rotations that set its end and the client's own ends."""
    for each in past.history(connection, found.by.stream):
        event = each.event
        if isinstance(event, client_secret.SecretRotated) and each.position > found.by.position:
            concerned = event.others_expire_in is not None
        elif isinstance(event, client.Registered | client.Disabled | client.Enabled | client.Deleted):
            concerned = True
        else:
            concerned = getattr(event, "secret_id", None) == found.secret_id
        if concerned:
            yield each


def _secret(found: Issued) -> SecretVersion | None:
    event = found.by.event
    version = getattr(event, "version" if found.kind == "client_secret" else "secret_version", None)
    return None if found.secret_id is None or version is None else SecretVersion(found.secret_id, version)


def _expires_at(connection: Connection, found: Issued, head: int) -> Moment | None:
    """When it ends by itself; a later rotation may have brought a client secret's end forward."""
    if found.kind != "client_secret":
        return found.expires_at
    state: client.State = past.folded(connection, found.by.stream, head).state
    version = client_secret.find(state.secrets, found.secret_id or "")
    return found.expires_at if version is None else version.expires_at
