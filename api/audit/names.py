"""What the ids in an event are called now, so that a list of events can be read without looking each of them up."""

from collections.abc import Iterator, Mapping
from typing import Any

from domain import account, client
from eventstore.asking import Connection
from eventstore.privacy import Privacy
from projections import accounts, clients

CLIENTS = ("client_id", "seen_by")
PEOPLE = ("account_id",)
"""Members of events that hold the id of one."""


class Names:
    """Looks each id up once, within one read. A person's name is told to readers with `audit:personal` alone."""

    def __init__(self, privacy: Privacy, connection: Connection, *, personal: bool) -> None:
        self._privacy = privacy
        self._connection = connection
        self._personal = personal
        self._known: dict[str, str | None] = {}

    def of(self, stream: str, kind: str, actor_id: str | None, data: Mapping[str, Any]) -> dict[str, str | None]:
        """By the stream of the client or person: `client:…`, `account:…`."""
        return {found: self._name(found) for found in dict.fromkeys(_streams(stream, kind, actor_id, data))}

    def _name(self, stream: str) -> str | None:
        if stream not in self._known:
            self._known[stream] = self._look_up(stream)
        return self._known[stream]

    def _look_up(self, stream: str) -> str | None:
        category, _, key = stream.partition(":")
        if category == "client":
            row = clients.by_id(self._connection, key)
            return None if row is None else row.client_name
        person = accounts.by_id(self._connection, key) if self._personal else None
        if person is None:
            return None
        names = (person.name, person.username, person.email)
        return next((clear for each in names if (clear := self._privacy.open(self._connection, each))), None)


def _streams(stream: str, kind: str, actor_id: str | None, data: Mapping[str, Any]) -> Iterator[str]:
    category, _, rest = stream.partition(":")
    if category in ("client", "account"):
        yield stream
    elif category == "consent":
        account_id, _, client_id = rest.partition(":")
        yield account.stream(account_id)
        yield client.stream(client_id)
    if actor_id is not None and kind in ("person", "client"):
        yield account.stream(actor_id) if kind == "person" else client.stream(actor_id)
    for members, named in ((CLIENTS, client.stream), (PEOPLE, account.stream)):
        yield from (named(value) for member in members if isinstance(value := data.get(member), str))
