"""What the demo application remembers about browsers: in memory, gone when it stops."""

import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from demo.authorization import Pending, Token, Trouble

SESSIONS = 1000


@dataclass(frozen=True)
class Session:
    """What the application remembers about one browser. `trouble`, `done` and `answer` are for the next page only."""

    csrf: str
    pending: Pending | None = None
    token: Token | None = None
    trouble: Trouble | None = None
    done: str | None = None
    answer: dict[str, Any] | None = None


class Sessions:
    """Sessions in memory by a random id; the one unused for longest goes first."""

    def __init__(self) -> None:
        self.kept: OrderedDict[str, Session] = OrderedDict()
        self.lock = threading.Lock()

    def find(self, key: str | None) -> Session:
        with self.lock:
            if key is None or key not in self.kept:
                return Session(csrf=secrets.token_urlsafe(16))
            self.kept.move_to_end(key)
            return self.kept[key]

    def keep(self, former: str | None, session: Session, *, fresh: bool) -> str:
        """Remembers the session, under a new id where `fresh`, and gives its id."""
        with self.lock:
            known = former is not None and former in self.kept
            key = former if former is not None and known and not fresh else secrets.token_urlsafe(32)
            if former is not None and known and fresh:
                del self.kept[former]
            self.kept[key] = session
            self.kept.move_to_end(key)
            while len(self.kept) > SESSIONS:
                self.kept.popitem(last=False)
            return key
