"""`grantlog log archive` and `grantlog log archived`: old events outside the database, in files that the log names."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import rich_click as click
from msgspec.structs import replace

from cli.command_services import (
    CommandServices,
    in_plain_words,
    load_settings,
    open_keys,
    opened,
    require_schema,
    run,
)
from cli.terminal import Failure, ProgressBar, as_json, moment, print_list, refused
from commands.archiving import segments
from commands.archiving.segments import NotArchived, OlderNode, SegmentLook, archive_before, look
from domain.event import Moment
from domain.log import Archived
from eventstore.database.threads import patiently
from eventstore.sealed.segment import SegmentDamaged
from eventstore.sealed.segment_place import PlaceAway, SegmentPlace
from eventstore.transparency.published import Diverged
from security.clock import SystemClock, parse_rfc3339

T = TypeVar("T")

COLUMNS = ("segment", "first", "last", "events", "bytes", "place")

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def _past(_: click.Context, __: click.Parameter, text: str) -> Moment:
    try:
        found = parse_rfc3339(f"{text}T00:00:00Z" if _DAY.fullmatch(text) else text)
    except ValueError:
        raise click.BadParameter("must be a day such as 2026-01-31, or a moment such as 2026-01-31T12:00:00Z") from None
    if found > SystemClock().now():
        raise click.BadParameter("must be in the past")
    return found


def _place(_: click.Context, __: click.Parameter, url: str | None) -> SegmentPlace | None:
    try:
        return None if url is None else SegmentPlace(url)
    except PlaceAway as error:
        raise click.BadParameter(str(error)) from None


def _directory(context: click.Context, parameter: click.Parameter, url: str | None) -> SegmentPlace | None:
    place = _place(context, parameter, url)
    if place is not None and not place.is_directory:
        raise click.BadParameter("must be a directory, which every node sees under that path")
    return place


@click.command()
@click.option("--before", required=True, callback=_past, metavar="DATE", help="Only what is older, and had ended then.")
@click.option("--to", "place", required=True, callback=_place, metavar="URL", help="A directory, or a URL for fsspec.")
@as_json
def archive(before: Moment, place: SegmentPlace, as_json: bool) -> None:
    """Copy old events of streams that have ended into sealed segments, outside the database.

    These are grants that are over or whose tokens have all expired, sessions, uses of tokens, days of the audit, and
    people who were erased. Each segment is read again and verified, event by event and up to a signed checkpoint,
    before an event, `log.archived`, names its digest. Nothing is taken out of the database. It may be broken off, and
    goes on from there when it is called again."""

    async def work(services: CommandServices) -> list[Archived]:
        with ProgressBar("archive") as bar:
            return [each async for each in archive_before(services.ledger, place, before, services.origin, bar)]

    made = run(lambda services: _in_words(work, services))
    print_list([_members(each) for each in made], COLUMNS, as_json)


@click.command()
@click.option("--check", is_flag=True, help="Read each segment and verify it, event by event.")
@click.option("--from", "place", callback=_place, metavar="URL", help="Where the segments are by now, if elsewhere.")
@as_json
def archived(check: bool, place: SegmentPlace | None, as_json: bool) -> None:
    """Show the segments of which the log tells, whether they alone have their events (dropped), and with `--check`
    whether each is there and unchanged.

    Exits with 1 when one is not."""

    async def work(services: CommandServices) -> list[SegmentLook]:
        with ProgressBar("check") as bar:
            return [each async for each in look(services.ledger, place, check=check, progress=bar)]

    seen = run(lambda services: _in_words(work, services))
    told = [
        {"position": each.position, **_members(each.archived), "dropped": each.dropped, **_state(each, check)}
        for each in seen
    ]
    columns = ("position", *COLUMNS, "dropped")
    print_list(told, (*columns, "state") if check else columns, as_json)
    wrong = [each for each in seen if each.problem is not None]
    if wrong:
        where = ", ".join(f"{each.archived.first}-{each.archived.last}" for each in wrong[:5])
        verb = "is" if len(wrong) == 1 else "are"
        raise Failure(f"{len(wrong)} of {len(seen)} {verb} missing or changed: positions {where}")


@click.command(name="drop-archived")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--copies", callback=_directory, metavar="DIRECTORY", help="For copies of what is in an object store.")
@as_json
def drop_archived(yes: bool, copies: SegmentPlace | None, as_json: bool) -> None:
    """Take the text of archived events out of the database: from then on the segments alone have it.

    For the owner of the tables: on PostgreSQL name that role in GRANTLOG_MIGRATION_DATABASE_URL. Each segment is read
    and verified once more, and compared with the database; then one transaction records `log.archive_dropped` and
    takes the texts away. Positions, streams, types and everything that is looked for by stay. The servers read the
    segments where they were put, so that must be a directory which every node sees, and which is backed up like the
    database; those in an object store are copied into such a directory, if one is named. Every node has to be of this
    version or a later one, and no earlier one starts on the log any more. Afterwards `VACUUM` gives the room back."""
    settings = load_settings()
    require_schema(settings)
    if not yes:
        click.echo("The archived events will stand in the segments alone.", err=True)
        click.confirm("No earlier version will start on this log any more. Go on?", abort=True, err=True)
    owner = replace(settings, database_url=settings.migration_database_url or settings.database_url)

    async def work(services: CommandServices) -> list[Archived]:
        with ProgressBar("drop") as bar:
            return [each async for each in segments.drop_archived(services.ledger, services.origin, bar, copies)]

    async def inside() -> list[Archived]:
        async with opened(owner, open_keys(settings)) as services:
            return await _in_words(work, services)

    with in_plain_words(settings):
        dropped = asyncio.run(inside())
    print_list([_members(each) for each in dropped], COLUMNS, as_json)


async def _in_words(work: Callable[[CommandServices], Awaitable[T]], services: CommandServices) -> T:
    try:
        with patiently():
            return await work(services)
    except (PlaceAway, SegmentDamaged) as error:
        raise Failure(f"an event was not read again whole, and nothing was done with its segment: {error}") from None
    except Diverged as error:
        await services.diverge(error)
        raise Failure("the log does not fit its tree, and nothing more is done with it") from None
    except NotArchived as error:
        raise refused(error.refusal) from None
    except OlderNode:
        raise Failure(
            "nothing was dropped: a node that serves this log, or did within the last minute, is of a version that "
            "would not find what is dropped; upgrade every node first"
        ) from None


def _members(archived: Archived) -> Mapping[str, Any]:
    return {
        "segment": archived.segment,
        "first": archived.first,
        "last": archived.last,
        "events": archived.count,
        "bytes": archived.size,
        "sha256": archived.sha256,
        "before": moment(archived.before),
        "place": archived.place,
    }


def _state(seen: SegmentLook, check: bool) -> Mapping[str, Any]:
    return {"state": seen.problem or "whole"} if check else {}
