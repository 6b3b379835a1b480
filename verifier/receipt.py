"""Receipts: that an event stands in the log, shown with no server and no database (C2SP tlog-proof)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from verifier.note import Key, Malformed, decode64
from verifier.stored_form import Order, Row
from verifier.tree import included, leaf_hash
from verifier.verdict import Unfit, Verdict, open_head

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
    """Checks a receipt against pinned keys. The event is `leaf`, or else what the receipt carries along.

    What it carries is not signed by itself: it counts only because its hash is proved to stand in the tree.
    """
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
    reason = None
    if not included(leaf_hash(event), receipt.index, checkpoint.size, receipt.path, checkpoint.root):
        reason = "the event is not the one that the log's checkpoint covers at that position"
    else:
        reason = Order(complete=False).fault(Row(position, event))
    cosigned = head.witnesses
    if reason is not None:
        return Verdict("tampered", reason, position, None, checkpoint.origin, checkpoint.size, checkpoint.root)
    short = len(cosigned) < quorum
    return Verdict(
        "unverifiable" if short else "verified",
        f"the event is in the log, but only {len(cosigned)} of the {quorum} demanded witnesses cosigned its checkpoint"
        if short
        else f"the event stands in the log at position {position}",
        position,
        None,
        checkpoint.origin,
        checkpoint.size,
        checkpoint.root,
        1,
        0,
        cosigned,
    )
