"""Links that are mailed to people, each under the digest of the secret in it, for as long as they are good.

A row is no fact: what a person does with a link is. It is sealed for that very digest, so anyone who writes to the
table makes no link of their own, and an old row put back does nothing once the link was used: see
`domain.people.mailed`. A request about somebody who is not known here leaves a row as well, with a link that nobody was
sent.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec
import structlog
from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from domain.event import Moment
from domain.people.mailed import LINKS_AN_HOUR
from eventstore.stored import mailed_links as table
from security.clock import MINUTE
from security.keyring import MasterKeyError, WrapBroken
from security.vault import Vault

log = structlog.get_logger(__name__)

LinkPurpose = Literal["recovery", "invitation", "verification", "email_present", "email_new", "registration"]

HOUR = 60 * MINUTE
ROOM = 10_000
"""Links within an hour that somebody asked for who proved nothing."""


class MailedLink(msgspec.Struct, frozen=True, array_like=True):
    """What a link is for. `account_id` is empty where nobody was meant; `against` is the event that must still tell of
    what the link changes, such as the one with the present password's hash, None where there was none. `told`
    is what else it is about."""

    purpose: LinkPurpose
    account_id: str
    expires_at: Moment
    against: str | None = None
    told: Mapping[str, str] = {}


_decode = msgspec.msgpack.Decoder(MailedLink).decode
_OF = (table.c.subject == bindparam("b_subject"), table.c.purpose == bindparam("b_purpose"))
_RECENT = select(func.count()).select_from(table).where(*_OF, table.c.made_at > bindparam("b_since"))
_ALL = (
    select(func.count())
    .select_from(table)
    .where(table.c.purpose == bindparam("b_purpose"), table.c.made_at > bindparam("b_since"))
)
_SUPERSEDE = update(table).where(*_OF, table.c.expires_at > bindparam("b_now")).values(expires_at=bindparam("b_now"))
_DUE = (
    select(table.c.link)
    .where(table.c.expires_at <= bindparam("b_now"), table.c.made_at <= bindparam("b_since"))
    .limit(bindparam("b_limit"))
)


def is_full(connection: Connection, purpose: LinkPurpose, now: Moment) -> bool:
    """Whether there is no room for one more link for which anybody may ask."""
    return (connection.scalar(_ALL, {"b_purpose": purpose, "b_since": now - HOUR}) or 0) >= ROOM


def put(connection: Connection, vault: Vault, digest: bytes, subject: bytes, link: MailedLink, now: Moment) -> bool:
    """Keeps a link in place of any before of that subject and purpose; False, and keeps none, after too many."""
    of = {"b_subject": subject, "b_purpose": link.purpose}
    if (connection.scalar(_RECENT, of | {"b_since": now - HOUR}) or 0) >= LINKS_AN_HOUR:
        return False
    connection.execute(_SUPERSEDE, of | {"b_now": now})
    row = {
        "link": digest,
        "subject": subject,
        "purpose": link.purpose,
        "made_at": now,
        "expires_at": link.expires_at,
        "sealed": vault.seal_row(table.name, digest.hex(), msgspec.msgpack.encode(link)),
    }
    connection.execute(insert(table), row)
    return True


def find(
    connection: Connection, vault: Vault, digest: bytes, purposes: Collection[LinkPurpose], now: Moment
) -> MailedLink | None:
    """The link with this digest for one of these purposes, as long as it is good; None for an altered one, too."""
    row = connection.execute(select(table).where(table.c.link == digest)).first()
    if row is None or row.expires_at <= now:
        return None
    link = _opened(vault, digest, bytes(row.sealed))
    is_that = link is not None and link.purpose in purposes and link.account_id != "" and now < link.expires_at
    return link if is_that else None


def _opened(vault: Vault, digest: bytes, sealed: bytes) -> MailedLink | None:
    try:
        return _decode(vault.open_row(table.name, digest.hex(), sealed))
    except (WrapBroken, MasterKeyError, msgspec.DecodeError):
        log.error("a mailed link cannot be read")
        return None


class KnownLink(NamedTuple):
    """A link that was mailed, good or not. `over_at` is when it was superseded, used or reported, 0 where that is all
    that is known, and otherwise when it is or was too old."""

    link: MailedLink
    made_at: Moment
    over_at: Moment


def known(connection: Connection, vault: Vault, digests: Collection[bytes]) -> dict[bytes, KnownLink]:
    """Those of the digests that are links which somebody was sent and that are not forgotten yet; no altered ones."""
    found = {}
    for row in connection.execute(select(table).where(table.c.link.in_(digests))).all():
        digest = bytes(row.link)
        link = _opened(vault, digest, bytes(row.sealed))
        if link is not None and (link.account_id or link.purpose == "registration"):
            found[digest] = KnownLink(link, row.made_at, row.expires_at)
    return found


def count_good(connection: Connection, digests: Collection[bytes], now: Moment) -> int:
    """How many of them are not over yet."""
    query = select(func.count()).select_from(table).where(table.c.link.in_(digests), table.c.expires_at > now)
    return connection.scalar(query) or 0


def forget(connection: Connection, digests: Sequence[bytes]) -> None:
    """Ends links: they were used, or are in other hands."""
    connection.execute(update(table).where(table.c.link.in_(digests)).values(expires_at=0))


def prune(connection: Connection, before: Moment, limit: int) -> int:
    """Removes at most so many that are over and count no longer; how many."""
    due = list(connection.scalars(_DUE, {"b_now": before, "b_since": before - HOUR, "b_limit": limit}))
    if due:
        connection.execute(delete(table).where(table.c.link.in_(due)))
    return len(due)
