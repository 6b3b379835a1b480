"""A log that stays where it was made, with its settings and what was prepared in it, so that it is measured again."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from bench.prepared.preparation import Prepared


class KeptLog:
    """What a folder knows of the log that belongs to it."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "kept.json"
        self._known: dict[str, Any] = msgspec.json.decode(self._file.read_bytes()) if self._file.exists() else {}

    @property
    def settings(self) -> dict[str, str]:
        """Of every server over it; empty where there is no log yet."""
        return dict(self._known.get("settings", {}))

    @property
    def events(self) -> int:
        """How many it was made with."""
        return int(self._known.get("events", 0))

    @property
    def prepared(self) -> Prepared | None:
        """What was prepared in it, without tokens: those have expired meanwhile."""
        known = self._known.get("prepared")
        return None if known is None else Prepared(**known)

    @property
    def password(self) -> str | None:
        """Of the one who looks at it."""
        return self._known.get("password")

    def grown(self, settings: Mapping[str, str], events: int) -> None:
        """Remembers a log that is whole."""
        self._keep(settings=dict(settings), events=events)

    def furnished(self, prepared: Prepared, password: str) -> None:
        """Remembers what was prepared."""
        names = ("service", "shop", "administrator", "authorize", "cookie")
        self._keep(prepared={name: getattr(prepared, name) for name in names}, password=password)

    def _keep(self, **more: Any) -> None:
        self._known |= more
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_bytes(msgspec.json.format(msgspec.json.encode(self._known)))
        self._file.chmod(0o600)
