"""How security events go out: what happened is exchanged for what each receiver is to be told, and that is pushed (RFC
8935) by any number of processes, one event by one at a time, again until it was taken or has had its chances.
"""

from random import SystemRandom
from typing import NamedTuple

import structlog

from api.http.errors import TemporarilyUnavailable
from api.http.outgoing_requests import NoAnswer, NotAllowed
from api.notifications.delivering import LEASE, delay
from api.notifications.shares import OF_ONE, try_all
from api.services import SYSTEM, Services
from api.signals.security_event_tokens import opened, sealed, signed
from commands import signals as commands
from commands.signals import Addressed, ToldSignal
from domain import client
from domain.decision import NotFound, Refusal
from domain.event import SECOND, Moment
from domain.signals import event_stream
from domain.signals.event_stream import SignalFailure
from eventstore.execution import Origin
from eventstore.unavailable import DatabaseAway
from eventstore.view import View
from projections import signals
from projections.signals import KeptSignal
from security.tokens import new_id
from security.vault import Vault

ATTEMPTS = 8
"""As with notices of sign-outs: about eight hours."""

EVENTS_AT_ONCE = 50

FETCHED_WITHIN: Moment = 7 * 86_400 * SECOND
"""So long does an event wait for a receiver that comes for it."""

log = structlog.get_logger("api")
_random = SystemRandom()


class SignalSetback(NamedTuple):
    """Why a receiver was not told."""

    reason: SignalFailure
    status: int | None = None
    final: bool = False


def authorization_name(client_id: str) -> str:
    """Under which name the vault has what a receiver wants to see as Authorization of what is pushed to it."""
    return f"event_stream:{client_id}"


def forget(view: View, vault: Vault, client_id: str) -> None:
    """Nothing of what waits for a receiver is delivered any more, and what it wants as Authorization is not kept."""
    vault.delete_secret(view.connection, authorization_name(client_id))
    signals.drop(view.connection, client_id)


def kept(services: Services, stream: event_stream.State, told: ToldSignal, position: int) -> KeptSignal:
    """A security event for the receiver of this stream, as it waits."""
    now, jti = services.ledger.clock.now(), new_id()
    pushed = stream.terms is not None and stream.terms.method == "push"
    due_at = now if pushed else now + FETCHED_WITHIN
    return KeptSignal(jti, stream.client_id, position, 0, due_at, sealed(services, stream.client_id, jti, told))


class SignalNotifier:
    """Finds out whom to tell, and tells them. One per process."""

    def __init__(self, services: Services) -> None:
        self._here = services

    async def distribute(self) -> None:
        """Exchanges events that may be worth telling for what they come to."""
        ledger = self._here.ledger
        while positions := await ledger.read(signals.waiting, EVENTS_AT_ONCE):
            # What may still turn out never to have been committed is not announced.
            await ledger.settled()
            for position in positions:
                found = await ledger.read(commands.addressed, position)
                await ledger.maintain(signals.exchange, position, await self._kept(found, position))

    async def _kept(self, found: list[Addressed], position: int) -> list[KeptSignal]:
        """What there is room for. A stream without room waits from now on, and its receiver is told that."""
        ledger = self._here.ledger
        every: list[KeptSignal] = []
        for each in found:
            stream: event_stream.State = await ledger.state(event_stream.stream(each.client_id))
            if stream.stream_id != each.told.stream_id or stream.status == "disabled":
                continue
            if await ledger.read(signals.number, each.client_id) < signals.AT_MOST:
                every.append(kept(self._here, stream, each.told, position))
            elif stream.status == "enabled":
                await self._overflowed(stream, position)
        return every

    async def _overflowed(self, stream: event_stream.State, position: int) -> None:
        now = self._here.ledger.clock.now()
        said = {"status": "paused", "reason": "too many events are waiting"}
        told = ToldSignal(event="stream_updated", stream_id=stream.stream_id, at=now, said=said)
        last = kept(self._here, stream, told, position)
        command = commands.change_status(stream.client_id, stream.stream_id, "paused", overflowed=True)
        await self._here.ledger.execute(
            command, origin=Origin(SYSTEM), then=lambda view, _: signals.add(view.connection, [last])
        )

    async def deliver(self) -> None:
        """Tries what is due, until nothing is. Anyone who is slow to answer keeps nobody else waiting."""
        await try_all(self._claimed, self._attempt, lambda signal: signal.client_id)

    async def _claimed(self, room: int, busy: tuple[str, ...]) -> list[KeptSignal]:
        ledger, now = self._here.ledger, self._here.ledger.clock.now()
        if not await ledger.read(signals.is_due, now):
            return []
        return await ledger.maintain(signals.claim, now, now + LEASE, room, share=OF_ONE, busy=busy)

    async def _attempt(self, signal: KeptSignal) -> None:
        ledger = self._here.ledger
        stream: event_stream.State = await ledger.state(event_stream.stream(signal.client_id))
        told = opened(self._here, signal)
        if told is None or stream.terms is None or told.stream_id != stream.stream_id:
            # It was altered, or there is nobody any more whom it is for.
            await ledger.maintain(signals.settled, signal.jti)
            return
        if stream.status != "enabled" and told.event != "stream_updated":
            waits = signal._replace(attempts=signal.attempts - 1)
            await ledger.maintain(signals.postpone, waits, ledger.clock.now() + FETCHED_WITHIN)
            return
        try:
            failure = await self._tell(signal, stream.terms, told)
        except (DatabaseAway, TemporarilyUnavailable):
            # It is taken up again when the lease has ended.
            return
        except Exception:
            # What nobody foresaw must come to an end, too.
            log.exception("security event failed", client_id=signal.client_id)
            failure = SignalSetback("no_answer")
        await self._note(signal, told, failure)

    async def _note(self, signal: KeptSignal, told: ToldSignal, failure: SignalSetback | None) -> None:
        ledger = self._here.ledger
        if failure is None:
            await settle(self._here, signal, told)
            return
        final = failure.final or signal.attempts >= ATTEMPTS
        failed = commands.note_failed(
            signal.client_id,
            signal.jti,
            told.event,
            signal.attempts,
            failure.reason,
            status=failure.status,
            final=final,
        )
        again_at = ledger.clock.now() + delay(signal.attempts, _random.random())

        def keep(view: View, _: object) -> None:
            connection = view.connection
            if final:
                signals.settled(connection, signal.jti)
            else:
                signals.postpone(connection, signal, again_at)

        await ledger.execute(failed, origin=Origin(SYSTEM), then=keep)

    async def _tell(
        self, signal: KeptSignal, terms: event_stream.StreamTerms, told: ToldSignal
    ) -> SignalSetback | None:
        if terms.method == "poll" or terms.endpoint_url is None:
            return SignalSetback("not_fetched", final=True)
        services = self._here
        receiver: client.State = await services.ledger.state(client.stream(signal.client_id))
        if client.barred(receiver) is not None:
            return SignalSetback("refused", final=True)
        token = await signed(services, receiver, signal.jti, told)
        headers = {"Content-Type": "application/secevent+jwt", "Accept": "application/json", "User-Agent": "Grantlog"}
        wanted = await services.ledger.read(services.ledger.vault.get_secret, authorization_name(signal.client_id))
        if wanted is not None:
            headers["Authorization"] = wanted.value.decode()
        return await self._post(terms.endpoint_url, headers, token.encode())

    async def _post(self, url: str, headers: dict[str, str], token: bytes) -> SignalSetback | None:
        try:
            answer = await self._here.outgoing.send("POST", url, headers=headers, content=token, largest=None)
        except NotAllowed:
            return SignalSetback("private_address")
        except NoAnswer:
            return SignalSetback("no_answer")
        return None if 200 <= answer.status < 300 else SignalSetback("refused", answer.status)


async def settle(services: Services, signal: KeptSignal, told: ToldSignal, *, by: Origin | None = None) -> None:
    """Records that a receiver took an event, and keeps it no longer. One that is settled already is no fact again."""
    command = commands.note_delivered(signal.client_id, signal.jti, told.event, max(1, signal.attempts))
    await services.ledger.execute(
        command.guarded(lambda view: _unless_kept(view, signal)),
        origin=by or Origin(SYSTEM),
        then=lambda view, _: signals.settled(view.connection, signal.jti),
    )


def _unless_kept(view: View, signal: KeptSignal) -> Refusal | None:
    kept = signals.named(view.connection, signal.client_id, (signal.jti,))
    return None if kept else Refusal(NotFound.UNKNOWN)
