"""Answers about the log as a person reads them: what it is about, and what happened, an event a line."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import rich_click as click

from api.audit.answering.state import State
from api.cli.event_line import full, who
from api.cli.showing import print_one, text

if TYPE_CHECKING:
    from api.audit.answering.token_history import TokenHistory
    from api.audit.answering.token_state import TokenState
    from api.audit.rendering import ShownEvent

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
