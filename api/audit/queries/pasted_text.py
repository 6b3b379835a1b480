"""What a pasted text names: a log, a mail, an address of the API, a name, or anything with ids and secrets in it."""

import asyncio
import re
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

import msgspec

from api.audit.queries.auditor import Auditor
from api.audit.queries.event_conditions import EventConditions
from api.audit.queries.search import up_to_date
from api.audit.rendering import NameLookup, meaning
from domain import account, client, incident
from domain.event import Recorded
from eventstore import issued, present, search, time_travel
from eventstore.database import Connection
from eventstore.issued import IssuanceRecord
from eventstore.personal_data import PersonalData
from eventstore.projecting import requests
from eventstore.search import Criteria
from eventstore.unavailable import ArchiveAway
from eventstore.view import Folds
from projections import clients
from projections.event_index import NameKind
from security.scanning import extract

FoundKind = Literal["secret", "digest", "request", "position", "client", "person", "grant", "incident"]

LONGEST = 500_000
"""Characters of a text. What is longer is for `POST /leaks/investigate`, which looks for secrets alone."""

MOST = 1_000
"""Words of a text that are looked up, and what is answered at most."""

AT_ONCE = 50
"""Words that are looked up in one turn."""

CLIENTS_AT_MOST = 20
"""Clients whose name holds a text."""

LONGEST_NAME = 256

_WORD = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{7,127}")
_CLIENT_ID = re.compile(r"[!-~]{1,128}")
# An address begins where a word does, so that no text is gone through once more from each of its characters.
_EMAIL = re.compile(r"(?<![^\s<>\"'(),:;\[\]\\@])[^\s<>\"'(),:;\[\]\\@]{1,64}+@[^\s<>\"'(),:;\[\]\\@]{1,190}")
_HEX = re.compile(r"[0-9a-f]{64}")
_POSITION = re.compile(r"\s*#?\s*(?:position\s*)?([0-9]{1,15})\s*", re.IGNORECASE)


class FoundName(msgspec.Struct, frozen=True):
    """Something that the text names. `id` is a secret's SHA-256, a position, or an id; `label` what it is called, null
    where it has no name or the reader may not know it."""

    kind: FoundKind
    id: str
    label: str | None


class _Names(NamedTuple):
    """What a text may name, before anything of it is looked up. Nothing of it is kept."""

    whole: str
    secrets: tuple[bytes, ...]
    words: tuple[str, ...]
    emails: tuple[str, ...]


async def find(asking: Auditor, text: str) -> list[FoundName]:
    """What the text names, its secrets first, then what all of it is called, then ids; and the event that somebody
    asked. The text itself is neither recorded nor told back."""
    ledger = asking.sources.ledger
    await up_to_date(asking, None)
    names = await asyncio.to_thread(_names, asking, text)
    people = await ledger.look(_people, ledger.privacy, names) if asking.personal else []
    every = await ledger.read(_around, asking, names, people)
    # In turns, so that nobody else waits for all of them.
    for start in range(0, len(names.words), AT_ONCE):
        every += await ledger.read(_of_words, asking, names.words[start : start + AT_ONCE])
    found = list({(each.kind, each.id): each for each in every}.values())[:MOST]
    unsealed = any(each.kind == "person" and each.label is not None for each in found)
    await asking.record("find", {"characters": str(len(text))}, len(found), unsealed=unsealed)
    return found


def _names(asking: Auditor, text: str) -> _Names:
    secrets = extract(text, asking.sources.format).secrets
    raw = {each.reveal() for each in secrets}
    words = dict.fromkeys(each for each in _WORD.findall(text) if each not in raw)
    emails = dict.fromkeys(_EMAIL.findall(text))
    return _Names(
        text.strip(),
        tuple(bytes.fromhex(each.hex) for each in secrets),
        tuple(words)[:MOST],
        tuple(emails)[:MOST],
    )


def _people(folds: Folds, privacy: PersonalData, names: _Names) -> list[str]:
    """Who has the whole text for a login name, or one of its words for an e-mail address."""
    logins: list[tuple[present.Login, str]] = [("email", each) for each in names.emails]
    if 0 < len(names.whole) <= LONGEST_NAME:
        logins.append(("username", names.whole))
    found = (
        present.person_by_login(folds, privacy, field, realm, text)
        for field, text in logins
        for realm in present.realms(folds)
    )
    return list(dict.fromkeys(each.account_id for each in found if each is not None))


def _around(connection: Connection, asking: Auditor, names: _Names, people: Iterable[str]) -> list[FoundName]:
    """What the whole text names, and its secrets."""
    lookup = NameLookup(asking.sources.ledger.privacy, connection, personal=asking.personal)
    return [
        *_of_secrets(connection, names),
        *_of_position(connection, names.whole),
        *(FoundName("person", each, lookup.name(account.stream(each))) for each in people),
        *_of_client_names(connection, names.whole),
        *_of_client_id(connection, lookup, names.whole),
    ]


def _of_words(connection: Connection, asking: Auditor, words: Iterable[str]) -> list[FoundName]:
    lookup = NameLookup(asking.sources.ledger.privacy, connection, personal=asking.personal)
    return [each for word in words for each in _of_word(connection, lookup, word)]


def _of_secrets(connection: Connection, names: _Names) -> Iterator[FoundName]:
    digests = [bytes.fromhex(word) for word in names.words if _HEX.fullmatch(word)]
    known, away = issued.find_each(connection, (*names.secrets, *digests))
    for digest in dict.fromkeys((*names.secrets, *digests)):
        kind: FoundKind = "secret" if digest in names.secrets else "digest"
        if (record := known.get(digest)) is not None:
            yield FoundName(kind, digest.hex(), _label(connection, record))
        elif digest in away:
            # It was issued here, and more is not to be told until its archive is back.
            yield FoundName(kind, digest.hex(), None)


def _label(connection: Connection, record: IssuanceRecord) -> str:
    what = record.kind.replace("_", " ")
    row = None if record.client_id is None else clients.by_id(connection, record.client_id)
    return what if row is None else f"{what}, {row.client_name}"


def _of_word(connection: Connection, lookup: NameLookup, word: str) -> Iterator[FoundName]:
    """By an id of each kind; a word is rarely more than one of them."""
    if _HEX.fullmatch(word):
        return
    for kind, stream in (("client", client.stream(word)), ("person", account.stream(word))):
        if time_travel.exists(connection, stream):
            yield FoundName("client" if kind == "client" else "person", word, lookup.name(stream))
    yield from _of_grant(connection, lookup, word)
    if (reported := _first(connection, incident.stream(word))) is not None:
        yield FoundName("incident", word, meaning(reported.event.type, msgspec.to_builtins(reported.event)))
    if (version := issued.digest_of_secret_version(connection, word)) is not None:
        record = issued.find(connection, version)
        yield FoundName("secret", version.hex(), None if record is None else _label(connection, record))
    yield from _of_request(connection, word)


def _of_request(connection: Connection, word: str) -> Iterator[FoundName]:
    names = tuple((NameKind.REQUEST, each) for each in requests.keys(word))
    criteria = Criteria((names,), 1, 2**53, passing=EventConditions(of_requests=frozenset((word,))).passing)
    resume: int | None = 1
    try:
        while resume is not None:
            (found, resume) = search.search(connection, criteria, 1, resume)
            if found:
                yield FoundName("request", word, _meaning(connection, found[0]))
                return
    except ArchiveAway:
        # Something came in that moment, and nobody can say what.
        yield FoundName("request", word, None)


def _of_grant(connection: Connection, lookup: NameLookup, word: str) -> Iterator[FoundName]:
    try:
        of_grant = _first(connection, f"grant:{word}")
    except ArchiveAway:
        yield FoundName("grant", word, None)
        return
    if of_grant is not None:
        yield FoundName("grant", word, lookup.name(client.stream(getattr(of_grant.event, "client_id", None) or "")))


def _first(connection: Connection, stream: str) -> Recorded | None:
    return next(iter(time_travel.history(connection, stream)), None)


def _meaning(connection: Connection, position: int) -> str | None:
    try:
        recorded = search.recorded_at(connection, position)
    except ArchiveAway:
        return None
    return None if recorded is None else meaning(recorded.event.type, msgspec.to_builtins(recorded.event))


def _of_position(connection: Connection, whole: str) -> Iterator[FoundName]:
    """A number is a position where it is all that was pasted: a log is full of numbers."""
    found = _POSITION.fullmatch(whole)
    if found is not None and 1 <= int(found[1]) <= search.newest(connection):
        yield FoundName("position", str(int(found[1])), _meaning(connection, int(found[1])))


def _of_client_id(connection: Connection, lookup: NameLookup, whole: str) -> Iterator[FoundName]:
    """By an id of another form than those that are made here: of a client that came from elsewhere, or has a
    document."""
    if _CLIENT_ID.fullmatch(whole) and time_travel.exists(connection, client.stream(whole)):
        yield FoundName("client", whole, lookup.name(client.stream(whole)))


def _of_client_names(connection: Connection, whole: str) -> Iterator[FoundName]:
    if 0 < len(whole) <= LONGEST_NAME:
        for row in clients.search(connection, contains=whole, limit=CLIENTS_AT_MOST).items:
            yield FoundName("client", row.client_id, row.client_name)
