"""The numbers behind `/metrics`, counted by every worker and told by any of them for all."""

import mmap
import os
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from struct import Struct
from typing import Any

import structlog
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
    values,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from api.server.board import DIRECTORY
from api.server.facts import Facts
from api.server.log_standing import LogStanding
from api.throttling.throttle import allocate

# The files behind `/metrics`, as the library has them, with room on the disk for all that they hold.

ROOM = {"counter": 1 << 20, "histogram": 1 << 20}
"""Bytes of a worker's file for each kind of number: more than all routes with all their answers fill."""

ROOM_OF_OTHERS = 1 << 16
BEGINNING = 8
"""Where the first number stands."""

AROUND_A_KEY = 64
"""More bytes than stand around a number's key: its length, the number, and what fills them up."""

USED = Struct("i")
"""How much of a file is used: its first four bytes."""

log = structlog.get_logger(__name__)


class NumbersFile(MmapedDict):
    """Without room on the disk the numbers are kept in memory, where nobody else reads them, until a restart."""

    _f: Any
    _m: Any

    def __init__(self, filename: str, read_mode: bool = False) -> None:
        path = Path(filename)
        size = ROOM.get(path.stem.rpartition("_")[0], ROOM_OF_OTHERS)
        try:
            _allocate(path, size)
        except OSError as error:
            log.warning("numbers are told to nobody", error=type(error).__name__)
            self._fname, self._f, self._positions = filename, None, {}
            self._m, self._capacity, self._used = mmap.mmap(-1, size), size, BEGINNING
            USED.pack_into(self._m, 0, BEGINNING)
        else:
            super().__init__(filename, read_mode)  # type: ignore[no-untyped-call]

    def _init_value(self, key: str) -> None:
        if self._used + len(key.encode()) + AROUND_A_KEY > self._capacity:
            self._grow(self._capacity * 2)
        super()._init_value(key)  # type: ignore[no-untyped-call]

    def _grow(self, size: int) -> None:
        memory = None
        if self._f is not None:
            try:
                allocate(self._f.fileno(), size)
                memory = mmap.mmap(self._f.fileno(), size)
            except OSError as error:
                log.warning("numbers are told to nobody any more", error=type(error).__name__)
                self._f.close()
                self._f = None
        if memory is None:
            memory = mmap.mmap(-1, size)
            memory[: len(self._m)] = self._m[:]
        self._m, self._capacity = memory, size


def _allocate(path: Path, size: int) -> None:
    made = not path.exists()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        allocate(descriptor, size)
    except OSError:
        if made:
            # Nobody can read a file of no length.
            path.unlink()
        raise
    finally:
        os.close(descriptor)


def use() -> None:
    """Has the library keep its numbers in such files."""
    values.MmapedDict = NumbersFile  # type: ignore[attr-defined]


def release(path: Path) -> None:
    """Gives back what a dead worker's file has of room that nothing stands in."""
    with suppress(OSError), path.open("r+b") as file:
        (used,) = USED.unpack(file.read(USED.size).ljust(USED.size, b"\0"))
        if 0 < used < os.fstat(file.fileno()).st_size:
            file.truncate(used)


use()
# When a series began would be a second series for each of them, and nobody asks.
disable_created_metrics()  # type: ignore[no-untyped-call]

COUNTED = {
    "incidents_open": "Leaks that are not closed.",
    "secrets_expiring": "Clients whose last secret expires within 14 days.",
    "outbox_undistributed": "Events that are not on their way to those who are to be told.",
    "outbox_waiting": "Notifications that are tried again.",
    "outbox_dead": "Notifications that are not tried any more.",
    "letters_waiting": "Mail to people that no mail server has taken yet.",
    "letters_oldest_seconds": "How long the oldest of it has waited.",
    "projections_differing": (
        "Projections that are not what the log says, until they are rebuilt; the vault's keys count as one."
    ),
}
"""What is counted in the database, by the members of `LogStanding`."""

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
COMMANDS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
ALARMS = {
    "diverged": "1 when the log is not the one that its tree was built over: nothing is signed any more.",
    "forged": "1 when an event does not verify: nothing is written any more, see `grantlog log remove-forged`.",
    "archive_away": "Segments that could not be read when one of their events was needed last.",
    "witness_alarms": "Witnesses that did not cosign when they were asked last.",
    "witnesses_short": "1 when fewer witnesses than demanded have cosigned the newest checkpoint.",
}
"""What is wrong with the transparency log."""

UNROUTED = "(none)"
"""The route of what was refused before it reached one."""


class Spread:
    """How often a value fell into each bucket, counted by one thread and read by another."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def note(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def take(self, other: "Spread") -> None:
        """Adds what another one counted."""
        self.counts = [own + more for own, more in zip(self.counts, other.counts, strict=True)]
        self.total += other.total


class SpreadHistogram(Histogram):
    """A histogram that takes many observations at once."""

    def add(self, counts: list[int], total: float) -> None:
        """Adds to each bucket the observations that fell into it, and their sum."""
        for bucket, count in zip(self._buckets, counts, strict=True):
            if count:
                bucket.inc(count)
        self._sum.inc(total)


class Metrics:
    """One process's numbers. `request`, `batch` and `throttled` count; `write` hands on what was counted."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "grantlog_requests",
            "Answered requests by route, method and class of status.",
            ("route", "method", "status"),
            registry=self.registry,
        )
        self._seconds = SpreadHistogram(
            "grantlog_request_seconds",
            "Seconds from a request's arrival to the end of its answer, by route.",
            ("route",),
            registry=self.registry,
            buckets=SECONDS,
        )
        self._batches = SpreadHistogram(
            "grantlog_batch_commands",
            "Callers whose commands shared one transaction of the log.",
            registry=self.registry,
            buckets=COMMANDS,
        )
        self._throttled = Counter(
            "grantlog_throttled", "Attempts that were told to wait, by rule.", ("rule",), registry=self.registry
        )
        gauge = partial(Gauge, registry=self.registry, multiprocess_mode="livemax")
        self._passwords = Gauge(
            "grantlog_passwords_waiting",
            "Password checks that wait for a thread.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self._alarms = {name: gauge(f"grantlog_log_{name}", text) for name, text in ALARMS.items()}
        self._round = gauge(
            "grantlog_projections_round_seconds",
            "How long the last comparison of everything with the log took, or the first one is under way.",
        )
        self._given_up = Counter(
            "grantlog_letters_given_up", "Mail to people that is not tried any more.", registry=self.registry
        )
        self.facts = Facts(self.registry)
        self._replica_reads: Counter | None = None
        self._issuers: IssuerNumbers | None = None
        self._took: dict[tuple[str | None, str, int], Spread] = {}
        self._sizes = Spread(COMMANDS)
        self._written: dict[Any, Any] = {}

    def request(self, route: str | None, method: str, status: int | None, seconds: float) -> None:
        """Counts an answered request. `status` is None for an answer that was never begun."""
        kind = 5 if status is None else status // 100
        took = self._took.get((route, method, kind))
        if took is None:
            named = (route, method if method in METHODS else "(other)", kind)
            took = self._took.setdefault(named, Spread(SECONDS))
        took.counts[bisect_left(SECONDS, seconds)] += 1
        took.total += seconds

    @property
    def of_issuers(self) -> "IssuerNumbers":
        """What is told where there are further issuers."""
        if self._issuers is None:
            self._issuers = IssuerNumbers(self.registry)
        return self._issuers

    def batch(self, commands: int) -> None:
        """Counts a committed transaction; the ledger's writer calls it, in whatever thread it lives."""
        self._sizes.note(commands)

    def throttled(self, rule: str) -> None:
        """Counts an attempt that has to wait."""
        self._throttled.labels(rule).inc()

    def replica_read(self, outcome: str) -> None:
        """Counts a read of a standby, where there is one."""
        if self._replica_reads is None:
            text = "Reads of standbys, by what became of them: the primary answered all but those that were answered."
            self._replica_reads = Counter("grantlog_replica_reads", text, ("outcome",), registry=self.registry)
        self._replica_reads.labels(outcome).inc()

    def alarms(self, **now: int) -> None:
        """What is wrong with the transparency log at this moment, by the names of `ALARMS`, as this process sees it."""
        for name, value in now.items():
            if self._written.get(name) != value:
                self._alarms[name].set(value)
                self._written[name] = value

    def compared(self, differing: int, round_seconds: float) -> None:
        """How long a round of the comparison of projections with the log takes. What it found is looked up."""
        self._round.set(round_seconds)

    def letter_given_up(self) -> None:
        """Counts mail that nobody will get."""
        self._given_up.inc()

    def write(self, passwords_waiting: int) -> None:
        """Hands on what was counted since the last call."""
        routes: dict[str, Spread] = {}
        for (route, method, status), took in self._took.items():
            routes.setdefault(route or UNROUTED, Spread(SECONDS)).take(took)
            key = (route or UNROUTED, method, f"{status}xx")
            count = sum(took.counts)
            if more := count - self._written.get(key, 0):
                self._requests.labels(*key).inc(more)
                self._written[key] = count
        for name, spread in routes.items():
            self._add(self._seconds.labels(name), name, spread)
        self._add(self._batches, Spread, self._sizes)
        self.facts.write()
        if self._written.get(Gauge) != passwords_waiting:
            self._passwords.set(passwords_waiting)
            self._written[Gauge] = passwords_waiting

    def _add(self, histogram: Any, key: Any, spread: Spread) -> None:
        before, sum_before = self._written.get(key, ([0] * len(spread.counts), 0.0))
        counts, total = list(spread.counts), spread.total
        if counts != before:
            histogram.add([now - then for now, then in zip(counts, before, strict=True)], total - sum_before)
            self._written[key] = (counts, total)

    def text(self, version: str, standing: LogStanding | None) -> bytes:
        """Everything of all workers. `standing` is None when the database does not answer."""
        everything = CollectorRegistry()
        everything.register(AtThisMoment(version, standing))
        directory = os.environ.get(DIRECTORY)
        if directory:
            _forget_the_dead(Path(directory))
            MultiProcessCollector(everything, directory)  # type: ignore[no-untyped-call]
        else:
            everything.register(self.registry)
        return generate_latest(everything)


class IssuerNumbers:
    """What is told where a server has further issuers, and of nobody where it has none."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "grantlog_issuer_requests", "Answered requests to further issuers.", ("issuer", "status"), registry=registry
        )
        self.alarms = Gauge(
            "grantlog_issuer_alarms",
            "What is wrong with the logs of further issuers, by the names of the server's own alarms.",
            ("issuer", "alarm"),
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.number = Gauge(
            "grantlog_issuers", "Further issuers that are served.", registry=registry, multiprocess_mode="livemax"
        )
        self.opened = Gauge(
            "grantlog_issuers_open",
            "Further issuers whose logs are open, by all workers.",
            registry=registry,
            multiprocess_mode="livesum",
        )


@dataclass(frozen=True, eq=False)
class AtThisMoment:
    """What is looked up for a scrape and is the same for every worker."""

    version: str
    standing: LogStanding | None

    def collect(self) -> Iterator[Metric]:
        info = GaugeMetricFamily("grantlog_info", "The version that runs.", labels=("version",))
        info.add_metric((self.version,), 1)
        yield info
        found = self.standing
        yield GaugeMetricFamily("grantlog_database_up", "Whether the database answers.", value=float(found is not None))
        if found is not None:
            yield GaugeMetricFamily("grantlog_log_position", "Position of the newest event.", value=found.position)
            behind = GaugeMetricFamily(
                "grantlog_lag_events",
                "Events not followed yet, by what follows the log.",
                labels=("follower",),
            )
            for name, events in found.lag.items():
                behind.add_metric((name,), events)
            yield behind
            for name, meaning in COUNTED.items():
                yield GaugeMetricFamily(f"grantlog_{name}", meaning, value=getattr(found, name))


def _forget_the_dead(directory: Path) -> None:
    """A worker that died waits for no password any more; what it counted still counts, and needs no more room."""
    if not Path("/proc/self").exists():
        return
    for file in directory.glob("*_*.db"):
        pid = int(file.stem.rpartition("_")[2])
        if Path(f"/proc/{pid}").exists():
            continue
        if file.name.startswith("gauge_live"):
            mark_process_dead(pid, str(directory))  # type: ignore[no-untyped-call]
        else:
            release(file)
