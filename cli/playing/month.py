"""The month that the demo plays, day by day: what people do again and again, and what happens once.

It is the same month each time but for what is drawn as a secret or an id, and ends a few minutes before now.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from cli.playing import cast
from cli.playing.player import Person, Player, Whereabouts, stranger
from commands import clients, counted, grants, incidents, people, permissions, servers
from commands.permissions import operator
from domain import account
from domain.client import Attributes
from domain.event import Moment
from eventstore.execution import Step
from security.clock import DAY, MINUTE
from security.tokens import Secret, new_id

DAYS = 30
QUIET: Moment = 5 * MINUTE
"""Between the last act and now."""

BY_DAY = {0: 1.0, 1: 1.0, 2: 1.0, 3: 1.0, 4: 0.9, 5: 0.5, 6: 0.4}
"""How much is done on each day of the week, Monday first."""

WEIGHTS = (1, 1, 1, 1, 1, 2, 4, 8, 12, 12, 11, 10, 9, 10, 11, 11, 10, 8, 7, 8, 9, 7, 4, 2)
"""How much is done in each hour of a day."""

Act = Callable[[], Awaitable[object]]


class Scene(NamedTuple):
    """What is done at a moment; those of the same moment in the order in which they were written down."""

    at: Moment
    number: int
    act: Act


@dataclass
class Month:
    """The story. `begins` is its first moment."""

    player: Player
    begins: Moment
    ends: Moment
    third_party: tuple[str, Secret]
    drawn: Random = field(default_factory=lambda: Random(1983))  # noqa: S311 - a story, and no secret
    scenes: list[Scene] = field(default_factory=list)
    people: list[Person] = field(default_factory=list)

    async def play(self) -> None:
        """Plays it from the first day to the last."""
        await self._first_day()
        self._write_down()
        for each in sorted(self.scenes, key=lambda scene: scene[:2]):
            if each.at > self.ends:
                break
            self.player.clock.set(max(self.player.clock.now(), each.at))
            await each.act()
        self.player.clock.set(max(self.player.clock.now(), self.ends))

    def _on(self, day: float, act: Act) -> None:
        """Has something done so many days after the midnight before the beginning, unless that was earlier."""
        at = self.begins - self.begins % DAY + round(day * DAY)
        if at > self.player.clock.now():
            self.scenes.append(Scene(at, len(self.scenes), act))

    def _place(self, agent: str | None = None) -> Whereabouts:
        return Whereabouts(f"203.0.113.{self.drawn.randrange(10, 250)}", agent or self.drawn.choice(cast.AGENTS))

    # The first day: who is there, and which applications.

    async def _first_day(self) -> None:
        player = self.player
        self.ada = await player.find("ada", "administration", Whereabouts("192.0.2.10", cast.FIREFOX))
        self._later(9 * MINUTE)
        await player.sign_in_to("administration", self.ada)
        by = player.by(self.ada)
        await player.perform(by, *(permissions.put_scope(*each, by=operator) for each in cast.SCOPES.items()))
        shopper = permissions.put_role(
            "platform", cast.SHOPPER, scopes_allowed=(*cast.SCOPES,), default=False, by=operator
        )
        await player.perform(by, shopper)
        self.grace, self.alan, self.mary = [
            await player.register(
                by, username, name, "administration", Whereabouts(f"192.0.2.{20 + number}", cast.CHROME), roles
            )
            for number, (username, name, roles) in enumerate(cast.COLLEAGUES)
        ]
        self._later(20 * MINUTE)
        await self._applications()
        self.people.append(await player.find("paul", "platform", self._place()))

    async def _applications(self) -> None:
        player, by = self.player, self.player.by(self.ada)
        self.paperboat = await player.known_application(*self.third_party, Whereabouts("198.51.100.9", cast.LIBRARY))
        self.prints = await player.register_application(
            by, cast.PHOTO_PRINTS, Whereabouts("198.51.100.40", cast.LIBRARY), owner="it@prints.example.test"
        )
        self._later(12 * MINUTE)
        self.ledgerly = await player.register_application(
            by, cast.LEDGERLY, Whereabouts("198.51.100.77", "Ledgerly/4.2"), owner="platform@ledgerly.example.test"
        )
        self.export = await player.register_application(
            by, cast.NIGHTLY_EXPORT, Whereabouts("2001:db8:40::7", "nightly-export/1.8"), owner="data@example.test"
        )
        self.scanner = await player.register_application(
            by, cast.OLD_SCANNER, Whereabouts("192.0.2.200", "scanner/0.3")
        )
        policy = clients.set_rotation_policy(
            self.ledgerly.client_id, maximum_age=90 * 86_400, overlap=7 * 86_400, warning=14 * 86_400
        )
        await player.perform(by, policy)

    def _later(self, time: Moment) -> None:
        self.player.clock.set(self.player.clock.now() + time)

    # What is written down: each day's habits, and what happens once.

    def _write_down(self) -> None:
        for number, (username, name) in enumerate(cast.PEOPLE):
            after = 0.06 + number * (0.004 if number < 4 else 0.9)
            self._on(self.begins % DAY / DAY + after, self._joins(username, name))
        for day in range(DAYS + 1):
            self._habits(day)
        self._maintenance()
        self._leak(18 + 2.6 / 24)
        self._troubles()

    def _joins(self, username: str, name: str) -> Act:
        async def join() -> None:
            await self._administrator()
            place = self._place()
            by, roles = self.player.by(self.ada), ("member", cast.SHOPPER)
            self.people.append(await self.player.register(by, username, name, "platform", place, roles))

        return join

    async def _administrator(self) -> None:
        """Ada signs in to the dashboard, once a day at most: its tokens are refreshed in between."""
        now = self.player.clock.now()
        if now - self.ada.signed_in_at > DAY:
            self.ada.signed_in_at = now
            await self.player.sign_in_to("administration", self.ada)

    def _habits(self, day: int) -> None:
        weekday = (self.begins // DAY + day + 3) % 7
        much = BY_DAY[weekday]
        for _ in range(round(9 * much)):
            self._on(self._hour(day), self._authorizes)
        for _ in range(round(26 * much)):
            self._on(self._hour(day), self._refreshes)
        for _ in range(round(2 * much)):
            self._on(self._hour(day), self._mistypes)
        for minute in (0, 20, 40):
            self._on(day + (2 * 60 + minute) / 1440, self._exports)
        if weekday < 5:
            self._on(day + 8.6 / 24, self._looks_after)
            if day < 24:
                self._on(day + 10.1 / 24, self._scans)
        if weekday == 0:
            self._on(day + 9.4 / 24, self._audits)

    def _hour(self, day: int) -> float:
        (hour,) = self.drawn.choices(range(24), WEIGHTS)
        return day + (hour + self.drawn.random()) / 24

    async def _authorizes(self) -> None:
        person = self.drawn.choice(self.people)
        places = (
            (self.paperboat, ("profile", "catalog:read")),
            (self.prints, ("profile", "photos:read")),
            (self.ledgerly, ("profile", "orders:read")),
        )
        # Paul has no role but the one that everybody gets.
        application, scope = places[0] if person is self.people[0] else self.drawn.choice(places)
        held = await self.player.authorize(person, application, scope)
        self._later(MINUTE)
        await self.player.use(held, self.prints if application is self.ledgerly else application)

    async def _refreshes(self) -> None:
        alive = [each for each in self.player.holdings if not each.over and each.person in self.people]
        if alive:
            await self.player.refresh(self.drawn.choice(alive))

    async def _mistypes(self) -> None:
        person = self.drawn.choice(self.people)
        await self.player.perform(
            stranger(person.place), counted.failed_sign_in(person.account_id, "wrong_password", 1, 0)
        )

    async def _exports(self) -> None:
        await self.player.act_for_itself(self.export)

    async def _scans(self) -> None:
        await self.player.act_for_itself(self.scanner)

    async def _looks_after(self) -> None:
        await self.player.sign_in_to("administration", self.mary)
        await self.player.ask(self.mary, "incidents", 0)

    async def _audits(self) -> None:
        await self.player.sign_in_to("administration", self.alan)
        await self.player.ask(self.alan, "events", 50, type="client.*", order="desc")
        self._later(4 * MINUTE)
        await self.player.ask(self.alan, "counts", 7, step="86400")

    # What administrators do once.

    def _maintenance(self) -> None:
        self._by_ada(6.44, lambda: self.player.rotate(self.player.by(self.ada), self.export, 7 * 86_400))
        self._by_ada(9.61, self._changes_what_ledgerly_may)
        self._by_ada(24.4, lambda: self._does(clients.disable(self.scanner.client_id)))
        self._by_ada(27.5, lambda: self.player.rotate(self.player.by(self.ada), self.ledgerly, 10 * 86_400))
        self._by_ada(28.45, lambda: self._does(clients.delete(self.scanner.client_id)))

    def _by_ada(self, day: float, act: Act) -> None:
        async def signed_in() -> None:
            await self._administrator()
            await act()

        self._on(day, signed_in)

    async def _does(self, *commands: Step) -> None:
        await self.player.perform(self.player.by(self.ada), *commands)

    async def _changes_what_ledgerly_may(self) -> None:
        changes = Attributes(scope=(*(cast.LEDGERLY.scope or ()), "orders:write"))
        await self._does(
            clients.update(
                self.ledgerly.client_id,
                changes,
                privacy=self.player.ledger.privacy,
                issuer=self.player.settings.issuer,
                by=operator,
            )
        )

    # The night in which a secret of Photo Prints is found in a public repository.

    def _leak(self, night: float) -> None:
        thief = Whereabouts("198.51.100.23", cast.SCRAPER)
        minute = 1 / 1440
        for number in range(7):
            self._on(night + number * 1.3 * minute, lambda: self.player.act_for_itself(self.prints, thief))
        self._on(night + 11 * minute, self._is_told)
        self._on(night + 12 * minute, lambda: self._as_security(servers.suspend_issuance()))
        self._on(night + 14 * minute, self._contains)
        self._on(night + 19 * minute, lambda: self._as_security(servers.resume_issuance()))
        self._on(night + 21 * minute, lambda: self._tries_what_is_dead(thief, 1, 0))
        self._on(night + 31 * minute, lambda: self._tries_what_is_dead(thief, 41, 600))
        self._on(night + 0.31, self._closes)

    async def _is_told(self) -> None:
        await self.player.sign_in_to("administration", self.grace)
        await self.player.ask(self.grace, "leak_investigation", 1, sha256=self.prints.secret.hex)
        self.leaked = self.prints.secret_id

    async def _as_security(self, *commands: Step) -> None:
        await self.player.perform(self.player.by(self.grace), *commands)

    async def _contains(self) -> None:
        found = "Line 14 of deploy/.env in a public repository of the print shop, found by their own people"
        self.incident = await self.player.contain(self.player.by(self.grace), self.prints, found)
        for each in self.player.holdings:
            each.over = each.over or each.application is self.prints

    async def _tries_what_is_dead(self, thief: Whereabouts, count: int, seconds: int) -> None:
        used = counted.dead_secret(self.prints.client_id, self.leaked, "token", count, seconds)
        await self.player.perform(stranger(thief), used)

    async def _closes(self) -> None:
        await self.player.sign_in_to("administration", self.grace)
        note = "The repository is private, and its history was rewritten. The print shop has the new secret."
        await self._as_security(incidents.close(self.incident, note, self.player.ledger.privacy))

    # What goes wrong besides, and who leaves.

    def _troubles(self) -> None:
        guesser = Whereabouts("2001:db8:bad::1", cast.SCRAPER)
        for number, count in enumerate((0, 38, 52, 17)):
            self._on(15.13 + number / 144, self._guesses(guesser, count))
        self._on(15.14, lambda: self.player.perform(stranger(guesser), counted.unknown_user("platform", 230, 600)))
        self._on(16.4, self._changes_password)
        self._on(13.8, self._withdraws)
        self._on(21.5, self._comes_twice)
        self._on(11.6, lambda: self._asks_to_be_erased(2))
        self._on(25.6, self._is_erased)
        self._on(17.7, self._denies)
        self._by_ada(26.5, self._disables)

    async def _disables(self) -> None:
        gone = self.people.pop(6)
        await self._does(people.disable(gone.account_id))

    def _guesses(self, guesser: Whereabouts, count: int) -> Act:
        async def guess() -> None:
            failed = counted.failed_sign_in(
                self.people[0].account_id, "wrong_password", count or 1, 600 if count else 0
            )
            await self.player.perform(stranger(guesser), failed)

        return guess

    async def _changes_password(self) -> None:
        # Paul's own is the one of `demo.json`; the guesser's target here is somebody else who heard of it.
        person = self.people[1]
        await self.player.sign_in(person)
        state: account.State = await self.player.ledger.state(account.stream(person.account_id))
        changed = people.set_password(
            person.account_id,
            await self.player.hasher.hash(new_id()),
            by=None,
            verified=None if state.password_hash is None else state.password_hash.event_id,
        )
        await self.player.perform(self.player.by(person), changed)

    async def _withdraws(self) -> None:
        held = next(each for each in self.player.holdings if not each.over and each.application is self.ledgerly)
        await self.player.sign_in(held.person)
        withdrawn = grants.withdraw_consent(
            held.person.account_id, self.ledgerly.client_id, held.person.session_id or ""
        )
        await self.player.perform(self.player.by(held.person), withdrawn)

    async def _comes_twice(self) -> None:
        held = [each for each in self.player.holdings if not each.over and each.application is self.paperboat][-1]
        await self.player.replay(held)

    async def _denies(self) -> None:
        person = self.people[3]
        await self.player.sign_in(person)
        denied = grants.deny_consent(person.account_id, self.ledgerly.client_id, ("profile", "orders:read"), 1, 0)
        await self.player.perform(self.player.by(person), denied)

    async def _asks_to_be_erased(self, number: int) -> None:
        self.leaver = self.people[number]
        await self.player.sign_in(self.leaver)
        asked = people.request_erasure(self.leaver.account_id, 14 * 86_400)
        await self.player.perform(self.player.by(self.leaver), asked)
        self.people.remove(self.leaver)

    async def _is_erased(self) -> None:
        erased = people.erase(self.leaver.account_id, vault=self.player.ledger.vault)
        await self.player.perform(self.player.command_line, erased)
