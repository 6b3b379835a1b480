"""A containment as commands: cut-offs, an optional rotation, and the incident that tells of them. One transaction."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

from api.leaks.finding import open_incident
from api.leaks.targets import Target, concerned, numbers, secrets_ended
from commands.client_secrets import vault_name
from domain import account, client, client_secret, cut_off, grant, incident, session
from domain.decision import Refusal
from domain.event import SECOND, Moment
from domain.incident import Numbers
from domain.refusal import Conflict
from eventstore import searching
from eventstore.asking import Connection
from eventstore.commands import Command, Step, Sweep
from eventstore.counting import Counting, counted
from eventstore.following import EventIndexing, Follower
from eventstore.ledger import Ledger
from eventstore.living import AT_ONCE
from eventstore.view import View
from security.ids import new_id
from security.tokens import Secret

_LEAKED: Mapping[str, Any] = MappingProxyType({"reason": "secret_leak"})


class Wanted(NamedTuple):
    """What to do besides ending it. `since` is a moment; `secret` is the new one of a rotation."""

    since: Moment | None = None
    secret: Secret | None = None
    disable_client: bool = False
    caller_scope: frozenset[str] = frozenset()


class Containment:
    """One containment: its commands, and after them what it ended and the secret that it made.

    Without an `incident_id` it opens an incident, of which `report` says more. With `goes_on` it goes on with an open
    one about the same, if there is any under the lock, and adds to its evidence; only then `incident_id` is certain.
    `only_alive` refuses it where nothing is left to end.
    """

    def __init__(
        self,
        ledger: Ledger,
        target: Target,
        wanted: Wanted,
        incident_id: str | None = None,
        *,
        goes_on: bool = False,
        only_alive: bool = False,
        **report: Any,
    ) -> None:
        self._ledger = ledger
        self.target = target
        self.wanted = wanted
        self._opens = incident_id is None
        self._goes_on = goes_on
        self._only_alive = only_alive
        self.incident_id = self._own_id = incident_id or new_id()
        self.report = report
        self.secret_id = new_id()
        self.numbers = Numbers()
        self._first = 0
        of = target.counted(wanted.since)
        self._counting = None if of is None else Counting(of)

    @property
    def known_id(self) -> str | None:
        """The incident that it goes on with, after a look under the lock."""
        return None if self.incident_id == self._own_id else self.incident_id

    async def prepare(self) -> None:
        """Counts and looks up, so that only what comes meanwhile is left for under the lock."""
        if self.target.gathered is not None:
            await self.target.gathered.gather(self._ledger, Follower(self._ledger, EventIndexing()))
        elif self._counting is not None:
            await self._counting.count(self._ledger)

    async def count(self) -> None:
        """Counts for a dry run what takes long, so that nobody waits for the lock meanwhile."""
        if self.target.gathered is not None:
            self.numbers = await self.target.gathered.count(self._ledger)

    def tried(self, view: View) -> Numbers | Refusal:
        """What a dry run tells, after `count`; or what the run would be refused for."""
        self._elsewhere(view)
        found = self.look(view) if self.target.gathered is None else self.numbers
        for step in self._ends():
            if isinstance(step, Command) and (refused := _refused(step, view)) is not None:
                return refused
        return found

    # -- before --------------------------------------------------------------------------------------------------------
    def look(self, view: View) -> Numbers:
        """Counts, under the lock, what is about to end."""
        since = self.wanted.since
        if self.target.gathered is not None:
            self.numbers = self.target.gathered.look(view, self._ledger.privacy)
            return self.numbers
        floor = 0 if since is None else since // SECOND * SECOND
        found = counted(concerned(view, self.target), lambda each: each.issued_at >= floor)
        if self._counting is not None:
            found = found.plus(self._counting.look(view))
        self._first = 0 if since is None else view.query(first_since, since, view.head)
        self.numbers = numbers(found, secrets_ended(view, self.target))
        return self.numbers

    def commands(self) -> tuple[Command, *tuple[Step, ...]]:
        """In the order of their facts: reported, identified, what ends, contained."""
        stream = incident.stream(self._own_id)
        target = self.target
        about = {
            "target": target.kind,
            "client_id": target.client_id,
            "account_id": target.account_id,
            "secret_id": target.secret_id,
            "grant_id": target.grant_id,
        }
        then = (*self._ends(), Command(stream, incident.contain, {}, self._result, elsewhere=self._there))
        if not self._opens:
            return Command(stream, incident.identify, about, self._looked), *then
        reported = {**self.report, "sha256": target.sha256, "kind": target.leaked[0].kind if target.leaked else None}
        if target.gathered is not None:
            # An address is personal, and stands where everything that is told of an incident is sealed.
            where, evidence = f"Address {target.gathered.address}", reported.get("evidence")
            reported["evidence"] = where if evidence is None else f"{where}: {evidence}"
        first = Command(stream, incident.tell, reported, self._looked, starts=True, elsewhere=self._elsewhere)
        identified = Command(stream, incident.identify, about, elsewhere=self._there)
        more = Command(stream, incident.add_secrets, {"secrets": target.leaked}, elsewhere=self._there)
        rest: tuple[Step, ...] = (identified, more, *then) if target.leaked else (identified, *then)
        return first, *rest

    def _elsewhere(self, view: View) -> str | None:
        """The stream of the incident that this goes on with: looked up here, since another may have just opened it."""
        known = view.look(open_incident, self.target) if self._goes_on else None
        self.incident_id = known or self._own_id
        return self._there(view)

    def _there(self, _: View) -> str | None:
        return None if self.known_id is None else incident.stream(self.known_id)

    def _looked(self, view: View) -> Mapping[str, Any] | Refusal:
        if self.look(view) == Numbers() and self._only_alive and not self._session_lives(view):
            return Refusal(Conflict.ENDED)
        return {}

    def _session_lives(self, view: View) -> bool:
        for session_id in self.target.session_ids:
            state: session.State = view.state(session.stream(session_id))
            if session.is_live(state, view.state(account.stream(state.account_id)), view.now):
                return True
        return False

    def _result(self, view: View) -> Mapping[str, Any]:
        return {
            "numbers": self.numbers,
            "since_at": self.wanted.since,
            "rotated": self.wanted.secret is not None,
            "client_disabled": self.wanted.disable_client,
        }

    def _ends(self) -> list[Step]:
        target = self.target
        if target.gathered is not None:
            sessions = Sweep(target.gathered.sessions, session.end, _LEAKED)
            return [sessions, Sweep(target.gathered.streams, grant.end, _LEAKED)]
        if target.kind == "account" and target.account_id is not None:
            stream = account.stream(target.account_id)
            return [Command(stream, cut_off.end_account_tokens, {}, self._since)]
        return [*self._single_ends(), *self._client_ends()]

    def _single_ends(self) -> Iterator[Step]:
        target = self.target
        for each in target.alone:
            alone = {"client_id": None, "kind": "access", "sha256": each.sha256, "expires_at": each.expires_at}
            yield Command(f"grant:{each.grant_id}", grant.revoke_token, alone | {"by": "system"})
        for session_id in target.session_ids:
            yield Command(session.stream(session_id), session.end, _LEAKED)
        if target.session_ids or len(target.grants) > AT_ONCE:
            yield Sweep(partial(_streams, target.grants), grant.end, _LEAKED)
        else:
            yield from (Command(f"grant:{each}", grant.end, _LEAKED) for each in target.grants)

    def _client_ends(self) -> list[Step]:
        target, wanted = self.target, self.wanted
        if target.client_id is None:
            return []
        stream = client.stream(target.client_id)
        ends: list[Step] = []
        for secret_id in target.secret_ids:
            tokens = "revoke" if wanted.since is None else "keep"
            ends.append(Command(stream, client_secret.contain, {"secret_id": secret_id, "tokens": tokens}))
            if wanted.since is not None:
                ends.append(Command(stream, cut_off.end_client_tokens, {"secret_id": secret_id}, self._since))
        if target.kind == "client":
            ends.append(Command(stream, client_secret.revoke_all))
            ends.append(Command(stream, cut_off.end_client_tokens, {}, self._since))
        if wanted.secret is not None:
            made = {
                "new": client_secret.NewSecret(self.secret_id, wanted.secret.hex),
                "caller_scope": wanted.caller_scope,
            }
            ends.append(Command(stream, client_secret.rotate, made))
        if wanted.disable_client:
            ends.append(Command(stream, client.disable))
        return ends

    def _since(self, view: View) -> Mapping[str, Any]:
        return {"first": self._first, "since_at": self.wanted.since}

    # -- within the transaction ----------------------------------------------------------------------------------------
    def hand_over(self, view: View) -> str | None:
        """The new secret for whoever asked; a dashboard's goes to the server alone, and is in force at once."""
        secret, client_id = self.wanted.secret, self.target.client_id
        if secret is None or client_id is None:
            return None
        if view.state(client.stream(client_id)).type != "dashboard":
            return secret.reveal()
        self._ledger.vault.put_secret(view.connection, vault_name(client_id), secret.reveal().encode(), view.now)
        return None


def tried_together(view: View, containments: Sequence[Containment]) -> Mapping[str, Any] | Refusal:
    """What the record of a dry run tells of several, after each was counted; or what one of them is refused for."""
    count = 0
    for each in containments:
        found = each.tried(view)
        if isinstance(found, Refusal):
            return found
        count += found.tokens_ended
    return {"count": count}


def _refused(command: Command, view: View) -> Refusal | None:
    """For what it would be refused by itself: no command of a containment depends on the others before it."""
    read = {} if command.under_lock is None else command.under_lock(view)
    if isinstance(read, Refusal):
        return read
    return command.verb(view.state(command.stream), now=view.now, **command.facts, **read).refusal


def _streams(grants: Sequence[str], _: View) -> Iterator[Sequence[str]]:
    for start in range(0, len(grants), AT_ONCE):
        yield [f"grant:{each}" for each in grants[start : start + AT_ONCE]]


def first_since(connection: Connection, since: Moment, head: int) -> int:
    """The first position that a containment since a moment ends. Whole seconds, as what is alive is counted."""
    return searching.first_at(connection, since // SECOND * SECOND, head)
