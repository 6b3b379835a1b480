"""Where a value that should not be kept may have left a trace: in whatever form, in a database, a log or an answer."""

import json
import sqlite3
from base64 import b64encode
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from functools import lru_cache
from html import escape
from itertools import accumulate
from pathlib import Path
from struct import unpack_from
from urllib.parse import quote, quote_plus

import psycopg
from psycopg import sql

SEPARATOR = b"\n\xff\xfe\n"
"""Stands in no form of any value."""


@lru_cache(maxsize=4096)
def forms(value: str) -> frozenset[bytes]:
    """The value as somebody may have written it: raw, escaped for an address, a page or JSON, base64, hexadecimal.

    In base64 the value may begin at any of three places of a group, so that only its inner characters are certain.
    """
    raw = value.encode()
    found = {
        raw,
        quote(value, safe="").encode(),
        quote_plus(value).encode(),
        value.replace("_", "%5F").encode(),
        escape(value).encode(),
        json.dumps(value)[1:-1].encode(),
        raw.hex().encode(),
        raw.hex().upper().encode(),
        value.encode("utf-16-le"),
    }
    for before in range(3):
        text = b64encode(b"\0" * before + raw)
        inner = text[4 if before else 0 : -4]
        found |= {inner, inner.translate(bytes.maketrans(b"+/", b"-_"))}
    return frozenset(found)


def holds(haystack: bytes, value: str, *, any_case: bool = False) -> bytes | None:
    """The first form of the value that stands there."""
    lowered = haystack.lower() if any_case else haystack
    for form in forms(value):
        if form in haystack or (any_case and form.lower() in lowered):
            return form
    return None


STEP = 8
"""Octets. A form of at least twice as many holds, wherever it stands, a stretch that begins at a multiple of it."""


def found(texts: Sequence[bytes], values: Iterable[str], *, any_case: bool = False) -> Iterator[tuple[int, str]]:
    """The texts by their numbers, and the values that stand in them in any form. Faster than looking for each in each.

    All are one text, whose stretches are known: a form is looked for where all of its stretches from some octet on are
    among them. The first alone would be what the secrets of a kind begin with, and stands there for nearly each.
    """
    whole = SEPARATOR.join(texts)
    whole = whole.lower() if any_case else whole
    begins = list(accumulate((len(text) + len(SEPARATOR) for text in texts), initial=0))
    sought = [(value, {each.lower() if any_case else each for each in forms(value)}) for value in values]
    stretches = _those_of(whole, [form for _, written in sought for form in written])
    for value, written in sought:
        for form in written:
            if len(form) < 2 * STEP or any(stretches.issuperset(_stretches(form, at)) for at in range(STEP)):
                at = whole.find(form)
                while at >= 0:
                    yield bisect_right(begins, at) - 1, value
                    at = whole.find(form, at + 1)


def _those_of(whole: bytes, written: Sequence[bytes]) -> set[int]:
    """The stretches of a text, or those of them alone that a form has.

    As numbers, since there are millions of them in the files of a database. To gather all takes ten times as long as to
    look each up in a set that holds few.
    """
    there = memoryview(whole[: len(whole) // STEP * STEP]).cast("Q")
    if sum(map(len, written)) > len(there) // STEP:
        return set(there)
    long = [form for form in written if len(form) >= 2 * STEP]
    return {each for form in long for at in range(STEP) for each in _stretches(form, at)}.intersection(there)


def _stretches(form: bytes, begin: int) -> Sequence[int]:
    """Its whole stretches from an octet on."""
    return unpack_from(f"={(len(form) - begin) // STEP}Q", form, begin)


def database(url: str) -> Iterator[tuple[str, bytes]]:
    """Everything that a database keeps, each part with its name."""
    if url.startswith("sqlite"):
        yield from _sqlite(Path(url.removeprefix("sqlite:///")))
    else:
        yield from _postgresql(url.replace("+psycopg", ""))


def _sqlite(path: Path) -> Iterator[tuple[str, bytes]]:
    """The files as they lie there, and each value again, since a long one is spread over pages."""
    for file in sorted(path.parent.glob(f"{path.name}*")):
        yield file.name, file.read_bytes()
    with closing(sqlite3.connect(path)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        for name in names:
            rows = connection.execute(f'SELECT * FROM "{name}"')  # noqa: S608 - a name that the database gave
            yield name, b"\n".join(_octets(value) for row in rows for value in row)


def _postgresql(url: str) -> Iterator[tuple[str, bytes]]:
    with psycopg.connect(url) as connection:
        # What a session has for itself alone nobody else can read, and no longer than it lasts.
        names = connection.execute(
            "SELECT schemaname, tablename FROM pg_tables"
            " WHERE schemaname NOT IN ('pg_catalog', 'information_schema') AND NOT starts_with(schemaname, 'pg_temp_')"
        ).fetchall()
        assert names
        for schema, name in names:
            rows = connection.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(schema, name)))
            yield name, b"\n".join(_octets(value) for row in rows for value in row)


def _octets(value: object) -> bytes:
    if isinstance(value, bytes | memoryview):
        return bytes(value)
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False).encode()
    return str(value).encode()
