"""Back-channel logout (OpenID Connect Back-Channel Logout 1.0): every client of a session is told that it ended, by any
number of processes, one notice by one at a time, and again until it took it or has had its chances.
"""

from collections.abc import Mapping
from random import SystemRandom
from typing import Any, NamedTuple
from urllib.parse import urlencode

import structlog

from api.http.errors import TemporarilyUnavailable
from api.http.outgoing_requests import NoAnswer, NotAllowed
from api.notifications.delivering import LEASE, MEND_EVERY, delay
from api.notifications.shares import OF_ONE, try_all
from api.services import SYSTEM, Services
from commands import sessions
from domain import client, session
from domain.event import SECOND, Moment
from domain.keys import signing_key
from domain.rules import pairwise
from domain.session import LogoutFailure
from eventstore.execution import Origin
from eventstore.unavailable import DatabaseAway
from projections import logout_notices
from projections.logout_notices import Notice
from security.tokens import new_id

LASTS = 120
"""Seconds that a logout token is good for (§2.4)."""

EVENT = "http://schemas.openid.net/event/backchannel-logout"
TYPE = "logout+jwt"

ATTEMPTS = 8
"""With four times as long between them each time they take about eight hours. Then the client is left to the lifetimes
of what it has."""

EVENTS_AT_ONCE = 50

log = structlog.get_logger("api")
_random = SystemRandom()


class LogoutSetback(NamedTuple):
    """Why a client was not told."""

    reason: LogoutFailure
    status: int | None = None
    final: bool = False


class LogoutNotifier:
    """Finds out whom to tell, and tells them. One per process."""

    def __init__(self, services: Services) -> None:
        self._here = services
        self._macs = services.ledger.vault.row_macs(logout_notices.NOTICES.name)
        self._mended_at: Moment | None = None

    async def distribute(self) -> None:
        """Exchanges events that may have ended sessions for the notices that they come to."""
        ledger = self._here.ledger
        await self._mend()
        while positions := await ledger.read(logout_notices.waiting, EVENTS_AT_ONCE):
            # What may still turn out never to have been committed is not announced.
            await ledger.settled()
            for position in positions:
                found = await ledger.read(sessions.notices, position)
                await ledger.maintain(logout_notices.exchange, self._macs, position, found, ledger.clock.now())

    async def _mend(self) -> None:
        ledger = self._here.ledger
        now = ledger.clock.now()
        if self._mended_at is not None and self._mended_at <= now < self._mended_at + MEND_EVERY:
            return
        if mended := await ledger.maintain(logout_notices.mend, self._macs, now):
            log.error("logout notices were altered in the database, and begin anew", notices=mended)
        self._mended_at = now

    async def deliver(self) -> None:
        """Tries what is due, until nothing is. Anyone who is slow to answer keeps nobody else waiting."""
        await try_all(self._claimed, self._attempt, lambda notice: notice.client_id)

    async def _claimed(self, room: int, busy: tuple[str, ...]) -> list[Notice]:
        ledger, now = self._here.ledger, self._here.ledger.clock.now()
        if not await ledger.read(logout_notices.is_due, now):
            return []
        return await ledger.maintain(logout_notices.claim, self._macs, now, now + LEASE, room, share=OF_ONE, busy=busy)

    async def _attempt(self, notice: Notice) -> None:
        try:
            failure = await self._tell(notice)
        except (DatabaseAway, TemporarilyUnavailable):
            # It is taken up again when the lease has ended.
            return
        except Exception:
            # What nobody foresaw must come to an end, too.
            log.exception("logout notice failed", client_id=notice.client_id)
            failure = LogoutSetback("no_answer")
        ledger = self._here.ledger
        if failure is None:
            delivered = sessions.note_logout_delivered(notice.session_id, notice.client_id, notice.attempts)
            await ledger.execute(
                delivered, origin=Origin(SYSTEM), then=lambda view, _: logout_notices.settled(view.connection, notice)
            )
            return
        final = failure.final or notice.attempts >= ATTEMPTS
        again_at = ledger.clock.now() + delay(notice.attempts, _random.random())
        failed = sessions.note_logout_failed(
            notice.session_id, notice.client_id, notice.attempts, failure.reason, status=failure.status, final=final
        )

        def keep(view: Any, _: object) -> None:
            if final:
                logout_notices.settled(view.connection, notice)
            else:
                logout_notices.failed(view.connection, self._macs, notice, again_at)

        await ledger.execute(failed, origin=Origin(SYSTEM), then=keep)

    async def _tell(self, notice: Notice) -> LogoutSetback | None:
        services = self._here
        told: client.State = await services.ledger.state(client.stream(notice.client_id))
        ended: session.State = await services.ledger.state(session.stream(notice.session_id))
        uri = told.backchannel_logout_uri
        if not client.alive(told) or not told.enabled or uri is None or not ended.exists:
            return LogoutSetback("no_address", final=True)
        token = await self._signed(notice, told, ended)
        return await self._post(uri, token)

    async def _signed(self, notice: Notice, told: client.State, ended: session.State) -> str:
        services = self._here
        keys: signing_key.State = await services.ledger.state(signing_key.STREAM)
        key_id = keys.active.get(told.id_token_signed_response_alg)
        if key_id is None:
            raise TemporarilyUnavailable
        key = await services.private_keys.ready(key_id)
        sub = services.subjects.of(ended.account_id, pairwise.sector(told))
        claims = logout_claims(notice, sub, told.known_as, services.settings.issuer, services.ledger.clock.now())
        return await key.sign(claims, TYPE)

    async def _post(self, uri: str, token: str) -> LogoutSetback | None:
        headers = {"Content-Type": "application/x-www-form-urlencoded", "User-Agent": "Grantlog"}
        body = urlencode({"logout_token": token}).encode()
        try:
            answer = await self._here.outgoing.send("POST", uri, headers=headers, content=body, largest=None)
        except NotAllowed:
            return LogoutSetback("private_address")
        except NoAnswer:
            return LogoutSetback("no_answer")
        return None if 200 <= answer.status < 300 else LogoutSetback("refused", answer.status)


def logout_claims(notice: Notice, sub: str, audience: str, issuer: str, now: Moment) -> Mapping[str, Any]:
    """The members of a logout token (§2.4): both `sub` and `sid`, whatever the client demanded, and never a `nonce`."""
    issued_at = now // SECOND
    return {
        "iss": issuer,
        "sub": sub,
        "aud": audience,
        "iat": issued_at,
        "exp": issued_at + LASTS,
        # A new one each time: a client that has taken the notice while its answer was lost takes it once more.
        "jti": new_id(),
        "sid": session.sid(notice.session_id, notice.client_id),
        "events": {EVENT: {}},
    }
