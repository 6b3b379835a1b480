"""`python -m bench.growth EVENTS`: a log of any length in the migrated, empty database of the settings.

Every event goes through the real mapper and is sealed as the server seals; read models that follow the log are brought
up by their own code, the others by the replay that `grantlog projections rebuild` is; the tree is built over the very
bytes. Sixty days lie between the first event and the last, so that nearly all tokens have expired.
"""

import argparse
import asyncio
import gc
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, select, update

from api.config.settings import Settings
from api.environment import load
from bench.made import bulk, parties
from bench.made.lives import Happening, Lives
from cli.command_services import open_keys
from domain.event import SECOND, Actor, Moment, Recorded
from domain.keys import log_key
from eventstore import search
from eventstore.appending.rows import Rows
from eventstore.database.engines import migrating
from eventstore.execution import Origin
from eventstore.mapper import LogMapper, Ring, attach
from eventstore.personal_data import PersonalData, Unsealing, address_key, agent_key
from eventstore.projecting.catch_up import EventIndexing, Following, Sightings
from eventstore.projecting.counting import EventCounting
from eventstore.projecting.rebuild import Rebuild
from eventstore.stored import head
from eventstore.time_travel import folded
from eventstore.transparency import signing_keys as keys
from eventstore.transparency.published import read_leaves
from eventstore.transparency.tree import Tree
from projections import PROJECTIONS, event_index, grants, tokens
from security.clock import DAY, ManualClock, SystemClock
from security.keyring import Keyring
from security.mac import BlindIndex
from security.sealing import Sealer
from security.tokens import new_id, ordered_id
from security.vault import Vault

LASTED = 60 * DAY
"""Between the first event and the last."""

MONTH = 28 * DAY
"""No month is shorter."""

CROWD = 200
"""Events that happen at a time."""

BATCH = 20_000
PORTION = 1_000
"""Events that read models take at a time."""

PRUNED_AT_A_TIME = 100_000

ADDRESSES = 250
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"

Say = Callable[[str], None]


class Known(Unsealing):
    """Knows of the events made here what was sealed in them, and so need not open it."""

    def __init__(self, privacy: PersonalData, first: int) -> None:
        super().__init__(privacy)
        self._first = first
        self._known = [address_key(privacy, _address(place)) for place in range(ADDRESSES)]
        self._agent_key = agent_key(privacy, AGENT)

    def address(self, connection: Connection, recorded: Recorded) -> bytes | None:
        if recorded.position <= self._first:
            return super().address(connection, recorded)
        return self._known[recorded.position % ADDRESSES]

    def agent(self, connection: Connection, recorded: Recorded) -> bytes | None:
        if recorded.position <= self._first:
            return super().agent(connection, recorded)
        return self._agent_key


def _address(position: int) -> str:
    """From where an event was caused."""
    return f"192.0.2.{position % ADDRESSES}"


class Growing:
    """One log on its way. `goal` is the position of its last event, which happens at `until`."""

    def __init__(self, engine: Engine, keyring: Keyring, made: parties.Parties, goal: int, until: Moment) -> None:
        vault = Vault(keyring)
        self._engine = engine
        self._privacy = PersonalData(Sealer(vault), BlindIndex(keyring))
        ring = Ring(vault)
        self._mapper = LogMapper(ring)
        attach(engine, self._mapper)
        self._models: tuple[Following, ...] = (EventIndexing(), Sightings(), EventCounting())
        self._made, self._goal, self._until = made, goal, until
        with engine.begin() as connection:
            ring.load(connection)
            self.position = connection.scalar(select(head.c.position)) or 0
            begin = connection.scalar(select(head.c.time)) or 0
            state: log_key.State = folded(connection, log_key.STREAM, self.position).state
        self._lives = Lives(made, begin)
        self._happening = iter(self._lives)
        self._first, self._begin = self.position, begin
        self._unsealing = Known(self._privacy, self.position)
        self._tree = Tree(
            state.origin or "", keys.from_vault(vault, state.origin or ""), ManualClock(until), largest_step=BATCH
        )
        self._leaves: tuple[int, Sequence[bytes]] = (0, ())

    def install(self) -> None:
        """Brings the tree and the read models up to what is there already."""
        with self._engine.begin() as connection:
            while self._tree.follow(connection, read_leaves).more:
                pass
            stored = search.recorded_forms(connection, range(1, self.position + 1))
            self._follow(connection, 0, stored)
            self._leaves = (self.position - 1, read_leaves(connection, self.position - 1, 1))
            # Keys that are made and used in one transaction are looked up with every use.
            for moment in range(self._begin, self._until + MONTH, MONTH):
                for actor in self._actors():
                    origin = Origin(actor=actor, ip="192.0.2.1")
                    self._privacy.seal_origin(connection, origin, "", min(moment, self._until))

    def _actors(self) -> Iterator[Actor]:
        for party in (*self._made.services, *self._made.shops):
            yield Actor("client", party.client_id)
        for account_id in self._made.people:
            yield Actor("person", account_id)

    def step(self) -> None:
        """One batch in one transaction."""
        with self._engine.begin() as connection:
            count = min(BATCH, self._goal - self.position)
            recorded = [self._recorded(connection, next(self._happening)) for _ in range(count)]
            stored = [self._mapper.to_stored_event(each) for each in recorded]
            rows = [
                (each.position, each.stream, each.version, form.topic, form.state.decode())
                for each, form in zip(recorded, stored, strict=True)
            ]
            bulk.put_events(connection, rows)
            values = {"position": self.position, "time": recorded[-1].time}
            connection.execute(update(head).where(head.c.id == 1).values(values))
            self._put_grants(connection, recorded)
            self._follow(connection, self.position - count, recorded)
            last = self._leaves[1][-1:]
            self._leaves = (self.position - count - len(last), [*last, *(form.state for form in stored)])
            self._tree.follow(connection, self._remembered)

    def _put_grants(self, connection: Connection, recorded: Sequence[Recorded]) -> None:
        """Rows of grants, less those of services that have expired by the last event: pruning takes those away."""
        rows = Rows()
        for each in recorded:
            event = each.event
            if type(event) in grants.HANDLES and (
                getattr(event, "grant_type", None) != "client_credentials"
                or each.time + event.lifetime * SECOND > self._until
            ):
                for write in grants.project(each, {}):
                    rows.add(write)
        rows.flush(connection)

    def _prune(self, connection: Connection, *prunes: Callable[[Connection, Moment, int], int]) -> None:
        """What has expired by the last event leaves before a server has to see to it."""
        for prune in prunes:
            while prune(connection, self._until, PRUNED_AT_A_TIME):
                pass

    def _recorded(self, connection: Connection, happening: Happening) -> Recorded:
        now, stream, version, actor, event = happening
        self.position += 1
        event_id = new_id()
        origin = Origin(actor=actor, ip=_address(self.position), user_agent=AGENT)
        ip, agent = self._privacy.seal_origin(connection, origin, event_id, now)
        recorded = Recorded(self.position, event_id, stream, version, now, actor, ordered_id(now), ip, agent, event)
        # Who asks, asks in crowds: so many events share a moment, as those of one batch of the ledger do.
        done = (self.position - self._first) // CROWD * CROWD / (self._goal - self._first)
        self._lives.now = self._begin + int((self._until - self._begin) * done)
        return recorded

    def _follow(self, connection: Connection, after: int, recorded: Sequence[Recorded]) -> None:
        prepared: dict[str, list[Any]] = {model.name: [] for model in self._models}
        for start in range(0, len(recorded), PORTION):
            self._unsealing.begin()
            portion = recorded[start : start + PORTION]
            for model in self._models:
                prepared[model.name].append(model.prepare(connection, portion, self._unsealing))
        for model in self._models:
            event_index.advance(connection, model.name, after, after + len(recorded))
            model.keep(connection, prepared[model.name])

    def _remembered(self, connection: Connection, start: int, limit: int) -> Sequence[bytes]:
        first, leaves = self._leaves
        return leaves[start - first : start - first + limit]

    def finish(self, say: Say) -> None:
        """The read models that are written with the log, by replaying it; what has expired leaves."""
        replayed = [each for each in PROJECTIONS if each is not grants]
        Rebuild(self._engine, replayed, self._privacy, SystemClock().now()).run(
            lambda done, goal: say(f"replayed {done:,} of {goal:,}")
        )
        with self._engine.begin() as connection:
            self._prune(connection, tokens.prune, grants.prune)


def grow(settings: Settings, keyring: Keyring, count: int, say: Say = lambda words: None) -> None:
    """Gives the empty, migrated database a log of `count` events, or of the few that its beginning takes."""
    now = SystemClock().now()
    made = asyncio.run(parties.found(settings, keyring, now - LASTED))
    engine = migrating(settings.database_url)
    try:
        bulk.hurry(engine)
        growing = Growing(engine, keyring, made, count, now)
        growing.install()
        with bulk.without_indexes(engine, event_index.TABLE.name):
            while growing.position < count:
                growing.step()
                say(f"made {growing.position:,} of {count:,}")
        growing.finish(say)
        bulk.tidy(engine)
    finally:
        engine.dispose()


def main() -> None:
    """Reads the settings from the environment, as the server does."""
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__)
    parser.add_argument("events", type=int)
    options = parser.parse_args()
    # Nearly nothing here is part of a cycle, and a batch is many objects.
    gc.set_threshold(1_000_000)
    settings = load()
    began = told = time.monotonic()

    def say(words: str) -> None:
        nonlocal told
        if time.monotonic() - told >= 10:
            told = time.monotonic()
            print(f"{told - began:6.0f} s  {settings.database_url.partition(':')[0]}: {words}", file=sys.stderr)

    grow(settings, open_keys(settings), options.events, say)


if __name__ == "__main__":
    main()
