"""Proofs that an auditor can check long after the server is gone: exports of the log, and receipts of single events."""

import codecs
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from verifier.note import Checkpoint, Key, Malformed, decode64
from verifier.order import Order, Progress, Row, no_progress, read_object
from verifier.tree import CompactRange, damaged, included, leaf_hash
from verifier.verdict import Fault, Head, Outcome, Unfit, Verdict, open_head

# Exports: JSON lines. A record's line is its stored form, byte for byte. Where positions are left out, a line
# `{"gap":{"from":…,"to":…,"hashes":[…]}}` gives the roots of the fewest perfect subtrees that cover them, from left to
# right, as base64. The last line is `{"checkpoint":"…"}`. Records and gaps together make the whole tree, so one root
# proves that each record is in the log and that nothing between two neighbouring records was left out.

_REPORT_EVERY = 8_192
_SQLITE = b"SQLite format 3\x00"
_CHECKPOINT = b'{"checkpoint":'

NO_PROOF = "it carries no proof: it was made without proof=1, or it was cut off"


class _Gap(NamedTuple):
    first: int
    last: int
    hashes: list[str]


def _gap(line: bytes) -> _Gap:
    """Reads the line of a gap; ValueError or RecursionError otherwise."""
    stretch = read_object(line.decode())["gap"]
    match stretch:
        case {"from": int(first), "to": int(last), "hashes": list(hashes)} if all(type(h) is str for h in hashes):
            return _Gap(first, last, hashes)
    raise ValueError("not a gap")


def _note(line: bytes) -> str:
    """Reads the line of the checkpoint; ValueError or RecursionError otherwise."""
    note = read_object(line.decode())["checkpoint"]
    if not isinstance(note, str):
        raise ValueError("not a checkpoint")
    return note


class _Export:
    """What has been read of an export so far."""

    def __init__(self) -> None:
        self._order = Order(complete=False)
        self.tree = CompactRange()
        self.records = 0
        self.left_out = 0
        self._between = 0
        self.first = 0
        self.last = 0
        self.roots: dict[int, bytes] = {}
        self.note: str | None = None

    def line(self, line: bytes) -> Fault | None:
        """Takes in one line without its newline; why it does not fit."""
        if self.note is not None:
            return Fault(self.tree.size + 1, "something stands behind the checkpoint, where the export ends")
        try:
            if line.startswith(b'{"gap":'):
                return self._skip(_gap(line))
            if line.startswith(_CHECKPOINT):
                self.note = _note(line)
                return None
        except (ValueError, RecursionError):
            return Fault(self.tree.size + 1, "a line of the proof cannot be read")
        return self._record(line)

    def _record(self, line: bytes) -> Fault | None:
        position = self.tree.size + 1
        reason = self._order.fault(Row(position, line))
        if reason is not None:
            return Fault(position, reason)
        self.tree.add(leaf_hash(line))
        self.records += 1
        self.left_out, self._between = self.left_out + self._between, 0
        self.first, self.last = self.first or position, position
        return None

    def _skip(self, gap: _Gap) -> Fault | None:
        if gap.first != self.tree.size + 1 or gap.last < gap.first:
            return Fault(self.tree.size + 1, f"the proof goes on at position {gap.first} instead")
        if self.records:
            self._between += gap.last + 1 - gap.first
        hashes = iter(gap.hashes)
        while self.tree.size < gap.last:
            start, rest = self.tree.size, gap.last - self.tree.size
            height = rest.bit_length() - 1
            if start:
                height = min(height, (start & -start).bit_length() - 1)
            hash_ = decode64(next(hashes, ""))
            if len(hash_) != 32:
                return Fault(start + 1, "the proof lacks a hash for what was left out")
            self.tree.add(hash_, height)
        return Fault(gap.last + 1, "the proof has too many hashes") if next(hashes, None) is not None else None


def is_export(place: str) -> bool:
    """Whether a place is a file that is no database: what is in it has to be an export."""
    path = Path(place)
    if "://" in place or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(_SQLITE)) not in (_SQLITE, b"")


def verify_export(
    lines: Iterable[bytes],
    keys: Sequence[Key],
    *,
    kept: Sequence[str] = (),
    witnesses: Sequence[Key] = (),
    quorum: int = 0,
    progress: Progress = no_progress,
) -> Verdict:
    """Checks an export made with `proof=1`, line by line in constant memory (a file opened in binary mode will do). A
    `kept` checkpoint is compared when its size falls between two records; otherwise the verdict says so."""
    memory = [open_head(note, keys, what="the checkpoint that you kept") for note in kept]
    for unusable in memory:
        if isinstance(unusable, Unfit):
            return Verdict("unverifiable", unusable.reason)
    sizes = {head.checkpoint.size: head.checkpoint.root for head in memory if isinstance(head, Head)}
    export = _Export()
    remaining = iter(lines)
    fault = _read(export, remaining, sizes, progress)
    if fault is not None and export.note is None and not any(line.startswith(_CHECKPOINT) for line in remaining):
        # Whatever this is, nobody signed it: a list, an export without proof, or the first part of one.
        return Verdict("unverifiable", NO_PROOF)
    if fault is not None:
        return Verdict("tampered", fault.reason, fault.position, fault.until, checked=export.records)
    if export.note is None:
        return Verdict("unverifiable", NO_PROOF)
    head = open_head(export.note, keys, witnesses, "the export's checkpoint")
    if isinstance(head, Unfit):
        return head.verdict
    return _conclude(export, head, sizes, quorum)


def _read(export: _Export, lines: Iterable[bytes], sizes: dict[int, bytes], progress: Progress) -> Fault | None:
    for number, line in enumerate(lines):
        fault = export.line(_bare(line if number else line.removeprefix(codecs.BOM_UTF8)))
        if fault is not None:
            return fault
        if export.tree.size in sizes:
            export.roots[export.tree.size] = export.tree.root()
        if export.records % _REPORT_EVERY == 0:
            progress(export.records, 0)
    progress(export.records, export.records)
    return None


def _bare(line: bytes) -> bytes:
    """Without its end, which a file that went by mail or through an editor may have got otherwise: no line has one
    inside, so nothing is changed of what it says."""
    return line.removesuffix(b"\n").removesuffix(b"\r")


def _conclude(export: _Export, head: Head, sizes: dict[int, bytes], quorum: int) -> Verdict:
    checkpoint = head.checkpoint
    fault = _first_misfit(export, head, sizes)
    missed = [size for size in sizes if size not in export.roots and size <= checkpoint.size]
    outcome: Outcome = "unverifiable"
    if fault is not None:
        outcome, reason = "tampered", fault.reason
    elif len(head.cosigned_by) < quorum:
        reason = (
            f"only {len(head.cosigned_by)} of the {quorum} demanded witnesses have cosigned the export's checkpoint"
        )
    elif missed:
        reason = f"the export leaves out what is needed to compare it with the kept checkpoint of {missed[0]} events"
    else:
        outcome, reason = "verified", _praise(export)
    return head.verdict(outcome, reason, fault, checked=export.records)


def _first_misfit(export: _Export, head: Head, sizes: dict[int, bytes]) -> Fault | None:
    fitting = 0
    for size in sorted(export.roots):
        if export.roots[size] != sizes[size]:
            return Fault(fitting + 1, f"the events up to {size} are not those of the checkpoint that you kept", size)
        fitting = size
    if export.tree.size != head.checkpoint.size:
        reason = f"the export covers {export.tree.size} positions, and its checkpoint {head.checkpoint.size}"
        return Fault(min(export.tree.size, head.checkpoint.size) + 1, reason)
    if export.tree.root() != head.checkpoint.root:
        return Fault(max(fitting + 1, export.first), "these records are not those of the log", export.last)
    largest = max(sizes, default=0)
    if largest > head.checkpoint.size:
        return Fault(head.checkpoint.size + 1, f"the log has shrunk: it had {largest} events once", largest)
    return None


def _praise(export: _Export) -> str:
    if not export.records:
        return "the export has no records, and its proof fits"
    stretch = f"all {export.records} records are in the log, positions {export.first} to {export.last}"
    left_out = f"; {export.left_out} events between them were left out" if export.left_out else " without a gap"
    return stretch + left_out


# Receipts: that an event stands in the log (C2SP tlog-proof).

_HEADER = "c2sp.org/tlog-proof@v1"
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Receipt:
    """The parts of a tlog-proof: zero-based index, audit path, checkpoint note, and extra data if there is any."""

    index: int
    path: list[bytes]
    note: str
    extra: bytes | None


def parse_receipt(text: str) -> Receipt:
    """Reads a receipt (tlog-proof, "Format"); `Malformed` otherwise."""
    head, separator, note = text.partition("\n\n")
    lines = head.split("\n")
    if lines.pop(0) != _HEADER or not separator:
        raise Malformed(f"not a receipt: it should begin with {_HEADER} and have a checkpoint behind an empty line")
    extra = decode64(lines.pop(0).removeprefix("extra ")) if lines and lines[0].startswith("extra ") else None
    match = _INDEX.fullmatch(lines.pop(0)) if lines else None
    if match is None:
        raise Malformed("not a receipt: it names no index")
    path = [decode64(line) for line in lines]
    if any(len(hash_) != 32 for hash_ in path):
        raise Malformed("not a receipt: a hash has not 32 bytes")
    return Receipt(int(match[1]), path, note, extra)


def check_receipt(
    text: str, keys: Sequence[Key], *, leaf: bytes | None = None, witnesses: Sequence[Key] = (), quorum: int = 0
) -> Verdict:
    """Checks a receipt against pinned keys. The event is `leaf`, or else what the receipt carries along. What it
    carries is not signed by itself: it counts only because its hash is proved to stand in the tree."""
    try:
        receipt = parse_receipt(text)
    except Malformed as error:
        return Verdict("unverifiable", str(error))
    event = receipt.extra if leaf is None else leaf
    if event is None:
        return Verdict("unverifiable", "the receipt does not carry the event, and none was given beside it")
    head = open_head(receipt.note, keys, witnesses, "the receipt's checkpoint")
    if isinstance(head, Unfit):
        return head.verdict
    checkpoint, position = head.checkpoint, receipt.index + 1
    reason = _misfit(receipt, event, checkpoint) or Order(complete=False).fault(Row(position, event))
    at = Fault(position, reason or "")
    if reason is not None:
        return head.verdict("tampered", reason, at)
    if (cosigned := len(head.cosigned_by)) < quorum:
        short = (
            f"the event is in the log, but only {cosigned} of the {quorum} demanded witnesses cosigned its checkpoint"
        )
        return head.verdict("unverifiable", short, at, checked=1)
    return head.verdict("verified", f"the event stands in the log at position {position}", at, checked=1)


def _misfit(receipt: Receipt, event: bytes, checkpoint: Checkpoint) -> str | None:
    tree = leaf_hash(event), receipt.index, checkpoint.size, receipt.path, checkpoint.root
    if included(*tree):
        return None
    place = damaged(*tree)
    if place is None:
        return "the event is not the one that the log's checkpoint covers at that position"
    return f"hash {place + 1} of the receipt's path was changed: with one bit set right everything fits"
