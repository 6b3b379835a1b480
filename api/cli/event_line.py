"""One event as a line that a person can read, or as a page. Sealed values are named and never opened."""

from collections.abc import Iterator
from typing import Any

import msgspec
import rich_click as click

from api.cli.showing import text
from domain.events import EVENTS

SEALED = "•sealed•"
LONGEST = 60
PERSONAL = {event.type: event.personal for event in EVENTS}
_DIGEST = 64

_COLOURS = (
    (("failed", "refused", "replayed", "denied", "expired_used", "unknown"), "red"),
    (("ended", "revoked", "disabled", "deleted", "erased", "withdrawn", "retired"), "yellow"),
    (("issued", "refreshed", "redeemed", "started", "given", "extended"), "green"),
)


def line(stored: str) -> str:
    """Position, time of day in UTC, type, stream, who, and what."""
    event = msgspec.json.decode(stored)
    facts = " ".join(
        f"{click.style(name, dim=True)}={_short(value)}"
        for name, value in _data(event).items()
        if value not in ((), [], {}, None)
    )
    parts = (
        click.style(f"{event['position']:>6}", dim=True),
        click.style(event["time"][11:23], dim=True),
        click.style(f"{event['type']:<26}", fg=_colour(event["type"]), bold=True),
        text(event["stream"]),
        click.style("by", dim=True),
        _actor(event["actor"]),
        facts,
    )
    return " ".join(part for part in parts if part)


def page(stored: str) -> str:
    """Everything that the event says, a member a line."""
    event = msgspec.json.decode(stored)
    shown = {name: event[name] for name in ("position", "id", "type", "stream", "version", "time")}
    shown |= {"actor": _actor(event["actor"])}
    shown |= {"request_id": event.get("request_id")}
    shown |= {name: SEALED if event.get(name) else None for name in ("ip", "user_agent")}
    lines = [f"{name:<12}{text(value)}" for name, value in shown.items()]
    lines.append("data")
    lines += [f"  {name:<28}{_full(value)}" for name, value in _data(event).items()]
    return "\n".join(lines)


def _data(event: dict[str, Any]) -> dict[str, Any]:
    sealed = PERSONAL.get(event["type"], ())
    return {name: SEALED if name in sealed and value else value for name, value in event["data"].items()}


def _actor(actor: dict[str, Any]) -> str:
    credential = actor.get("credential") or {}
    means = " ".join(f"{name}={text(value)}" for name, value in credential.items())
    return " ".join(part for part in (actor["kind"], text(actor["id"]) if actor.get("id") else "", means) if part)


def _colour(tag: str) -> str:
    verb = tag.partition(".")[2]
    return next((colour for words, colour in _COLOURS if any(word in verb for word in words)), "cyan")


def _short(value: Any) -> str:
    whole = _full(value)
    if len(whole) == _DIGEST and all(character in "0123456789abcdef" for character in whole):
        return f"{whole[:8]}…"
    return whole if len(whole) <= LONGEST else f"{whole[: LONGEST - 1]}…"


def _full(value: Any) -> str:
    return "".join(_plain(value))


def _plain(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield "{" + ", ".join(f"{text(name)}: {_full(inner)}" for name, inner in value.items()) + "}"
    elif isinstance(value, list):
        yield ",".join(map(_full, value))
    else:
        yield text(value)
