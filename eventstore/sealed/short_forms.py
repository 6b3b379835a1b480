"""Stored forms in short: what stands in the row of an old event that lives, in the place of its text, and has it all.

Most of a text are ids, digests and what is sealed, which nothing makes shorter but to say them as octets; the rest is
nearly the same in all texts of a type. So a short form is a JSON object with the values as octets and, compressed by
Zstandard with a dictionary that is kept for ever, the text with marks in their places. Beside it are the members that
queries look at by SQL; what these and the row's stream say is not said again.

The owner of the table writes it, into rows that were there before (`eventstore.archiving.shortening`). Anyone who reads
a row has the text, to the byte, which is authentic by its own MAC or is no event, wherever it stands. What does not
unpack, has other members beside it than its event, or is in the row of another kind of stream, stays as it is.
"""

import re
from base64 import b64decode, b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator
from threading import local

import msgspec
import zstandard

from eventstore.mapper import MAX_BYTES, PLACE
from eventstore.sealed.excerpt import EVENT, SHORT, looked_at
from eventstore.sealed.form_dictionary import DICTIONARY

NUMBER = 1
"""Of the way in which it is packed, its dictionary included. It stands behind what a short form begins with."""

CATEGORIES = ("grant:", "session:", "usage:")
"""Of these streams queries look at nothing but what stands beside a short form, and nobody reads them but by
`eventstore.sealed.log_rows`. In rows of others a short form is none."""

LEVEL = 9
"""Of Zstandard: a higher one takes longer, and no fewer octets."""

LEAST_GAIN = 0.25
"""Of a text: what would be hardly shorter stays as it is."""

_BEGINNING = b'%b%d":"' % (SHORT, NUMBER)
_UNREADABLE = (zstandard.ZstdError, ValueError, LookupError, msgspec.MsgspecError, RecursionError)

_MAGIC = b"\x28\xb5\x2f\xfd"
"""With which each frame begins (RFC 8878 §3.1.1), so that it is left out."""

_LENGTH = 2
"""Octets that say how long the frame is. The values follow it."""

_VALUE = re.compile(rb"(?<![\w-])(?:((?:[0-9a-f]{2}){16,})|([\w-]{22,}))(?![\w-])", re.ASCII)
"""Digits of hex, or characters of base64url and base62, so many that they are worth a mark."""

# No text has these characters: JSON escapes them.
_ID, _DIGEST, _MAC, _HEX, _BASE64, _KNOWN = b"\x01", b"\x02", b"\x03", b"\x04", b"\x05", b"\x06"
_LENGTHS = {_ID: 22, _DIGEST: 64, _MAC: 32}
_IN_HEX = (_DIGEST, _MAC, _HEX)
_OF_ID, _OF_HEX = {22: _ID}, {64: _DIGEST, 32: _MAC}
_MARK = re.compile(rb"([\x01-\x03])|([\x04\x05])([0-9]{1,5});|\x06(.)", re.DOTALL)
_FIRST_KNOWN, _MOST_KNOWN = 0x30, 0x4E
"""A value that was said before is named by one character."""

_DICTIONARY = zstandard.ZstdCompressionDict(DICTIONARY, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
_DICTIONARY.precompute_compress(LEVEL)


class _Own(local):
    """What each thread has for itself, since two may not use it at once."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(LEVEL, _DICTIONARY, write_checksum=False, write_dict_id=False)
        self.decompressor = zstandard.ZstdDecompressor(_DICTIONARY)


_own = _Own()


def shortened(form: bytes) -> bytes | None:
    """The short form of an event's text; None where it is not worth it."""
    stream, beside = PLACE.decode(form).stream, _beside(form)
    if not stream.startswith(CATEGORIES):
        return None
    mould, octets = _apart(form, _said(stream, beside))
    frame = _own.compressor.compress(mould)[len(_MAGIC) :]
    if len(frame) + len(octets) > len(form) * (1 - LEAST_GAIN):
        return None
    packed = len(frame).to_bytes(_LENGTH) + frame + octets
    found = b"%b%b%b" % (_BEGINNING, b64encode(packed), beside)
    is_worth_it = len(found) <= len(form) * (1 - LEAST_GAIN)
    return found if is_worth_it and text_of(found, stream) == form else None


def text_of(short: bytes, stream: object) -> bytes | None:
    """The text of which that is the short form, in the row of that stream; None for what is none."""
    end = short.find(b'"', len(_BEGINNING))
    if end < 0 or not short.startswith(_BEGINNING) or not isinstance(stream, str) or not stream.startswith(CATEGORIES):
        return None
    beside = short[end:]
    try:
        packed = b64decode(short[len(_BEGINNING) : end], validate=True)
        values = _LENGTH + int.from_bytes(packed[:_LENGTH])
        mould = _unpacked(_MAGIC + packed[_LENGTH:values])
        form = b"".join(_together(mould, packed[values:], _said(stream, beside)))
        return form if form.startswith(EVENT) and beside == _beside(form) else None
    except _UNREADABLE:
        return None


def _unpacked(frame: bytes) -> bytes:
    # What it says of its length is taken at its word, beyond every limit.
    if not 0 < zstandard.frame_content_size(frame) <= MAX_BYTES:
        raise ValueError("not a text")
    return _own.decompressor.decompress(frame, allow_extra_data=False)


def _beside(form: bytes) -> bytes:
    """What stands behind what is packed: the rest of the object."""
    members = looked_at(form)
    return b'"}' if members == b"{}" else b'",' + members[1:]


def _said(stream: str, beside: bytes) -> list[bytes]:
    """The values that the row says anyway."""
    every = dict.fromkeys(found[0] for found in _VALUE.finditer(stream.encode(errors="replace") + beside))
    return [*every][:_MOST_KNOWN]


def _apart(form: bytes, known: list[bytes]) -> tuple[bytes, bytes]:
    """The text with marks in the place of its values, and those as octets. To those that are `known` come the others,
    as far as one character can name them; what is more stays where it is."""
    octets = list[bytes]()

    def marked(found: re.Match[bytes]) -> bytes:
        value, length = found[0], len(found[0])
        if value in known:
            return _KNOWN + bytes((_FIRST_KNOWN + known.index(value),))
        if len(known) == _MOST_KNOWN:
            return value
        known.append(value)
        if found[1] is not None:
            octets.append(bytes.fromhex(value.decode()))
            return _OF_HEX.get(length) or b"%b%d;" % (_HEX, length)
        octets.append(_octets(value))
        return _OF_ID.get(length) or b"%b%d;" % (_BASE64, length)

    return _VALUE.sub(marked, form), b"".join(octets)


def _together(mould: bytes, octets: bytes, known: list[bytes]) -> Iterator[bytes]:
    """The text piece by piece; ValueError or LookupError where nothing fits together."""
    done = start = length = 0
    for found in _MARK.finditer(mould):
        yield mould[done : found.start()]
        done = found.end()
        if found[4] is not None:
            value = known[found[4][0] - _FIRST_KNOWN]
        else:
            digits = _LENGTHS[found[1]] if found[1] is not None else int(found[3])
            is_hex = (found[1] or found[2]) in _IN_HEX
            took = digits // 2 if is_hex else -(-digits * 6 // 8)
            own = octets[start : start + took]
            start += took
            value = own.hex().encode() if is_hex else _characters(own, digits)
            known.append(value)
        length += len(value)
        if length > MAX_BYTES:
            raise ValueError("longer than any text")
        yield value
    if start != len(octets):
        raise ValueError("more values than marks")
    yield mould[done:]


def _octets(characters: bytes) -> bytes:
    """What characters of base64url say, be they so many or not that whole octets are said."""
    return urlsafe_b64decode(characters + b"A" * (-len(characters) % 4))[: -(-len(characters) * 6 // 8)]


def _characters(octets: bytes, length: int) -> bytes:
    return urlsafe_b64encode(octets + bytes(-len(octets) % 3))[:length]
