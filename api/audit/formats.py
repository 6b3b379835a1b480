"""The formats of an export: each a sequence of records that stand on their own, so any length can be streamed."""

import csv
import io
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, Protocol

import msgspec

from api.audit import ocsf
from api.audit.rendering import ShownEvent

Format = Literal["jsonl", "csv", "cloudevents", "ocsf"]

_encode = msgspec.json.Encoder().encode

COLUMNS = (
    "position",
    "id",
    "type",
    "stream",
    "version",
    "time",
    "actor_kind",
    "actor_id",
    "actor_credential",
    "request_id",
    "ip",
    "user_agent",
    "data",
    "sealed",
    "erased",
    "meaning",
)


class Part(NamedTuple):
    """Some lines of an export, how many records are among them, and at which position it goes on; None at the end."""

    lines: bytes
    records: int
    resume: int | None


class Writer(Protocol):
    """Turns events into bytes. `head` comes first."""

    media_type: str
    extension: str
    head: bytes

    def write(self, event: ShownEvent) -> bytes: ...


class Jsonl:
    """One event a line, as the rest of the audit shows it (JSON Lines)."""

    media_type = "application/jsonl"
    extension = "jsonl"
    head = b""

    def write(self, event: ShownEvent) -> bytes:
        return _encode(event) + b"\n"


class Csv:
    """RFC 4180, with a header; structures as JSON within a field.

    A text that a spreadsheet would take for a formula gets an apostrophe in front: a user agent is anybody's to choose.
    """

    media_type = "text/csv"
    extension = "csv"

    def __init__(self) -> None:
        self.head = self._row(COLUMNS)

    def write(self, event: ShownEvent) -> bytes:
        credential = event.actor.credential
        return self._row(
            (
                event.position,
                event.id,
                event.type,
                event.stream,
                event.version,
                event.time,
                event.actor.kind,
                event.actor.id,
                None if credential is None else _encode(credential).decode(),
                event.request_id,
                event.ip,
                event.user_agent,
                _encode(event.data).decode(),
                " ".join(event.sealed),
                " ".join(event.erased),
                event.meaning,
            )
        )

    def _row(self, fields: Any) -> bytes:
        text = io.StringIO()
        csv.writer(text, lineterminator="\r\n").writerow([_harmless(field) for field in fields])
        return text.getvalue().encode()


def _harmless(field: Any) -> Any:
    if isinstance(field, str) and field[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{field}"
    return field


class CloudEvents:
    """CloudEvents 1.0 in its JSON format, one a line; `data` is the whole event, `sequence` its position."""

    media_type = "application/jsonl"
    extension = "cloudevents.jsonl"
    head = b""

    def __init__(self, issuer: str) -> None:
        self._source = issuer

    def write(self, event: ShownEvent) -> bytes:
        return (
            _encode(
                {
                    "specversion": "1.0",
                    "id": event.id,
                    "source": self._source,
                    "type": event.type,
                    "subject": event.stream,
                    "time": event.time,
                    "datacontenttype": "application/json",
                    # Text as the extension of that name demands, and so padded that its order is the log's.
                    "sequence": f"{event.position:020d}",
                    "data": event,
                }
            )
            + b"\n"
        )


class Ocsf:
    """OCSF 1.5.0, one record a line; see `api.audit.ocsf`."""

    media_type = "application/jsonl"
    extension = "ocsf.jsonl"
    head = b""

    def __init__(self, issuer: str, product_version: str) -> None:
        self._issuer = issuer
        self._version = product_version

    def write(self, event: ShownEvent) -> bytes:
        return _encode(ocsf.record(event, issuer=self._issuer, product_version=self._version)) + b"\n"


MEDIA_TYPES = tuple(dict.fromkeys(each.media_type for each in (Jsonl, Csv, CloudEvents, Ocsf)))
"""Of all formats, each once."""


def writer(name: Format, issuer: str, product_version: str) -> Writer:
    """The writer of a format."""
    writers: Mapping[str, Writer] = {
        "jsonl": Jsonl(),
        "csv": Csv(),
        "cloudevents": CloudEvents(issuer),
        "ocsf": Ocsf(issuer, product_version),
    }
    return writers[name]
