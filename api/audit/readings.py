"""Readings of the log in words: what somebody asked, and how much they got."""

import re
from collections.abc import Mapping
from typing import Any

ASKED: Mapping[str, str] = {
    "events": "searched the log",
    "event": "read an event",
    "token_history": "asked for the story of a token",
    "token_state": "asked whether a token was valid",
    "state": "asked what something was at a moment",
    "proof": "took the receipt of an event",
    "entries": "fetched events as they are stored",
    "leak_investigation": "asked what came of a secret",
    "leak_containment": "was told what a containment ended",
    "leak_containment_dry_run": "asked what a containment would end",
    "incidents": "looked at incidents",
    "find": "asked what a text names",
    "counts": "counted events",
    "overview": "looked at the overview",
    "diff": "asked what changed between two moments",
}
"""What somebody asked; the questions are those of `domain.audit.Question`."""

_TYPES = re.compile(r"[a-z_.*]+(?:[ ,]+[a-z_.*]+)*")


def asked_in_words(data: Mapping[str, Any]) -> str:
    """Says what was asked, of that only types and positions: anyone who reads it need not be told whom it was about."""
    asked: Mapping[str, str] = data.get("parameters") or {}
    what, position, types = ASKED.get(data.get("question", ""), "asked"), asked.get("position"), asked.get("type")
    if position is not None and position.isdigit():
        what = what.replace("an event", f"event {position}")
    elif types is not None and len(types) <= 80 and _TYPES.fullmatch(types):
        what += f" for {', '.join(re.split('[ ,]+', types))}"
    shown = ", with personal values" if data.get("unsealed") else ""
    count = data.get("count", 0)
    return f"Somebody {what}: {count} {'record' if count == 1 else 'records'}{shown}."
