"""The log as an `eventsourcing` application: what the ledger appends to, and what anybody opens with the library's API.

    class Auditor(Application[str]):                        # eventsourcing.application
        env = {"PERSISTENCE_MODULE": "eventstore.application:LogFactory", "SQLALCHEMY_URL": "…"}

`docs/event-log.md` shows what it can be asked.
"""

from pathlib import Path
from typing import Any

from eventsourcing.application import Application
from eventsourcing.persistence import (
    AggregateRecorder,
    EventStore,
    Mapper,
    ProgrammingError,
    Tracking,
    TrackingRecorder,
    Transcoder,
)
from eventsourcing.utils import Environment
from eventsourcing_sqlalchemy.datastore import SQLAlchemyDatastore
from eventsourcing_sqlalchemy.factory import SQLAlchemyFactory
from eventsourcing_sqlalchemy.models import EventRecord  # type: ignore[attr-defined]
from sqlalchemy import Engine
from sqlalchemy.orm import sessionmaker

from eventstore.database.engines import reading, understood
from eventstore.mapper import LogMapper, Ring, attach
from eventstore.recorder import LogRecorder, LogStore
from eventstore.stored import EVENTS, events
from projections import event_index
from security.keyring import VARIABLE, open_keyring
from security.vault import Vault

CONNECTIONS = 4
"""That a reader has on PostgreSQL: the library's subscription listens on one and reads on others."""


class LogRecord(EventRecord):  # type: ignore[misc]
    """The table of events as the library's class of its rows."""

    __table__ = events


class LogDatastore(SQLAlchemyDatastore):
    """The library's datastore over an engine of ours. It makes no table: migrations alone do."""

    def __init__(self, *, url: str | None = None, engine: Engine | None = None, **_: Any) -> None:
        if engine is None and url is not None:
            engine = reading(understood(url), CONNECTIONS)
        # A session maker instead of a URL: with a URL the library adds locks of its own and swallows a failed commit.
        made = None if engine is None else sessionmaker(bind=engine, autoflush=False, expire_on_commit=False)
        super().__init__(session_maker=made)

    @classmethod
    def define_record_class(cls, *_: Any, **__: Any) -> Any:
        """The one that there is."""
        return LogRecord


class Followers(TrackingRecorder):
    """How far each read model has come that follows the log, by its name: `wait("event_index", position)`."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def max_tracking_id(self, application_name: str) -> int | None:
        """The position that it has reached."""
        with self._engine.connect() as connection:
            return event_index.progress(connection).get(application_name)

    def insert_tracking(self, tracking: Tracking) -> None:
        """A follower moves its own row, by `event_index.advance`, with what it writes."""
        raise ProgrammingError("followers track themselves")


class LogFactory(SQLAlchemyFactory):
    """Builds what a log is read with from the library's environment.

    It takes the library's `SQLALCHEMY_URL`, and the server's `GRANTLOG_MASTER_KEY` or `GRANTLOG_MASTER_KEY_FILE`, with
    whose keys every event is verified. Whatever the application is called, the log's table is the log's.
    """

    datastore_class = LogDatastore

    def application_recorder(self) -> LogRecorder:
        """Reads the log's table."""
        return LogRecorder(self.datastore, events_table_name=EVENTS)

    def tracking_recorder(self, tracking_recorder_class: Any = None) -> Any:
        """Tells how far the servers' followers have come."""
        return Followers(self.datastore.engine)

    def mapper(self, transcoder: Transcoder | None = None, mapper_class: Any = None) -> Mapper[Any]:
        """Reads and verifies events. Raises MasterKeyError."""
        file = Path(self.env.get(f"{VARIABLE}_FILE") or "master.key")
        keyring = open_keyring(self.env.get(VARIABLE), file, create=False)
        engine = self.datastore.engine
        mapper = LogMapper(Ring(Vault(keyring)), engine)
        if engine is not None:
            attach(engine, mapper)
        return mapper

    def event_store(self, mapper: Any = None, recorder: AggregateRecorder | None = None) -> EventStore[Any]:
        """Gives out what is authentic, as `Recorded`."""
        return LogStore(mapper or self.mapper(), recorder or self.application_recorder())

    def close(self) -> None:
        """Lets the connections go."""
        if isinstance(self.datastore.engine, Engine):
            self.datastore.engine.dispose()


class Log(Application[str]):
    """The ledger's: over its engine, with its mapper."""

    recorder: LogRecorder
    mapper: LogMapper
    log_section_size = 1_000

    def __init__(self, engine: Engine, mapper: LogMapper) -> None:
        self._engine = engine
        self._mapper = mapper.over(engine)
        super().__init__()

    def construct_factory(self, env: Environment) -> Any:
        """The factory over our engine."""
        factory = LogFactory(env)
        factory.datastore = LogDatastore(engine=self._engine)
        return factory

    def construct_mapper(self) -> Mapper[str]:
        """The ledger's own, whose keys it holds."""
        return self._mapper

    def close(self) -> None:
        """Lets the ledger's connection go too."""
        self.recorder.close()
        super().close()
