"""`python -m bench.reading`: the log read by the library's own recorder, by ours, and by the driver alone.

It is why `eventstore.recorder` has queries of its own, and why followers take a stretch of events at a time instead of
being the library's `Projection`, which processes and tracks each event by itself.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from statistics import median

from eventsourcing_sqlalchemy.recorders import SQLAlchemyApplicationRecorder

from bench.made.whole_log import followed, on_both
from eventstore.application import LogDatastore
from eventstore.database.engines import reading
from eventstore.mapper import authenticate
from eventstore.projecting.catch_up import BATCH
from eventstore.recorder import LogRecorder, notifications, store
from eventstore.stored import EVENTS
from security.keyring import Keyring, new_master_key, parse_keyring
from security.vault import Vault

COUNT, AT_ONCE, FOLLOWED, ROUNDS = 20_000, 500, 512, 5


def main() -> int:
    """Prints microseconds of processor time of this process for one event, on both databases."""
    keyring = parse_keyring(new_master_key())
    for database, _ in on_both(keyring, COUNT):
        for what, cost in _costs(database.url, keyring):
            print(f"  {what:62} {cost:8.2f} µs")
    return 0


def _costs(url: str, keyring: Keyring) -> Iterator[tuple[str, float]]:
    engine, vault = reading(url, 4), Vault(keyring)
    authenticate(engine, vault)
    datastore = LogDatastore(engine=engine)
    library = SQLAlchemyApplicationRecorder(datastore, events_table_name=EVENTS)
    ours = LogRecorder(datastore, events_table_name=EVENTS)
    with engine.connect() as connection:
        log = store(connection)
        query = notifications(True, False, True)
        yield (
            "the driver's rows",
            _portions(lambda after: query.all(connection, {"start": after, "stop": after + AT_ONCE, "limit": AT_ONCE})),
        )
        readers = {"the library's": library, "our": ours, "our, over a connection,": log.recorder}
        for name, recorder in readers.items():
            yield f"{name} select_notifications", _portions(partial(_notifications, recorder))
        yield "the same as events, verified", _portions(lambda after: [*log.between(after, after + AT_ONCE)])
        streams = [row.originator_id for row in log.recorder.rows_between(0, AT_ONCE)]
        for name, recorder in readers.items():
            yield f"{name} select_events, a call", _each(partial(_streams, recorder, streams)) / len(streams)
    engine.dispose()
    for size in (1, BATCH):
        yield f"followed into the search index, {size} in a transaction", followed(url, keyring, FOLLOWED, size) * 1e6


def _notifications(recorder: SQLAlchemyApplicationRecorder, after: int) -> object:
    return recorder.select_notifications(after, AT_ONCE, inclusive_of_start=False)


def _streams(recorder: SQLAlchemyApplicationRecorder, streams: Sequence[str]) -> object:
    return [recorder.select_events(each) for each in streams]


def _portions(read: Callable[[int], object]) -> float:
    return _each(lambda: [read(after) for after in range(0, COUNT, AT_ONCE)]) / COUNT


def _each(work: Callable[[], object]) -> float:
    took = []
    for _ in range(ROUNDS):
        began = time.process_time()
        work()
        took.append(time.process_time() - began)
    return median(took) * 1e6


if __name__ == "__main__":
    raise SystemExit(main())
