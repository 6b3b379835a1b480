"""The `eventsourcing` application underneath the ledger, with our mapper, recorder and engine."""

from typing import Any

from eventsourcing.application import Application
from eventsourcing.persistence import Mapper
from eventsourcing.utils import Environment
from eventsourcing_sqlalchemy.factory import SQLAlchemyFactory
from sqlalchemy import Engine
from sqlalchemy.orm import sessionmaker

from eventstore.mapper import LogMapper
from eventstore.recorder import LogRecorder, LogStore
from eventstore.stored import LogDatastore


class LogFactory(SQLAlchemyFactory):
    """Builds the recorder over an engine that exists already; tables come from migrations alone."""

    application_recorder_class = LogRecorder

    def __init__(self, env: Environment, engine: Engine) -> None:
        super().__init__(env)
        # A session maker instead of a URL: with a URL the datastore adds locks of its own and swallows a failed commit.
        self.datastore = LogDatastore(session_maker=sessionmaker(bind=engine, autoflush=False, expire_on_commit=False))


class Log(Application[str]):
    """The log as an eventsourcing application, named for its table `stored_events`."""

    events: LogStore
    name = "stored"
    log_section_size = 1_000

    def __init__(self, engine: Engine, mapper: LogMapper) -> None:
        self._engine = engine
        self._mapper = mapper
        super().__init__(env={"CREATE_TABLE": "no"})

    def construct_factory(self, env: Environment) -> Any:
        """The factory over our engine."""
        return LogFactory(env, self._engine)

    def construct_mapper(self) -> Mapper[str]:
        """The msgspec mapper, whose topics are the events' tags."""
        return self._mapper

    def construct_event_store(self) -> LogStore:
        """The store that the ledger appends with."""
        return LogStore(self.mapper, self.recorder)

    def close(self) -> None:
        """Lets the ledger's connection go too."""
        recorder: Any = self.recorder
        recorder.release()
        super().close()
