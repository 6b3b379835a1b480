"""What the server decided, in numbers: tokens, sign-ins, refusals, replays. No label holds what a caller chose."""

import collections
from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter

from domain import code, grant, session
from domain.event import Recorded
from domain.exchange import Exchanged
from domain.grants import GRANTS, password, refresh_token, token_exchange

PASSWORD = password.GRANT.grant_type
REFRESH = refresh_token.GRANT.grant_type
EXCHANGE = token_exchange.GRANT.grant_type

FAMILIES = {
    "tokens": ("Access tokens issued, by grant type.", ("grant_type",)),
    "sign_ins": ("Sign-ins of people, by what came of them.", ("outcome",)),
    "refusals": ("Refused requests, by OAuth's error and the reason, where there is one.", ("error", "reason")),
    "replays": ("Codes and refresh tokens that were used once more, which ended their grants.", ("kind",)),
}
"""By the names of the counters, without their prefix."""


class Facts:
    """One process's counts. `write` hands on what was counted since the last call."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._counters = {
            name: Counter(f"grantlog_{name}", text, labels, registry=registry)
            for name, (text, labels) in FAMILIES.items()
        }
        self._counted: collections.Counter[tuple[str, ...]] = collections.Counter()
        self._written: dict[tuple[str, ...], int] = {}
        # Known from the beginning, so that the first of them is an increase.
        for grant_type in GRANTS:
            self._counted["tokens", grant_type] = 0
        for outcome in ("succeeded", "failed"):
            self._counted["sign_ins", outcome] = 0
        for kind in ("code", "refresh_token"):
            self._counted["replays", kind] = 0

    def recorded(self, recorded: Iterable[Recorded]) -> None:
        """Counts what was committed."""
        for each in recorded:
            self._count(each.event)

    def _count(self, event: Any) -> None:
        match event:
            case grant.TokensIssued():
                self._counted["tokens", event.grant_type] += 1
                if event.grant_type == PASSWORD:
                    self._counted["sign_ins", "succeeded"] += 1
            case grant.TokensRefreshed():
                self._counted["tokens", REFRESH] += 1
            case Exchanged():
                self._counted["tokens", EXCHANGE] += 1
            case session.SessionStarted():
                self._counted["sign_ins", "succeeded"] += 1
            case code.CodeReplayed():
                self._counted["replays", "code"] += 1
            case grant.RefreshReplayed():
                self._counted["replays", "refresh_token"] += 1

    def sign_in_failed(self) -> None:
        """Counts a wrong name, password or factor."""
        self._counted["sign_ins", "failed"] += 1

    def refused(self, error: str, reason: str | None) -> None:
        """Counts a refusal; both are words of closed lists."""
        self._counted["refusals", error, reason or ""] += 1

    @property
    def families(self) -> Mapping[str, tuple[str, tuple[str, ...]]]:
        """What is counted: by name the meaning and the labels."""
        return FAMILIES

    def counted(self, name: str) -> list[tuple[dict[str, str], int]]:
        """The counts of one of them by this process, with their labels."""
        labels = FAMILIES[name][1]
        return [
            (dict(zip(labels, key[1:], strict=True)), count)
            for key, count in list(self._counted.items())
            if key[0] == name
        ]

    def write(self) -> None:
        """Hands on what was counted."""
        for key, count in list(self._counted.items()):
            before = self._written.get(key)
            if count != before:
                name, *labels = key
                self._counters[name].labels(*labels).inc(count - (before or 0))
                self._written[key] = count
