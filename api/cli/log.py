"""`grantlog log …`: the events as they happen. Whoever may read the database sees them; what is sealed stays sealed."""

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import rich_click as click

from api.cli.failures import REFUSED, Failure
from api.cli.opening import connected, load_settings, open_keys, require_schema
from api.cli.showing import as_json

if TYPE_CHECKING:
    from eventstore.asking import Connection

LAST = 10
BATCH = 500
PAUSE = 0.2
"""Seconds between two looks. Positions are dense and in the order of the commits, so a look can miss nothing."""
POSITION = click.IntRange(1, 2**63 - 1)
"""What the database can count to."""

raw = click.option("--json", "raw", is_flag=True, help="Print the stored form itself: one JSON object a line.")


@click.group()
def log() -> None:
    """Watch and read the log of events."""


@log.command()
@click.option("--follow/--no-follow", "-f", default=True, show_default=True, help="Go on as events happen, or end.")
@click.option("--from", "start", type=POSITION, metavar="N", help=f"Begin at position N; else {LAST} back.")
@click.option("--type", "types", multiple=True, metavar="TYPE", help="Only this type, or `client.*`; repeatable.")
@raw
def tail(follow: bool, start: int | None, types: tuple[str, ...], raw: bool) -> None:
    """Show the last events, and each further one as it happens."""
    from api.cli.event_line import line
    from eventstore.searching import newest

    # Ctrl-C and a closed pipe are the usual ways to end this, and no failures.
    with suppress(KeyboardInterrupt, BrokenPipeError), _connected() as connection:
        position = (start if start is not None else max(1, newest(connection) - LAST + 1)) - 1
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        named = _client_names(connection)
        while True:
            head = newest(connection)
            while position < head:
                # What the filter passes over is not looked at again.
                stored = _between(connection, position, head, types)
                position = stored[-1][0] if len(stored) == BATCH else head
                for _, text in stored:
                    click.echo(text if raw else line(text, named, width))
            if not follow:
                return
            time.sleep(PAUSE)


@log.command()
@click.argument("position", type=POSITION)
@as_json
def show(position: int, as_json: bool) -> None:
    """Show the event at POSITION with everything that it says."""
    from api.cli.event_line import page

    with _connected() as connection:
        stored = _between(connection, position - 1, position, ())
    if not stored:
        raise Failure(f"POSITION: the log has no event {position} yet")
    text = stored[0][1]
    click.echo(text if as_json else page(text))


@contextmanager
def _connected() -> "Iterator[Connection]":
    from security.vault import Vault

    settings = load_settings()
    require_schema(settings)
    with connected(settings, Vault(open_keys(settings))) as connection:
        yield connection


def _client_names(connection: "Connection") -> "Callable[[str], str | None]":
    """What clients are called now, each asked for once. People's names are sealed, and stay so here."""
    from projections import clients

    known: dict[str, str | None] = {}

    def named(stream: str) -> str | None:
        category, _, client_id = stream.partition(":")
        if category == "client" and stream not in known:
            row = clients.by_id(connection, client_id)
            known[stream] = None if row is None else row.client_name
        return known.get(stream)

    return named


def _between(connection: "Connection", after: int, last: int, types: tuple[str, ...]) -> list[tuple[int, str]]:
    """At most BATCH stored events of these types, each a tag or `noun.*`; of all, when none is named."""
    from domain.events import EVENTS
    from eventstore.commands import Forged
    from eventstore.mapper import UPCASTS
    from eventstore.recorder import store

    tags = [*(event.type for event in EVENTS), *UPCASTS]
    topics = [tag for tag in tags if tag in types or f"{tag.partition('.')[0]}.*" in types]
    if types and not topics:
        return []
    log = store(connection)
    rows = log.recorder.select_notifications(after, BATCH, last, topics, inclusive_of_start=False)
    try:
        return [(row.id, log.mapper.text(row)) for row in rows]
    except Forged as error:
        raise Failure(str(error), REFUSED) from None
