"""Files of other systems, line by line: CSV with a line of names first (RFC 4180), or one JSON object a line."""

import csv
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import msgspec

from cli.terminal import USAGE, Failure, is_utf8

LONGEST_LINE = 256 * 1024
"""Characters of a line that is looked at."""

JSON_LINES = (".jsonl", ".ndjson", ".json")

NOT_UTF_8 = "is not UTF-8 text"

_object = msgspec.json.Decoder(dict[str, Any])


class Record(NamedTuple):
    """What stands in a line: the members that are not empty, by name, or what is wrong with the line."""

    line: int
    members: Mapping[str, Any]
    problem: str | None = None


def count_lines(path: Path) -> int:
    """How many lines a file has, as far as a bar needs to know."""
    with path.open("rb") as file:
        return sum(portion.count(b"\n") for portion in iter(lambda: file.read(1 << 20), b""))


def read_records(path: Path) -> Iterator[Record]:
    """The records of a file, one after the other. By its name it is JSON lines, or else CSV. Raises Failure for what is
    no such file."""
    # A spreadsheet writes a byte order mark. What is not UTF-8 is the fault of its line alone.
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        yield from _json_lines(file) if path.suffix.lower() in JSON_LINES else _csv(file)


def _json_lines(file: Iterable[str]) -> Iterator[Record]:
    for line, text in enumerate(file, 1):
        if not text.strip():
            continue
        if len(text) > LONGEST_LINE:
            yield Record(line, {}, "is too long")
            continue
        if not is_utf8(text):
            yield Record(line, {}, NOT_UTF_8)
            continue
        try:
            members = _object.decode(text)
        except (msgspec.DecodeError, RecursionError):
            yield Record(line, {}, "is no JSON object")
            continue
        yield Record(line, {name: value for name, value in members.items() if value is not None and value != ""})


def _csv(file: TextIO) -> Iterator[Record]:
    csv.field_size_limit(LONGEST_LINE)
    reader = csv.reader(file, strict=True)
    try:
        names = next(reader, [])
    except csv.Error:
        names = []
    if not is_utf8("".join(names)):
        raise Failure(f"the first line {NOT_UTF_8}", USAGE)
    if not names or len({*names}) != len(names) or not all(name.strip() for name in names):
        raise Failure("the first line has to name each column once", USAGE)
    while True:
        # A value may have several lines; a record has the number of its first.
        line = reader.line_num + 1
        try:
            values = next(reader, None)
        except csv.Error as error:
            found = "is too long" if str(error).startswith("field larger") else "is no line of CSV"
            yield Record(line, {}, f"{found}{_swallowed(line, reader.line_num)}")
            continue
        if values is None:
            return
        if len(values) != len(names):
            if values:
                found = f"has {len(values)} values and not {len(names)}"
                yield Record(line, {}, f"{found}{_swallowed(line, reader.line_num)}")
            continue
        if not is_utf8("".join(values)):
            yield Record(line, {}, NOT_UTF_8)
            continue
        yield Record(line, {name.strip(): value for name, value in zip(names, values, strict=True) if value != ""})


def _swallowed(first: int, last: int) -> str:
    """What a quote that is left open takes with it is reported too."""
    return f", with all from its quote to line {last}" if last > first else ""
