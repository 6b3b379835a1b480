"""What the commands that read the log do with the ledger; the same as the API does, each reading an event as there."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec
import rich_click as click

from api.audit.queries import auditor as queries_auditor
from api.audit.queries import history as histories
from api.audit.queries import history as judgements
from api.audit.queries import history as states
from api.audit.queries.auditor import Auditor
from api.audit.queries.export import prepared
from api.audit.queries.filters import read_filters
from api.audit.queries.history import State
from api.audit.queries.search import page
from api.http.errors import HTTPError, Missing
from api.http.parameters import LARGEST
from api.leaks.resolve import nothing_in
from cli.event_line import full, who
from cli.failures import Failure, of_problem
from cli.output import print_one, text
from commands import servers
from domain import server
from eventstore.projecting.catch_up import CatchUpSubscription, EventIndexing
from eventstore.transparency.published import is_accepted
from security.scanning import extract

if TYPE_CHECKING:
    from api.audit.queries.export import Format as ExportFormat
    from api.audit.queries.history import TokenHistory, TokenState
    from api.audit.rendering import ShownEvent
    from api.config.settings import Settings
    from cli.services import CommandServices
    from eventstore.ledger import Ledger
    from eventstore.transparency.published import Diverged
    from security.tokens import Format
    from security.tokens import Format as SecretFormat


# What answers about the log are made of while a command runs, and who asks for them.


class _Alarm:
    """Tells whoever ran the command, and the servers by way of the log."""

    def __init__(self, services: "CommandServices") -> None:
        self._here = services

    async def diverge(self, found: "Diverged", /) -> None:
        click.echo(str(found), err=True)
        await diverged(self._here, found)


@dataclass(frozen=True, slots=True)
class _Sources:
    settings: "Settings"
    ledger: "Ledger"
    format: "Format"
    search_index: CatchUpSubscription
    transparency: _Alarm


def auditor(services: "CommandServices", *, sealed: bool) -> Auditor:
    """The system's user, who sees personal values unless they want them to stay sealed."""
    index = CatchUpSubscription(services.ledger, EventIndexing())
    sources = _Sources(services.settings, services.ledger, services.format, index, _Alarm(services))
    return Auditor(sources, services.origin, not sealed)


async def diverged(services: "CommandServices", found: "Diverged") -> None:
    """Records what a command came upon, unless somebody accepted it: nothing is signed or issued by any server then."""
    state: server.State = await services.ledger.state(server.STREAM)
    if not await services.ledger.read(is_accepted, found.position, state.accepted):
        await services.execute(servers.note_divergence(str(found), found.position))


# Answers about the log as a person reads them: what it is about, and what happened, an event a line.

POSITION, TIME, TYPE = 8, 27, 30
"""Widths of the columns. Those of a long list cannot follow from all that is in it."""


def print_history(found: "TokenHistory") -> None:
    """What it is and how it stands, and its events from the first to the last."""
    members: dict[str, Any] = {
        "kind": found.kind,
        "state": found.state.replace("_", " "),
        "client": _named(found.client_name, found.client_id),
        "secret": None if found.secret is None else f"{found.secret.id} (version {found.secret.version})",
    }
    facts = ("account_id", "grant_id", "scope", "issued_at", "expires_at", "sha256")
    print_one(members | {name: getattr(found, name) for name in facts}, False)
    click.echo()
    print_events(found.events, as_json=False, begins=True)


def print_state(found: "State | TokenState") -> None:
    """A token's judgement, or a state with its members a line each."""
    members: dict[str, Any] = msgspec.to_builtins(found)
    if isinstance(found, State):
        state = members.pop("state")
        print_one(members, False)
        click.echo()
        members = {name: value if isinstance(value, bool | None) else full(value) for name, value in state.items()}
    print_one(members, False)


def print_events(events: "Sequence[ShownEvent]", *, as_json: bool, begins: bool) -> None:
    """Events, an event a line; columns have a heading where the list begins."""
    if as_json:
        for event in events:
            click.echo(msgspec.json.encode(event))
        return
    if begins:
        click.echo(click.style(_row("position", "time", "type", "meaning"), bold=True))
    for event in events:
        by = f"By {who(msgspec.to_builtins(event.actor))}."
        click.echo(_row(str(event.position), event.time, event.type, f"{event.meaning} {by}{_names(event)}"))


def _row(position: str, time: str, type: str, said: str) -> str:
    return f"{position:<{POSITION}}  {time:<{TIME}}  {text(type):<{TYPE}}  {text(said)}".rstrip()


def _names(event: "ShownEvent") -> str:
    named = event.names or {}
    told = "; ".join(f"{stream} is {name}" for stream, name in named.items() if name is not None)
    return f" ({told})" if told else ""


def _named(name: str | None, id: str | None) -> str | None:
    return id if name is None else f"{name} ({id})"


async def history(
    services: "CommandServices", text: str | None, sha256: str | None, id: str | None, *, names: bool, sealed: bool
) -> "TokenHistory":
    """The history of the first secret in a text, or of what a digest or an id names."""
    token = None if text is None else first_secret(text, services.format)
    with _in_words():
        try:
            return await histories.token_history(auditor(services, sealed=sealed), token, sha256, id, names=names)
        except Missing:
            if token is None or services.format.parse(token) is not None:
                raise
            raise Failure(nothing_in(token, services.format)) from None


async def token_state(
    services: "CommandServices", text: str | None, sha256: str | None, at: str | None, position: int | None
) -> "TokenState":
    """Whether the first secret in a text, or the one with a digest, was valid."""
    token = None if text is None else first_secret(text, services.format)
    if token is not None and services.format.parse(token) is None:
        click.echo(nothing_in(token, services.format), err=True)
    with _in_words():
        return await judgements.token_state(auditor(services, sealed=True), token, sha256, at, position)


async def stream_state(
    services: "CommandServices", stream: str, at: str | None, position: int | None, *, sealed: bool
) -> "State":
    """An aggregate as it was."""
    with _in_words():
        return await states.state_of(auditor(services, sealed=sealed), stream, at, position)


async def list_events(
    services: "CommandServices",
    given: Mapping[str, Any],
    limit: int,
    show: "Callable[[Sequence[ShownEvent], bool], None]",
    *,
    sealed: bool,
) -> bool:
    """Hands over up to `limit` events that match, as many at a time as a page of the API has and each time whether they
    are the first ones; whether there are more.
    """
    asking, after = auditor(services, sealed=sealed), None
    with _in_words():
        filters = read_filters(**given)
        while True:
            found = await page(asking, filters, min(limit, LARGEST), after, steps=None)
            show(found.items, after is None)
            limit -= len(found.items)
            after = found.next
            if after is None or limit == 0:
                return after is not None


async def export(
    services: "CommandServices",
    given: Mapping[str, Any],
    form: "ExportFormat",
    sink: BinaryIO,
    progress: Callable[[int, int], None],
    *,
    proof: bool,
    sealed: bool,
) -> None:
    """Writes an export; whatever becomes of it, its end is recorded before this returns."""
    with _in_words():
        wanted = await prepared(auditor(services, sealed=sealed), read_filters(**given), form, proof=proof, steps=None)
    try:
        async with aclosing(await wanted.open()) as parts:
            async for part in parts:
                sink.write(part.lines)
                sink.flush()
                progress(*wanted.looked_through(part))
    finally:
        await queries_auditor.closed()


def first_secret(text: str, format: "SecretFormat") -> str:
    """The first secret in a text; the text itself, without what surrounds it, where there is none of ours."""
    found = extract(text, format).secrets
    if not found:
        return text.strip()
    if len(found) > 1:
        click.echo(f"{len(found):,} secrets are in the text; this is about the first", err=True)
    return found[0].reveal()


@contextmanager
def _in_words() -> Iterator[None]:
    try:
        yield
    except HTTPError as problem:
        raise of_problem(problem) from None
