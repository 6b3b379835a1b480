"""Who is signed in to the console, and for how long."""

from domain.event import Moment
from eventstore.ledger import Ledger
from eventstore.pending import console_sessions
from eventstore.pending.console_sessions import ConsoleSession as ConsoleSession
from eventstore.pending.console_sessions import KeptSession

COOKIE = "grantlog-console"
"""What holds a session's secret in its browser."""

IDLE = 1_800
"""Seconds after which somebody who does nothing is signed out."""


async def keep_session(ledger: Ledger, digest: bytes, session: ConsoleSession) -> None:
    """Keeps a session, or what has become of it."""
    await ledger.maintain(console_sessions.put, ledger.vault, digest, session, ledger.clock.now())


async def find_session(ledger: Ledger, digest: bytes) -> KeptSession | None:
    """The session with this digest, however old."""
    return await ledger.read(console_sessions.find, ledger.vault, digest)


async def claim_session(ledger: Ledger, digest: bytes, until: Moment) -> bool:
    """Lets one process alone refresh a session's tokens; whether it is this one."""
    return await ledger.maintain(console_sessions.claim, digest, ledger.clock.now(), until)


async def touch_session(ledger: Ledger, digest: bytes) -> None:
    """Notes that a session is in use."""
    await ledger.maintain(console_sessions.touch, digest, ledger.clock.now())


async def forget_session(ledger: Ledger, digest: bytes) -> None:
    """Ends a session here; the tokens of its grant are revoked like those of any client."""
    await ledger.maintain(console_sessions.remove, digest)
