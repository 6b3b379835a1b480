"""`grantlog drill …`: what an operator must be able to do on a bad day, done on a good one."""

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import rich_click as click

from api.config.settings import Settings, log_origin
from api.server.transparency import kept_of
from cli.command_services import connected, load_settings, open_keys, prove_key
from cli.terminal import REFUSED, USAGE, Failure, ProgressBar, as_json, moment, print_one
from cli.verify import read_keys, read_text
from eventstore import database
from eventstore.database.engines import is_sqlite, migrating, snapshot, understood
from eventstore.database.schema import problem
from eventstore.mapper import authenticate
from eventstore.personal_data import PersonalData
from eventstore.projecting.rebuild import Comparison, differing, outdated
from eventstore.repository import newest
from eventstore.restoring import copying
from eventstore.restoring.copying import NotRestored
from eventstore.restoring.restored import HeldAgainst, erase_again, hold_against
from eventstore.transparency import published, signing_keys
from eventstore.transparency.note import head_of
from projections import PROJECTIONS
from security.clock import SystemClock, parse_rfc3339
from security.keyring import Keyring
from security.mac import BlindIndex
from security.sealing import Sealer
from security.vault import Vault, sample
from verifier.source import open_source
from verifier.verify import verify

ANSWERED_WITHIN = 10_000_000
"""Microseconds from an event's time to its acknowledgement at most: every request has its answer within ten seconds.
What happened so long before the moment to which a copy goes was acknowledged before it, and has to be there."""


@click.group()
def drill() -> None:
    """Rehearse what has to be done when something is lost; what runs goes on untouched."""


class _Point(NamedTuple):
    """How far the copy has to go: to the position that the log had when the drill began, or to a moment."""

    position: int | None
    until: int | None


@drill.command()
@click.argument("place", type=click.Path(path_type=Path))
@click.option(
    "--backup",
    type=click.Path(path_type=Path, exists=True),
    metavar="PATH",
    help="A copy of SQLite's file, or a base backup in plain format, from before.  [one is made now]",
)
@click.option(
    "--wal",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="PostgreSQL's archive of segments, played over the base backup.",
)
@click.option("--until", metavar="TIME", help="Restore to this RFC 3339 moment, by --wal.  [the newest]")
@click.option("--from", "source", metavar="URL", help="PostgreSQL's role with REPLICATION.  [the owner of the tables]")
@click.option(
    "--checkpoint",
    "checkpoints",
    multiple=True,
    metavar="FILE",
    help="A checkpoint kept outside that the copy has to fulfil; repeatable.  [the one that this node kept]",
)
@click.option("--alone", is_flag=True, help="The database itself is gone: hold the copy against checkpoints only.")
@click.option("--keep", is_flag=True, help="Leave the restored database in PLACE, to go on with it.")
@as_json
def restore(
    place: Path,
    backup: Path | None,
    wal: Path | None,
    until: str | None,
    source: str | None,
    checkpoints: tuple[str, ...],
    alone: bool,
    keep: bool,
    as_json: bool,
) -> None:
    """Restore the database into PLACE, a new directory, and prove that everything is there.

    The copy is verified against the checkpoint that this node keeps outside the database, opened with the master key,
    held against the running log byte by byte, and its read models against its events; erasures are applied to its vault
    again. PostgreSQL's programs must be on the path. Exit code 1 names what is not there. Nothing is written to the
    database that runs; PLACE holds everything that it holds, and is removed unless --keep."""
    began = time.monotonic()
    settings = load_settings()
    keyring = open_keys(settings)
    if alone and backup is None:
        raise Failure("--alone: name the copy with --backup", USAGE)
    if is_sqlite(settings.database_url) and (wal or until or source):
        raise Failure("--wal, --until and --from are PostgreSQL's; a copy of SQLite's file is of one moment", USAGE)
    if source is not None:
        source = understood(source)
        if wrong := database.problem(source):
            raise Failure(f"--from {wrong}", USAGE)
    kept = _kept(settings, checkpoints, must=backup is None and until is None)
    point = _Point(None if alone or backup or until else _newest(settings), _moment(until))
    with _place(place, keep), _in_words(), _copy(settings, place, backup, wal, point.until, source) as url:
        shown = _Proof(settings, keyring, url, kept, point, alone).run()
    shown |= {"seconds": round(time.monotonic() - began, 1)} | ({"kept": str(place)} if keep else {})
    print_one(shown, as_json)


class _Kept(NamedTuple):
    """Checkpoints from outside: those that the copy has to fulfil, and one that it may be too old for."""

    demanded: tuple[str, ...]
    known: tuple[str, ...]


def _kept(settings: Settings, files: Sequence[str], must: bool) -> _Kept:
    """Read before the copy is made: a newer one is signed at any time."""
    own = kept_of(settings).read()
    mine = () if own is None else (own,)
    given = tuple(read_text(file, "--checkpoint") for file in files)
    for name, note in zip(files, given, strict=True):
        if head_of(note) is None:
            raise Failure(f"--checkpoint: {name} is no checkpoint", USAGE)
    return _Kept((*given, *mine) if must else given, () if must else mine)


def _moment(until: str | None) -> int | None:
    try:
        return None if until is None else parse_rfc3339(until)
    except ValueError:
        raise Failure("--until takes an RFC 3339 time, such as 2026-01-31T12:00:00Z", USAGE) from None


def _newest(settings: Settings) -> int:
    with connected(settings) as connection:
        return newest(connection)[0]


@contextmanager
def _place(place: Path, keep: bool) -> Iterator[None]:
    try:
        place.mkdir(mode=0o700)
    except FileExistsError:
        raise Failure(f"{place} is there already: name a new directory", USAGE) from None
    done = False
    try:
        yield
        done = True
    finally:
        if not (keep and done):
            shutil.rmtree(place)


@contextmanager
def _in_words() -> Iterator[None]:
    try:
        yield
    except NotRestored as error:
        raise Failure(str(error), REFUSED) from None


@contextmanager
def _copy(
    settings: Settings, place: Path, backup: Path | None, wal: Path | None, until: int | None, source: str | None
) -> Iterator[str]:
    place = place.absolute()
    if is_sqlite(settings.database_url):
        yield copying.copy_file(settings.database_url, backup, place)
        return
    owner = source or settings.migration_database_url or settings.database_url
    if backup is None:
        copying.base_backup(owner, place)
    else:
        copying.take_backup(backup, place)
    role = settings.migration_database_url or settings.database_url
    with copying.recovered(role, place, wal, until) as url:
        yield url


class _Proof:
    """Everything that has to hold of the copy at `url`; what does not raises Failure."""

    def __init__(self, settings: Settings, keyring: Keyring, url: str, kept: _Kept, point: _Point, alone: bool) -> None:
        self._settings = settings
        self._keyring = keyring
        self._url = url
        self._kept = kept
        self._point = point
        self._alone = alone
        self._vault = Vault(keyring)

    def run(self) -> dict[str, Any]:
        with closing(_Engine(self._url)) as opened:
            size, newest_at = self._opens(opened)
            proved = self._fulfils(opened, size)
            beside = None if self._alone else self._is_a_part(size)
            now = SystemClock().now()
            again = erase_again(opened.engine, self._vault, now)
            privacy = PersonalData(Sealer(self._vault), BlindIndex(self._keyring))
            with ProgressBar("projections") as bar:
                compared = Comparison(opened.engine, PROJECTIONS, privacy, now).run(bar)
        apart = [each.table for each in compared if each.differs_at is not None]
        if apart:
            raise Failure(f"the copy's rows are not what its log says: {', '.join(apart)}")
        return {
            "restored": size,
            "newest": moment(newest_at) if size else None,
            "verified": proved,
            "erasures_applied_again": again,
            "projections": "equal",
        } | ({} if beside is None else _beside(beside))

    def _opens(self, opened: "_Engine") -> tuple[int, int]:
        """Position and time of the newest event of a copy that this version and this master key can serve."""
        with opened.engine.connect() as connection:
            if wrong := problem(connection):
                raise Failure(f"the copy's tables: {wrong}")
            prove_key(connection, self._vault, self._keyring)
            sample(connection, self._keyring)
            if old := [*outdated(connection, PROJECTIONS), *differing(connection)]:
                raise Failure(f"the copy needs `grantlog projections rebuild {' '.join(old)}`")
            return newest(connection)

    def _fulfils(self, opened: "_Engine", size: int) -> int | None:
        """Up to which position checkpoints from outside prove the copy."""
        with opened.engine.connect() as connection:
            signed = head_of(note.note) if (note := published.newest_signed(connection)) else None
            origin = log_origin(self._settings) if signed is None else signed.origin
            keys = [str(each.verifier) for each in signing_keys.signers(connection, self._vault, origin)]
        for head in map(head_of, self._kept.demanded):
            if head is not None and head.size > size:
                raise Failure(f"{head.size - size:,} events are lost: the copy ends at {size:,}, and the checkpoint "
                              f"that was kept outside covers {head.size:,}")  # fmt: skip
        reached = 0 if signed is None else signed.size
        fitting = [
            note
            for note in (*self._kept.demanded, *self._kept.known)
            if (head := head_of(note)) is not None and head.size <= reached
        ]
        if not fitting and self._alone:
            raise Failure("nothing from outside speaks for this copy: name a checkpoint from before it (--checkpoint)")
        if signed is None:
            return None
        with ProgressBar("verify") as bar, closing(open_source(self._url)) as source:
            verdict = verify(source, read_keys(keys, "the vault"), kept=fitting, progress=bar)
        if verdict.exit_code:
            raise Failure(f"the copy does not verify: {verdict.reason}")
        return max((head.size for note in fitting if (head := head_of(note)) is not None), default=0)

    def _is_a_part(self, size: int) -> HeldAgainst:
        """The copy beside the log that runs: the same as far as it goes, and gone far enough."""
        running = partial(snapshot, self._settings.database_url)
        with running() as connection, snapshot(self._url) as copy, ProgressBar("compare") as bar:
            # Either may have events in segments alone that the other has not.
            for each in (connection, copy):
                authenticate(each, Vault(self._keyring))
            there = newest(connection)[0]
            beside = hold_against(copy, connection, size, there, bar)
        if beside.differs_at is not None:
            raise Failure(f"the copy is another log from position {beside.differs_at:,} on")
        needed, until = self._point
        if needed is not None and size < needed:
            raise Failure(f"the copy ends at {size:,}; {needed:,} events were there before it was made")
        first_lost = beside.first_lost_at
        if until is not None and first_lost is not None and first_lost < until - ANSWERED_WITHIN:
            raise Failure(
                f"the copy lacks position {size + 1:,}, of {moment(first_lost)}: it does not go as far as that"
            )
        return beside


def _beside(found: HeldAgainst) -> dict[str, Any]:
    return {
        "lost": found.lost,
        "first_lost": moment(found.first_lost_at),
        "erasures_to_repeat": list(found.unknown_erasures),
    }


class _Engine:
    def __init__(self, url: str) -> None:
        self.engine = migrating(url)

    def close(self) -> None:
        self.engine.dispose()
