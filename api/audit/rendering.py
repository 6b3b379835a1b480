"""Stored events as the contract shows them: personal values to those who may see them, to others `null` and a path."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from api.audit.readings import asked_in_words
from domain import account, client
from domain.event import Event, Sealed
from domain.events import EVENTS
from domain.grants import GRANTS
from eventstore.database import Connection
from eventstore.personal_data import PersonalData
from projections import accounts, clients
from security.clock import format_rfc3339
from security.sealing import SealBroken

# What an event means, in a sentence for somebody who knows nothing of OAuth or of Grantlog.

ENDED: Mapping[str, str] = {
    "person": "the person withdrew it",
    "client": "its client gave it back",
    "administrator": "an administrator ended it",
    "code_replay": "its code was presented a second time, so it was in two hands",
    "refresh_replay": "a refresh token that had been used up was presented again, so it was in two hands",
    "secret_leak": "a secret of it had leaked",
    "account": "the person's account was closed",
    "password_changed": "the person's password was changed",
    "expiry_policy": "its time was over",
    "logout": "the person signed out",
}
"""Why a grant ended; the reasons are those of `domain.grant.GrantEndReason`."""

REFUSED: Mapping[str, str] = {
    "unknown": "it is not known",
    "expired": "it had expired",
    "replayed": "it had been used before",
    "ended": "its grant was over",
    "foreign_client": "another client presented it",
    "redirect_uri": "the redirect URI was not the one that it was issued for",
    "verifier": "the PKCE verifier was wrong or missing",
    "proof_key": "the DPoP proof was missing, or made with another key than it is bound to",
    "credentials": "the credentials were wrong",
    "client_cut_off": "its client had been disabled or deleted",
    "person_cut_off": "the person had been disabled or erased, or had changed the password",
    "secret_cut_off": "the client secret behind it had been ended with all its tokens",
    "consent_withdrawn": "the person had withdrawn their consent",
    "unauthorized_client": "its client may not use this grant type",
}
"""Why a code or refresh token was refused, by the reasons of `InvalidGrant`; the others are of what came along."""
Data = Mapping[str, Any]


def _refused(reason: str) -> str:
    return REFUSED.get(reason) or f"what came with it was not right: {reason.replace('_', ' ')}"


def _tokens_issued(data: Data) -> str:
    grant = GRANTS.get(data["grant_type"])
    how = f"by the grant {data['grant_type']}" if grant is None else grant.granted
    return f"The first tokens were issued {how}{_version(data)}."


def _version(data: Data) -> str:
    version = data.get("secret_version")
    return "" if version is None else f"; the client showed version {version} of its secret"


_UNITS = ((86_400, "day"), (3_600, "hour"))


def _lasting(seconds: int) -> str:
    """So many seconds in the largest unit that they are whole numbers of."""
    size, unit = next(((size, unit) for size, unit in _UNITS if seconds and seconds % size == 0), (1, "second"))
    return f"{seconds // size} {unit}{'' if seconds == size else 's'}"


def _secret_rotated(data: Data) -> str:
    begins, others = data.get("not_before_in"), data.get("others_expire_in")
    made = f"Version {data['version']} of the secret was made{f', to work after {_lasting(begins)}' if begins else ''}"
    if others is None:
        return f"{made}; the others stay as they were."
    when = "ended at once" if others == 0 else f"end after {_lasting(others)}"
    return f"{made}; the others {when}."


def _secret_revoked(data: Data) -> str:
    if data["tokens"] == "revoke":
        return "The secret version was ended, and with it every token that it had authenticated."
    return "The secret version was ended; tokens that it had authenticated live on."


def _times(data: Data) -> str:
    count = data.get("count", 1)
    return "once" if count == 1 else f"{count} times"


def _token_seen(data: Data) -> str:
    ended = data.get("ended")
    if data.get("unproved"):
        return f"The token was brought {_times(data)} without the key to which it is bound, and refused."
    if ended is None:
        return f"The token was used {_times(data)}{' more' if 'count' in data else ''}."
    return f"The token was presented {_times(data)} after its end; it was dead already: {ended.replace('_', ' ')}."


def _places(data: Data) -> str:
    origins = data.get("origins")
    return f", at {', '.join(origins)}" if origins else ""


def _since(data: Data) -> str:
    return "" if data.get("since_at") is None else ", as far as it was issued since a moment"


def _export_closed(data: Data) -> str:
    count, whole = data.get("count", 0), data.get("completion") == "complete"
    told = f"{count} {'record was' if count == 1 else 'records were'} handed out"
    return f"An export is over: {told}{'' if whole else ', and the rest was not'}."


def _watched(data: Data) -> str:
    within = _lasting(data.get("seconds", 0))
    return f"{asked_in_words(data)[:-1]}; looks again and again, of which nothing tells within {within}."


_SENTENCES: Mapping[str, Callable[[Data], str]] = {
    "grant.tokens_issued": _tokens_issued,
    "grant.tokens_refreshed": lambda data: f"A refresh token was used for new tokens{_version(data)}.",
    "grant.code_refused": lambda data: f"The code was refused: {_refused(data['reason'])}.",
    "grant.refresh_refused": lambda data: f"A refresh was refused: {_refused(data['reason'])}.",
    "grant.token_revoked": lambda data: f"One access token was revoked; that was the {data['by']}'s doing.",
    "grant.ended": lambda data: f"The grant ended with all its tokens: {ENDED.get(data['reason'], data['reason'])}.",
    "client.secret_issued": lambda data: f"Version {data['version']} of the client's secret was made.",
    "client.secret_rotated": _secret_rotated,
    "client.secret_revoked": _secret_revoked,
    "client.secret_expired_used": lambda data: f"The secret version was presented after its end, {_times(data)}.",
    "usage.token_first_seen": _token_seen,
    "usage.token_seen": _token_seen,
    "consent.given": lambda data: f"The person allowed the client this scope{_places(data)}.",
    "audit.read": asked_in_words,
    "audit.watched": _watched,
    "audit.export_closed": _export_closed,
    "audit.stream_opened": lambda data: f"Somebody began to follow the log from position {data['first']} on.",
    "incident.contained": lambda data: f"What had leaked was ended, with what had come of it{_since(data)}.",
    "usage.seen": lambda data: f"The secret version was used {_times(data)} more.",
}


def _first_sentence(text: str) -> str:
    return " ".join(text.split()).partition(". ")[0].removesuffix(".") + "."


_GENERAL: Mapping[str, str] = {event.type: _first_sentence(event.__doc__ or "") for event in EVENTS}
_MEMBER = re.compile(r"`([a-z_]+)`")


def _filled(tag: str, sentence: str, data: Data) -> str:
    """The sentence with the values of the members that it names. A personal or composed one keeps its name: who reads
    the sentence need not be somebody who may see it."""
    event = BY_TAG[tag]
    defaults = {field.name: field.default for field in msgspec.structs.fields(event)}

    def told(match: re.Match[str]) -> str:
        name = match[1]
        value = None if name in event.personal else data.get(name, defaults.get(name))
        if isinstance(value, list | tuple) and value and all(isinstance(each, str) for each in value):
            return ", ".join(value)
        if type(value) not in (str, int):
            return name.replace("_", " ")
        return _lasting(value) if name.endswith("_seconds") and isinstance(value, int) else str(value)

    filled = _MEMBER.sub(told, sentence)
    # What is told at once happened once, and within no time that was waited for.
    filled = filled.replace(" 1 times", " once").replace(" got 1 records", " got 1 record")
    return filled.replace(" within 0 seconds", "").replace(", to sign after 0 seconds", "")


def meaning(tag: str, data: Data) -> str:
    """The sentence. What the event's own page says of it, where nothing in it makes a difference."""
    sentence = _SENTENCES.get(tag)
    if sentence is not None:
        return sentence(data)
    general = _GENERAL[tag]
    return _filled(tag, general, data) if "`" in general else general


_ANY: Mapping[str, str] = {
    "count": "several",
    "window_seconds": "some time",
    "seconds": "some time",
    "lifetime": "so many",
    "active_in": "so many",
    "limit": "so many",
    "shown": "fewer",
    "known": "more",
    "due_at": "a date",
    "expires_at": "its end",
    "grace_ends_at": "a moment later",
}
"""Words that stand for numbers and moments where no event tells which."""

_ANYWHERE = (
    ("from the position `first` on", "from a position on"),
    ("from `first` on", "from a position on"),
    ("behind `last`", "behind a position"),
    ("the months `first` to `last`, both included,", "some months"),
    ("the time step `step`", "a time step"),
    ("the methods of `amr`", "some methods"),
    ("mailed of `off`", "mailed of some things"),
    (" (0: told at once)", ""),
)


def general_meaning(tag: str) -> str:
    """The sentence of any event of the type, with words for the members in the place of their values."""
    words = _GENERAL[tag]
    for members, said in _ANYWHERE:
        words = words.replace(members, said)
    return _MEMBER.sub(lambda match: _ANY.get(match[1], match[1].replace("_", " ")), words)


# What the ids in an event are called now, so that a list of events can be read without looking each of them up.

CLIENTS = ("client_id", "seen_by")
PEOPLE = ("account_id",)
"""Members of events that hold the id of one."""


class NameLookup:
    """Looks each id up once, within one read. A person's name is told to readers with `audit:personal` alone."""

    def __init__(self, privacy: PersonalData, connection: Connection, *, personal: bool) -> None:
        self._privacy = privacy
        self._connection = connection
        self._personal = personal
        self._known: dict[str, str | None] = {}

    def of(self, stream: str, kind: str, actor_id: str | None, data: Mapping[str, Any]) -> dict[str, str | None]:
        """By the stream of the client or person: `client:…`, `account:…`."""
        return {found: self.name(found) for found in dict.fromkeys(_streams(stream, kind, actor_id, data))}

    def look_ahead(self, streams: Iterable[str]) -> None:
        """Reads what the clients among these are called, all at once."""
        wanted = {each.partition(":")[2] for each in streams if each.startswith("client:")}
        found = clients.called(self._connection, sorted(wanted))
        self._known |= {client.stream(each): found.get(each) for each in wanted}

    def name(self, stream: str) -> str | None:
        """What the client or person of this stream is called now; None for nobody, or whose name is not told."""
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
        return next((clear for each in names if (clear := self._privacy.show(self._connection, each))), None)


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


BY_TAG: Mapping[str, type[Event]] = {event.type: event for event in EVENTS}
MOMENTS = ("at", "before", "erasure_due", "expires", "not_before", "offline_until", "until")
"""Names of moments beside those that end in `_at`."""

HIDDEN = frozenset(field for event in EVENTS for field in event.hidden)


class ShownActor(msgspec.Struct, frozen=True):
    """Who did it. `credential` names what they acted with."""

    kind: Literal["person", "client", "system", "anonymous"]
    id: str | None = None
    credential: dict[str, str] | None = None


class ShownEvent(msgspec.Struct, frozen=True):
    """An event. Personal values that are not shown are null, and their paths stand in `sealed` or `erased`. `meaning`
    is a sentence. `names` are there when they were asked for: id → what it is called now, of clients and, for readers
    with `audit:personal`, of people; null where nobody has a name any more."""

    position: int
    id: str
    type: str
    stream: str
    version: int
    time: str
    actor: ShownActor
    request_id: str | None
    ip: str | None
    user_agent: str | None
    data: dict[str, Any]
    sealed: list[str]
    erased: list[str]
    meaning: str
    names: dict[str, str | None] | UnsetType = UNSET


class _Leaf(msgspec.Struct):
    """The stored form as far as it is shown, its data untouched."""

    position: int
    id: str
    type: str
    stream: str
    version: int
    time: str
    actor: ShownActor
    data: dict[str, Any]
    request_id: str | None = None
    ip: str | None = None
    user_agent: str | None = None


_decode = msgspec.json.Decoder(_Leaf).decode


class Rendering:
    """Shows stored events to one reader, within one read: the keys are in the database, and may be gone in the next."""

    def __init__(self, privacy: PersonalData, connection: Connection, *, personal: bool, names: bool = False) -> None:
        self._privacy = privacy
        self._connection = connection
        self._personal = personal
        self._names = NameLookup(privacy, connection, personal=personal) if names else None
        self._erased: dict[str, bool] = {}

    def events(self, states: Sequence[str]) -> list[ShownEvent]:
        """Events from their stored forms. What clients are called is read once for all of them."""
        if self._names is not None:
            leaves = map(_decode, states)
            named = (_streams(each.stream, each.actor.kind, each.actor.id, each.data) for each in leaves)
            self._names.look_ahead(chain.from_iterable(named))
        return [self.event(each) for each in states]

    def event(self, state: str) -> ShownEvent:
        """One event from its stored form."""
        leaf = _decode(state)
        sealed: list[str] = []
        erased: list[str] = []
        ip, agent = leaf.ip, leaf.user_agent
        if ip is not None:
            ip = self._value(leaf.id, "ip", ip, "ip", sealed, erased)
        if agent is not None:
            agent = self._value(leaf.id, "user_agent", agent, "user_agent", sealed, erased)
        data = moments(leaf.data)
        event = BY_TAG.get(leaf.type)
        if event is not None:
            for field in event.personal:
                text = data.get(field)
                if text is not None:
                    hidden = field in event.hidden
                    data[field] = self._value(leaf.id, field, text, f"data.{field}", sealed, erased, hidden)
        return ShownEvent(
            leaf.position,
            leaf.id,
            leaf.type,
            leaf.stream,
            leaf.version,
            leaf.time,
            leaf.actor,
            leaf.request_id,
            ip,
            agent,
            data,
            sealed,
            erased,
            meaning(leaf.type, data),
            UNSET if self._names is None else self._names.of(leaf.stream, leaf.actor.kind, leaf.actor.id, data),
        )

    def state(self, state: Any) -> tuple[dict[str, Any], list[str], list[str]]:
        """An aggregate's state, with the paths of what is sealed and of what is erased."""
        sealed: list[str] = []
        erased: list[str] = []
        shown: dict[str, Any] = {}
        for field in state.__struct_fields__:
            shown[field] = self._within(f"state.{field}", getattr(state, field), sealed, erased)
        return moments(shown), sealed, erased

    def _within(self, path: str, value: Any, sealed: list[str], erased: list[str]) -> Any:
        if isinstance(value, Sealed):
            hidden = value.field in HIDDEN
            return self._value(value.event_id, value.field, value.text, path, sealed, erased, hidden)
        if next(sealed_within(path, value), None) is None:
            return msgspec.to_builtins(value)
        inner = [(name, self._within(f"{path}.{name}", each, sealed, erased)) for name, each in _members(value)]
        return [each for _, each in inner] if isinstance(value, list | tuple) else dict(inner)

    def shows_personal(self, state: Any, sealed: list[str], erased: list[str]) -> bool:
        """Whether a state that was shown has a personal value in clear."""
        return sum(1 for _ in sealed_within("state", state)) > len(sealed) + len(erased)

    def _value(
        self,
        event_id: str,
        field: str,
        text: str,
        path: str,
        sealed: list[str],
        erased: list[str],
        hidden: bool = False,
    ) -> str | None:
        shown, clear = self._personal and not hidden, None
        try:
            if shown:
                clear = self._privacy.open(self._connection, Sealed(event_id, field, text))
                is_erased = clear is None
            else:
                is_erased = self._is_erased(text)
        except SealBroken:
            # Somebody altered it. The event is shown all the same, and the proofs tell that it is not what was stored.
            sealed.append(path)
            return None
        if is_erased:
            erased.append(path)
        elif not shown:
            sealed.append(path)
        return clear

    def _is_erased(self, text: str) -> bool:
        """Looking for the key costs a fraction of opening, and values under one key need one look."""
        head = text.rpartition(".")[0]
        known = self._erased.get(head)
        if known is None:
            known = self._erased[head] = self._privacy.is_erased(self._connection, text)
        return known


def sealed_within(path: str, value: Any) -> Iterator[tuple[str, Sealed]]:
    """Every sealed value of a state, however deep it stands, with its path."""
    if isinstance(value, Sealed):
        yield path, value
        return
    for name, inner in _members(value):
        yield from sealed_within(f"{path}.{name}", inner)


def _members(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, msgspec.Struct):
        yield from ((field, getattr(value, field)) for field in value.__struct_fields__)
    elif isinstance(value, Mapping):
        yield from value.items()
    elif isinstance(value, list | tuple):
        yield from ((getattr(item, "factor_id", place), item) for place, item in enumerate(value))


def moments(value: Any) -> Any:
    """The same with every moment as an RFC 3339 time."""
    if isinstance(value, dict):
        return {
            # Most values are text, and an export has millions of them.
            name: inner if inner is None or type(inner) is str else _moment(name, inner)
            for name, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [moments(inner) for inner in value]
    return value


def _moment(name: str, value: Any) -> Any:
    if type(value) is int and (name.endswith("_at") or name in MOMENTS):
        try:
            return format_rfc3339(value)
        except (ValueError, OverflowError):
            # Outside the years 1 to 9999. Whatever an event holds, it must not keep the others from being read.
            return value
    return moments(value)


def unsealed(event: ShownEvent) -> bool:
    """Whether a personal value stands in it in clear."""
    kind = BY_TAG.get(event.type)
    shown = kind is not None and any(event.data.get(field) is not None for field in kind.personal)
    named = event.names or {}
    people = any(name is not None for stream, name in named.items() if stream.startswith("account:"))
    return shown or people or event.ip is not None or event.user_agent is not None
