"""Events and answers about the log as a person reads them: an event a line, or a page. What is sealed stays so."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import rich_click as click

from api.audit.queries.history import StateShown, TokenHistory, TokenState
from api.audit.queries.overview import Overview
from api.audit.rendering import ShownEvent, moments
from cli.terminal import print_list, print_one, text
from domain.events import EVENTS

SEALED = "•sealed•"
LONGEST = 60
PERSONAL = {event.type: event.personal for event in EVENTS}
_DIGEST = 64
_STYLE = re.compile(r"(\x1b\[[0-9;]*m)")

_COLOURS = (
    (("failed", "refused", "replayed", "denied", "expired_used", "unknown"), "red"),
    (("ended", "revoked", "disabled", "deleted", "erased", "withdrawn", "retired"), "yellow"),
    (("issued", "refreshed", "redeemed", "started", "given", "extended"), "green"),
)


Named = Callable[[str], str | None]
"""What a stream is called that nothing personal is told by: the name of a client."""


def line(stored: str, named: Named = lambda _: None, width: int | None = None) -> str:
    """Position, time of day in UTC, type, stream, who, and what; no longer than `width`. What `who` says of the
    credential is not said again."""
    event = msgspec.json.decode(stored)
    told = event["actor"].get("credential") or {}
    facts = " ".join(
        f"{click.style(name, dim=True)}={_short(value)}"
        for name, value in _data(event).items()
        if value not in ((), [], {}, None) and value != told.get(name)
    )
    parts = (
        click.style(f"{event['position']:>6}", dim=True),
        click.style(event["time"][11:23], dim=True),
        click.style(f"{event['type']:<26}", fg=_colour(event["type"]), bold=True),
        _called(event["stream"], named),
        click.style("by", dim=True),
        who(event["actor"], named),
        facts,
    )
    whole = " ".join(part for part in parts if part)
    return whole if width is None else fitted(whole, width)


def fitted(styled: str, width: int) -> str:
    """As much of a styled line as has room, and a mark where something was left out."""
    if len(click.unstyle(styled)) <= width:
        return styled
    shown, left = [], width - 1
    for part in _STYLE.split(styled):
        if not _STYLE.fullmatch(part):
            part = part[:left]
            left -= len(part)
        shown.append(part)
    return "".join(shown) + "…"


def page(stored: str) -> str:
    """Everything that the event says, a member a line."""
    event = msgspec.json.decode(stored)
    shown = {name: event[name] for name in ("position", "id", "type", "stream", "version", "time")}
    shown |= {"actor": who(event["actor"])}
    shown |= {"request_id": event.get("request_id")}
    shown |= {name: SEALED if event.get(name) else None for name in ("ip", "user_agent")}
    lines = [f"{name:<12}{text(value)}" for name, value in shown.items()]
    lines.append("data")
    lines += [f"  {name:<28}{full(value)}" for name, value in _data(event).items()]
    return "\n".join(lines)


def _data(event: dict[str, Any]) -> dict[str, Any]:
    sealed = PERSONAL.get(event["type"], ())
    data = {name: SEALED if name in sealed and value else value for name, value in event["data"].items()}
    found: dict[str, Any] = moments(data)
    return found


def _called(stream: str, named: Named) -> str:
    kind, colon, key = stream.partition(":")
    name = named(stream)
    return text(kind) + colon + (_short(key) if name is None else text(name))


def who(actor: dict[str, Any], named: Named = lambda _: None) -> str:
    """Who did it, and by what means."""
    credential = actor.get("credential") or {}
    means = " ".join(f"{name}={text(value)}" for name, value in credential.items())
    name = named(f"client:{actor['id']}") if actor["kind"] == "client" else None
    known = name or actor.get("id")
    return " ".join(part for part in (actor["kind"], text(known) if known else "", means) if part)


def _colour(tag: str) -> str:
    verb = tag.partition(".")[2]
    return next((colour for words, colour in _COLOURS if any(word in verb for word in words)), "cyan")


def _short(value: Any) -> str:
    whole = full(value)
    if len(whole) == _DIGEST and all(character in "0123456789abcdef" for character in whole):
        return f"{whole[:8]}…"
    return whole if len(whole) <= LONGEST else f"{whole[: LONGEST - 1]}…"


def full(value: Any) -> str:
    """A value in a line, structures with all that is in them."""
    return "".join(_plain(value))


def _plain(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield "{" + ", ".join(f"{text(name)}: {full(inner)}" for name, inner in value.items()) + "}"
    elif isinstance(value, list):
        yield ",".join(map(full, value))
    else:
        yield text(value)


# Answers about the log as a person reads them: what it is about, and what happened, an event a line.

POSITION, TIME, TYPE = 8, 27, 30
"""Widths of the columns. Those of a long list cannot follow from all that is in it."""


def print_history(found: TokenHistory) -> None:
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


def print_state(found: StateShown | TokenState) -> None:
    """A token's judgement, or a state with its members a line each."""
    members: dict[str, Any] = msgspec.to_builtins(found)
    if isinstance(found, StateShown):
        state = members.pop("state")
        print_one(members, False)
        click.echo()
        members = {name: value if isinstance(value, bool | None) else full(value) for name, value in state.items()}
    print_one(members, False)


def print_overview(found: Overview) -> None:
    """The numbers first, then what they are made of."""
    facts = {
        "at": found.at,
        "frozen_since": found.frozen_since,
        "open_incidents": found.incidents.count,
        "secrets_near_expiry": found.secrets_near_expiry.count,
        "lag": ", ".join(f"{name} {behind}" for name, behind in found.lag.items()),
    }
    print_one(facts, False)
    click.echo()
    lines = [
        {"in_24_hours": each.name, "count": sum(each.hours), "a_week_ago": sum(each.week_before)}
        for each in found.lines
    ]
    print_list(lines, ("in_24_hours", "count", "a_week_ago"), False)
    lists: tuple[tuple[Sequence[msgspec.Struct], tuple[str, ...]], ...] = (
        (found.incidents.items, ("incident_id", "state", "kind", "client_id", "account_id", "reported_at")),
        (found.secrets_near_expiry.items, ("client_name", "client_id", "version", "expires_at")),
    )
    for items, columns in lists:
        if items:
            click.echo()
            print_list([msgspec.to_builtins(each) for each in items], columns, False)
    if found.administrative_acts:
        click.echo()
        print_events(found.administrative_acts, as_json=False, begins=True)


def print_events(events: Sequence[ShownEvent], *, as_json: bool, begins: bool) -> None:
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


def _names(event: ShownEvent) -> str:
    named = event.names or {}
    told = "; ".join(f"{stream} is {name}" for stream, name in named.items() if name is not None)
    return f" ({told})" if told else ""


def _named(name: str | None, id: str | None) -> str | None:
    return id if name is None else f"{name} ({id})"
