"""What the commands that read the log do with the ledger; the same as the API does, each reading an event as there."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

import rich_click as click

from api.audit import readings
from api.audit.answering import state as states
from api.audit.answering import token_history as histories
from api.audit.answering import token_state as judgements
from api.audit.answering.events import page
from api.audit.answering.export import prepared
from api.audit.answering.filters import read_filters
from api.cli.failures import Failure, of_problem
from api.cli.reading.sources import auditor
from api.leaks.presented import nothing_in
from api.pagination import LARGEST
from api.problems import Missing, Problem
from security.extraction import extract

if TYPE_CHECKING:
    from api.audit.answering.state import State
    from api.audit.answering.token_history import TokenHistory
    from api.audit.answering.token_state import TokenState
    from api.audit.formats import Format
    from api.audit.rendering import ShownEvent
    from api.cli.opening import Here
    from security.tokens import Format as SecretFormat


async def history(
    here: "Here", text: str | None, sha256: str | None, id: str | None, *, names: bool, sealed: bool
) -> "TokenHistory":
    """The history of the first secret in a text, or of what a digest or an id names."""
    token = None if text is None else first_secret(text, here.format)
    with _in_words():
        try:
            return await histories.token_history(auditor(here, sealed=sealed), token, sha256, id, names=names)
        except Missing:
            if token is None or here.format.parse(token) is not None:
                raise
            raise Failure(nothing_in(token, here.format)) from None


async def token_state(
    here: "Here", text: str | None, sha256: str | None, at: str | None, position: int | None
) -> "TokenState":
    """Whether the first secret in a text, or the one with a digest, was valid."""
    token = None if text is None else first_secret(text, here.format)
    if token is not None and here.format.parse(token) is None:
        click.echo(nothing_in(token, here.format), err=True)
    with _in_words():
        return await judgements.token_state(auditor(here, sealed=True), token, sha256, at, position)


async def stream_state(here: "Here", stream: str, at: str | None, position: int | None, *, sealed: bool) -> "State":
    """An aggregate as it was."""
    with _in_words():
        return await states.state_of(auditor(here, sealed=sealed), stream, at, position)


async def list_events(
    here: "Here",
    given: Mapping[str, Any],
    limit: int,
    show: "Callable[[Sequence[ShownEvent], bool], None]",
    *,
    sealed: bool,
) -> bool:
    """Hands over up to `limit` events that match, as many at a time as a page of the API has and each time whether they
    are the first ones; whether there are more.
    """
    asking, after = auditor(here, sealed=sealed), None
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
    here: "Here",
    given: Mapping[str, Any],
    form: "Format",
    sink: BinaryIO,
    progress: Callable[[int, int], None],
    *,
    proof: bool,
    sealed: bool,
) -> None:
    """Writes an export; whatever becomes of it, its end is recorded before this returns."""
    with _in_words():
        wanted = await prepared(auditor(here, sealed=sealed), read_filters(**given), form, proof=proof, steps=None)
    try:
        async with aclosing(await wanted.open()) as parts:
            async for part in parts:
                sink.write(part.lines)
                sink.flush()
                progress(*wanted.looked_through(part))
    finally:
        await readings.closed()


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
    except Problem as problem:
        raise of_problem(problem) from None
