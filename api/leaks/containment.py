"""A containment as commands: cut-offs, an optional rotation, and the incident that tells of them. One transaction."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from msgspec.structs import replace

from api.audit.queries.auditor import Auditor
from api.audit.queries.search import moment
from api.leaks.address_target import AddressTarget
from api.leaks.resolve import find, open_incident, require_fit
from api.leaks.targets import Target, concerned, links_good, numbers, secrets_ended, with_counted
from commands import clients, grants, incidents, people, registering
from commands.audit import read
from commands.mailing import recovery
from domain import account, client, incident, session
from domain.client_secret import NewSecret
from domain.decision import Conflict, Refusal
from domain.event import SECOND, Moment, Recorded
from domain.incident import Numbers
from eventstore import search
from eventstore.affected import Counting, counted
from eventstore.database import Connection
from eventstore.execution import Single, Step
from eventstore.leaked.afterwards import CountedElsewhere, WhatEnded
from eventstore.leaked.offline import offline_of
from eventstore.ledger import Ledger
from eventstore.projecting.catch_up import CatchUpSubscription, EventIndexing
from eventstore.time_travel import AT_ONCE, Descendant, latest, offline_until
from eventstore.view import View
from projections.blast_radius import RadiusQuestion
from security.masking import masking
from security.tokens import Format, Kind, Secret, new_id

Execute = Callable[..., Awaitable[tuple[Recorded, ...]]]
"""Carries commands out for the one who contains, and says what was recorded."""


class Wanted(NamedTuple):
    """What to do besides ending it. `since` is a moment; `secret` is the new one of a rotation."""

    since: Moment | None = None
    secret: Secret | None = None
    disable_client: bool = False
    caller_scope: frozenset[str] = frozenset()


class ContainmentRequest(NamedTuple):
    """What the one who contains asks for, in their words: what is to end by one of the names, and what is done
    besides."""

    named: Mapping[str, str]
    since: str | None
    rotate: bool
    disable_client: bool
    evidence: str | None


class Containment:
    """One containment: its commands, and after them what it ended and the secret that it made. Without an `incident_id`
    it opens an incident, which `source` reports with `evidence`. With `goes_on` it goes on with an open one about the
    same, if there is any under the lock, and adds to its evidence; only then `incident_id` is certain. `only_alive`
    refuses it where nothing is left to end."""

    def __init__(
        self,
        ledger: Ledger,
        target: Target,
        wanted: Wanted,
        incident_id: str | None = None,
        *,
        goes_on: bool = False,
        only_alive: bool = False,
        source: incident.Source = "administrator",
        evidence: str | None = None,
    ) -> None:
        self._ledger = ledger
        self.target = target
        self.wanted = wanted
        self._opens = incident_id is None
        self._goes_on = goes_on
        self._only_alive = only_alive
        self.incident_id = self._own_id = incident_id or new_id()
        self._source: incident.Source = source
        self._evidence = evidence
        self.secret_id = new_id()
        self.ended = self._without = WhatEnded()
        self._first = 0
        self._told = False
        of = target.counted(wanted.since)
        if wanted.disable_client and target.gathered is None and target.client_id is not None:
            # Whatever it has is over then, since whenever.
            of = RadiusQuestion(target.client_id)
        self._counting = None if of is None else Counting(of)
        self._disabled: dict[str, Counting] = {}
        """Of each client whose key it is and which is disabled with it, all that it has."""

    @property
    def numbers(self) -> Numbers:
        """What it ends."""
        return self.ended.numbers

    @property
    def known_id(self) -> str | None:
        """The incident that it goes on with, after a look under the lock."""
        return None if self.incident_id == self._own_id else self.incident_id

    async def prepare(self) -> None:
        """Counts and looks up, so that only what comes meanwhile is left for under the lock."""
        if self.target.gathered is not None:
            await self.target.gathered.gather(self._ledger, CatchUpSubscription(self._ledger, EventIndexing()))
            if self.wanted.disable_client:
                self._disabled = {each: Counting(RadiusQuestion(each)) for each in self.target.gathered.living}
                for counting in self._disabled.values():
                    await counting.count(self._ledger)
        elif self._counting is not None:
            await self._counting.count(self._ledger)

    async def count(self) -> None:
        """Counts for a dry run what takes long, so that nobody waits for the lock meanwhile."""
        if self.target.gathered is not None:
            found = await self.target.gathered.tried(self._ledger, self._counted_elsewhere)
            self.ended = await self._ledger.read(self._with_disabled, found, self._ledger.clock.now())

    async def end_at_once(self, execute: Execute) -> None:
        """Ends what was used from an address before it is counted. What that was is left for `commands` to tell."""
        gathered = self.target.gathered
        if gathered is None:
            return
        end = incidents.end_together(
            lambda state, view: gathered.end(state, view, self._ledger.privacy, self.incident_id)
        )
        # Nothing is left to be settled then, so nobody would tell of it any more if this process were lost.
        nothing = self._result(lambda: self._without, unless=incidents.ends_something(lambda: self.incident_id))
        recorded = await execute(*self._opening(), *gathered.also(), *self._disabling(gathered.living), end, nothing)
        self._told = any(each.type == incident.IncidentContained.type for each in recorded)
        if recorded:
            position, at = recorded[0].position - 1, recorded[0].time
            found = await gathered.ended(self._ledger, position, at, self._counted_elsewhere)
            self.ended = await self._ledger.read(self._with_disabled, found, at)

    @property
    def _counted_elsewhere(self) -> CountedElsewhere | None:
        return self._is_of_disabled if self._disabled else None

    def _is_of_disabled(self, each: Descendant) -> bool:
        return any(counting.counts(each) for counting in self._disabled.values())

    def _with_disabled(self, connection: Connection, found: WhatEnded, now: Moment) -> WhatEnded:
        """What ends with the clients that are disabled besides. Of two with a key in common it is told of each."""
        told, offline = found.numbers, [found.offline_until]
        for client_id, counting in self._disabled.items():
            alive = counting.alive
            told = replace(
                told,
                grants_ended=told.grants_ended + alive.grants,
                tokens_ended=told.tokens_ended + alive.tokens,
                people_affected=told.people_affected + alive.people,
            )
            offline += counting.offline_until, offline_of(connection, client_id, now)
        return WhatEnded(told, latest(offline))

    def tried(self, view: View) -> Numbers | Refusal:
        """What a dry run tells, after `count`; or what the run would be refused for."""
        self._elsewhere(view)
        found = self.look(view) if self.target.gathered is None else self.numbers
        # No command of a containment depends on the others before it.
        refusals = (incidents.refused(step, view) for step in self._ends())
        return next((each for each in refusals if each is not None), found)

    # -- before --------------------------------------------------------------------------------------------------------
    def look(self, view: View) -> Numbers:
        """Counts, under the lock, what is about to end."""
        since = self.wanted.since
        if self.target.gathered is not None:
            for counting in self._disabled.values():
                counting.look(view)
            self._without = view.query(self._with_disabled, self.target.gathered.of_nothing, view.now)
            return self.numbers
        floor = 0 if since is None else since // SECOND * SECOND
        each_one = [each for each in concerned(view, self.target) if each.issued_at >= floor]
        offline, found = [offline_until(each_one)], counted(each_one)
        if self._counting is not None:
            found = with_counted(view, self._counting, each_one)
            offline.append(view.query(offline_of, self.target.client_id or "", view.now))
            offline.append(self._counting.offline_until)
        self._first = 0 if since is None else view.query(first_since, since, view.head)
        told = numbers(found, secrets_ended(view, self.target))
        if self.target.account_id is not None and links_good(view, self.target):
            told = replace(told, people_affected=max(told.people_affected, 1))
        self.ended = WhatEnded(told, latest(offline))
        return self.numbers

    def commands(self) -> tuple[Single, *tuple[Step, ...]]:
        """In the order of their facts: reported, identified, what ends, contained; of an address the last alone."""
        result = self._result(lambda: self.ended, unless=lambda _: self._told)
        if self.target.gathered is not None:
            return (result,)
        first, *opening = self._opening()
        links = [recovery.end_links(self.target.account_id or "", self.target.links)] if self.target.links else []
        rest: tuple[Step, ...] = (*opening, *self._ends(), *links, result)
        return first, *rest

    def _result(self, ended: Callable[[], WhatEnded], unless: Callable[[View], bool]) -> Single:
        return incidents.contained(
            self._own_id,
            ended,
            since=self.wanted.since,
            rotated=self.wanted.secret is not None,
            client_disabled=self.wanted.disable_client,
            elsewhere=self._there,
            unless=unless,
        )

    def _opening(self) -> tuple[Single, *tuple[Step, ...]]:
        target, own_id = self.target, self._own_id
        about = incidents.About(target.kind, target.client_id, target.account_id, target.secret_id, target.grant_id)
        if not self._opens:
            return (incidents.identify(own_id, about).guarded(self._looked),)
        first: Single = incidents.tell(own_id, self._report(), elsewhere=self._elsewhere, looked=self._looked)
        identified: Step = incidents.identify(own_id, about, elsewhere=self._there)
        more = [incidents.add_secrets(own_id, target.leaked, elsewhere=self._there)] if target.leaked else []
        rest: tuple[Step, ...] = (identified, *more)
        return first, *rest

    def _report(self) -> incidents.LeakReport:
        target, evidence = self.target, self._evidence
        if target.gathered is not None and (where := target.gathered.where) is not None:
            evidence = where if evidence is None else f"{where}: {evidence}"
        return incidents.LeakReport(
            self._source, evidence, target.sha256, target.leaked[0].kind if target.leaked else None
        )

    def _elsewhere(self, view: View) -> str | None:
        """The stream of the incident that this goes on with: looked up here, since another may have just opened it."""
        known = view.look(open_incident, self.target) if self._goes_on else None
        self.incident_id = known or self._own_id
        return self._there(view)

    def _there(self, _: View) -> str | None:
        return None if self.known_id is None else incident.stream(self.known_id)

    def _looked(self, view: View) -> Refusal | None:
        if self.look(view) == Numbers() and self._only_alive and not self._session_lives(view):
            return Refusal(Conflict.ENDED)
        return None

    def _session_lives(self, view: View) -> bool:
        for session_id in self.target.session_ids:
            state: session.State = view.state(session.stream(session_id))
            if session.is_live(state, view.state(account.stream(state.account_id)), view.now):
                return True
        return False

    def _ends(self) -> list[Step]:
        target = self.target
        if target.gathered is not None:
            return []
        if target.kind == "account" and target.account_id is not None:
            return [incidents.end_account_tokens(target.account_id, self._since)]
        return [*self._single_ends(), *self._client_ends()]

    def _single_ends(self) -> Iterator[Step]:
        target = self.target
        for each in target.alone:
            yield grants.revoke_token(
                each.grant_id, kind="access", sha256=each.sha256, expires_at=each.expires_at, by="system"
            )
        for token in target.registering:
            yield registering.end(token.by)
        for session_id in target.session_ids:
            yield people.end_session(session_id, "secret_leak")
        if target.session_ids or len(target.grants) > AT_ONCE:
            yield incidents.end_grants(partial(_streams, target.grants))
        else:
            yield from (grants.end(each, "secret_leak") for each in target.grants)

    def _client_ends(self) -> list[Step]:
        target, wanted, client_id = self.target, self.wanted, self.target.client_id
        if client_id is None:
            return []
        ends: list[Step] = []
        for secret_id in target.secret_ids:
            ends.append(incidents.end_secret(client_id, secret_id, "revoke" if wanted.since is None else "keep"))
            if wanted.since is not None:
                ends.append(incidents.end_client_tokens(client_id, self._since, secret_id=secret_id))
        if target.kind == "client":
            ends += incidents.end_secrets(client_id), incidents.end_client_tokens(client_id, self._since)
        if wanted.secret is not None:
            new = NewSecret(self.secret_id, wanted.secret.hex)
            ends.append(clients.rotate_secret(client_id, new, by=lambda _: wanted.caller_scope))
        return [*ends, *self._disabling([client_id])]

    def _disabling(self, holders: Sequence[str]) -> list[Step]:
        return [clients.disable(each) for each in holders] if self.wanted.disable_client else []

    def _since(self) -> incidents.Since:
        return incidents.Since(self._first, self.wanted.since)

    # -- within the transaction ----------------------------------------------------------------------------------------
    def hand_over(self, view: View) -> str | None:
        """The new secret for the one who asked; what the server itself acts with goes to it alone, and is in force
        at once."""
        secret, client_id = self.wanted.secret, self.target.client_id
        if secret is None or client_id is None:
            return None
        return clients.made_secret(self._ledger.vault, view, client_id, secret).shown


async def containments(
    ledger: Ledger, format: Format, asked: ContainmentRequest, *, source: incident.Source, caller_scope: frozenset[str]
) -> tuple[list[Containment], tuple[str, ...]]:
    """A containment for each client or person, and the digests of secrets that cannot be looked at since their archive
    is away. Raises the problem that says what is wrong with what is asked for."""
    # Whole seconds, as what is alive is counted.
    at = moment("since", asked.since)
    since = None if at is None else at // SECOND * SECOND
    targets, away = await find(ledger, format, asked.named, since)
    require_fit(targets, rotate=asked.rotate, disable_client=asked.disable_client, since=since is not None)
    evidence = None if asked.evidence is None else masking(*format.prefixes).text(asked.evidence)
    found = []
    for target in targets:
        # Beside others, one that was deleted keeps nothing from being done: nothing is left of it to rotate or disable.
        there = len(targets) == 1 or not await _is_deleted(ledger, target)
        rotates = asked.rotate and target.client_id is not None and target.kind != "key" and there
        secret = format.mint(Kind.CLIENT_SECRET) if rotates else None
        wanted = Wanted(since, secret, asked.disable_client and bool(target.clients) and there, caller_scope)
        found.append(Containment(ledger, target, wanted, goes_on=True, source=source, evidence=evidence))
    return found, tuple(away)


async def _is_deleted(ledger: Ledger, target: Target) -> bool:
    if target.client_id is None or target.gathered is not None:
        return False
    state: client.State = await ledger.state(client.stream(target.client_id))
    return state.deleted


def dry_run(asking: Auditor, containments: Sequence[Containment], since: str | None) -> Single:
    """Records that somebody asked what several would end together, after each was counted."""
    target = containments[0].target
    asked = {name: getattr(target, name) for name in ("client_id", "account_id", "secret_id", "sha256")}
    return read(
        asking.stream,
        "leak_containment_dry_run",
        asking.words(asked | {"since": since}),
        lambda view: tried_together(view, containments),
        address=target.gathered.address if isinstance(target.gathered, AddressTarget) else None,
    )


def tried_together(view: View, containments: Sequence[Containment]) -> int | Refusal:
    """How many tokens several would end, after each was counted, for the record of a dry run; or what one of them is
    refused for."""
    count = 0
    for each in containments:
        found = each.tried(view)
        if isinstance(found, Refusal):
            return found
        count += found.tokens_ended
    return count


def _streams(grants: Sequence[str], _: View) -> Iterator[Sequence[str]]:
    for start in range(0, len(grants), AT_ONCE):
        yield [f"grant:{each}" for each in grants[start : start + AT_ONCE]]


def first_since(connection: Connection, since: Moment, head: int) -> int:
    """The first position that a containment since a moment ends. Whole seconds, as what is alive is counted."""
    return search.first_at(connection, since // SECOND * SECOND, head)
