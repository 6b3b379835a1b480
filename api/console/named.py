"""What somebody typed for a client or a person: names become ids, so that no address of a page holds one."""

import re
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from api.console.frame import Visit
from api.console.masking import sealed
from api.console.own_api import Problem, Refused
from api.http.parameters import LONGEST_ID

_ID = re.compile(r"[0-9A-Za-z]{22}")
LONGEST = 256

PORTION, PORTIONS = 200, 20
"""How many things are looked at for one name, so many at a time."""

Named = Literal["", "client_id", "account_id", "secret_id", "address"]
NAMES: dict[str, str] = {
    "client_id": "Everything of a client",
    "account_id": "Everything of a person",
    "secret_id": "A version of a client's secret",
    "address": "What was used from an address",
}
"""By what else than a secret something is contained."""


class NotNamed(Exception):
    """Nothing is called so, or several things are. The words say which."""


class NamedThing(msgspec.Struct, frozen=True):
    """What the API found, by its id and what it is called."""

    id: str = ""
    client_id: str = ""
    client_name: str = ""
    kind: str = ""
    label: str | None = None


class NamedThings(msgspec.Struct, frozen=True):
    """All that it found."""

    items: tuple[NamedThing, ...]
    next: str | None = None


async def client_named(visit: Visit, text: str) -> str:
    """The id of the client that is called so, wholly or as the only one in part. What looks like an id is one, unless
    it is quoted as a name: anyone may call themselves by another's id. Raises `NotNamed`."""
    if _ID.fullmatch(text):
        return text
    may_look = "clients:read" in visit.may
    # Clients that came from elsewhere, or have a document, have ids of other forms.
    if may_look and len(text) <= LONGEST_ID and await _typed(visit, "/admin/clients", {"client_id": text}):
        return text
    text = _unquoted(text)
    if may_look:
        found = await _typed(visit, "/admin/clients", {"q": text[:200]})
        named: dict[str, str | None] = {each.client_id: each.client_name for each in found}
    else:
        # Who looks for a client hears of no person who is called so.
        named = await _found(visit, text, "client", sealed())
        if text in named:
            return text
    whole = [id for id, name in named.items() if name == text]
    return _one(whole or named, text, "client")


async def person_named(visit: Visit, text: str) -> str:
    """The same of the person who is called exactly so, by username or e-mail address."""
    if _ID.fullmatch(text):
        return text
    text = _unquoted(text)
    if "people:read" not in visit.may:
        return _one(await _found(visit, text, "person", None), text, "person")
    found = await _typed(visit, "/admin/people", {"email" if "@" in text else "username": text[:LONGEST]})
    return _one([each.id for each in found], text, "person")


async def id_named(visit: Visit, kind: str, text: str) -> str:
    """The id of what is contained by this name: a `client_id` or an `account_id`; anything else stands for itself.
    Raises `Refused` where nothing is called so."""
    names = {"client_id": client_named, "account_id": person_named}
    try:
        return await names[kind](visit, text.strip()) if kind in names and text.strip() else text
    except NotNamed as nobody:
        raise Refused(404, Problem(status=404, detail=str(nobody)), {}) from None


async def _typed(visit: Visit, path: str, query: dict[str, str]) -> Sequence[NamedThing]:
    """What is found by what somebody typed. The foot of a page shows what was asked, and that is to stand nowhere."""
    api, found, after = visit.api.untold(), list[NamedThing](), None
    for _ in range(PORTIONS):
        page = await api.get(path, NamedThings, {**query, "limit": PORTION, "after": after})
        found += page.items
        if (after := page.next) is None:
            return found
    raise NotNamed("Too many are called so: write an id.")


async def _found(visit: Visit, text: str, kind: str, personal: dict[str, str] | None) -> dict[str, str | None]:
    if "audit:read" not in visit.may:
        return {}
    found = await visit.api.send("POST", "/audit/find", NamedThings, {"text": text}, query=personal)
    return {each.id: each.label for each in found.items if each.kind == kind}


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 2 and text[0] == text[-1] == '"' else text


def _one(ids: Iterable[str], text: str, kind: str) -> str:
    found = tuple(ids)
    if len(found) == 1:
        return found[0]
    if found:
        raise NotNamed(f"Several are called so: write the whole name of one {kind}, or its id.")
    raise NotNamed(f"No {kind} of this server is called so.{' Names of people are whole.' if kind == 'person' else ''}")
