"""Logos that administrators give: a PNG or an SVG, made anew from what is known to be harmless, and nothing else of it.

Of a PNG the chunks that make the picture are kept (PNG Third Edition §5.6). Of an SVG the elements and attributes that
draw are: nothing that runs, moves, embeds, or is fetched from anywhere.
"""

import re
import struct
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable
from xml.parsers.expat import ExpatError, ParserCreate
from xml.sax.saxutils import escape, quoteattr

LARGEST = 65_536
"""Bytes."""

SIDE_MAXIMUM = 2_048
"""Pixels."""

ELEMENTS_MAXIMUM = 5_000
DEPTH_MAXIMUM = 32

PNG = "image/png"
SVG = "image/svg+xml"

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHUNKS = frozenset((b"IHDR", b"PLTE", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"sBIT", b"pHYs", b"IDAT", b"IEND"))

_NAMESPACE = "http://www.w3.org/2000/svg"
_XLINK_HREF = "http://www.w3.org/1999/xlink href"
_DRAWING = frozenset(["path", "rect", "circle", "ellipse", "line", "polyline", "polygon", "text", "use"])
_ELEMENTS = _DRAWING | frozenset(
    [
        "svg",
        "g",
        "defs",
        "symbol",
        "title",
        "desc",
        "tspan",
        "linearGradient",
        "radialGradient",
        "stop",
        "clipPath",
        "mask",
    ]
)
_ATTRIBUTES = frozenset(
    [
        "id",
        "viewBox",
        "preserveAspectRatio",
        "width",
        "height",
        "x",
        "y",
        "x1",
        "y1",
        "x2",
        "y2",
        "cx",
        "cy",
        "r",
        "rx",
        "ry",
        "fx",
        "fy",
        "dx",
        "dy",
        "d",
        "points",
        "offset",
        "transform",
        "gradientUnits",
        "gradientTransform",
        "spreadMethod",
        "clipPathUnits",
        "maskUnits",
        "maskContentUnits",
        "pathLength",
        "version",
        "text-anchor",
        "font-family",
        "font-size",
        "font-weight",
        "font-style",
        "letter-spacing",
        "fill",
        "fill-opacity",
        "fill-rule",
        "stroke",
        "stroke-width",
        "stroke-opacity",
        "stroke-linecap",
        "stroke-linejoin",
        "stroke-miterlimit",
        "stroke-dasharray",
        "stroke-dashoffset",
        "opacity",
        "color",
        "stop-color",
        "stop-opacity",
        "clip-path",
        "clip-rule",
        "mask",
        "display",
        "visibility",
    ]
)
_VALUE = re.compile(r"[A-Za-z0-9#%.,:;+*/()\s'\"_-]*")
_CALLED = re.compile(r"([A-Za-z-]*)\s*\(")
_FUNCTIONS = frozenset(
    ["url", "rgb", "rgba", "hsl", "hsla", "matrix", "translate", "scale", "rotate", "skewx", "skewy"]
)
"""Of colours and of places. Of others some fetch what they name, such as `image-set`."""
_OWN_URL = re.compile(r"url\(\s*#[A-Za-z_][\w.-]*\s*\)(\s+[a-z]+)?")
_REFERRING = ("href", "mask", "clip-path")
"""To what is drawn once more; a gradient is not."""
_REFERENCE = re.compile(r"#([A-Za-z_][\w.-]*)")
_WHOLE = "#"
"""Stands for the whole picture; no id that can be referred to is called so."""

_OWN_REFERENCE = re.compile(r"#[A-Za-z_][\w.-]*")


class BadLogo(Exception):
    """A logo that is not taken; the message says why and repeats nothing of it."""


def clean(media_type: str, octets: bytes) -> bytes:
    """The logo without what it needs not. Raises BadLogo."""
    if not 0 < len(octets) <= LARGEST:
        raise BadLogo(f"must have 1 to {LARGEST} bytes")
    if media_type == PNG:
        return _png(octets)
    if media_type == SVG:
        return _svg(octets)
    raise BadLogo(f"must be {PNG} or {SVG}")


def _png(octets: bytes) -> bytes:
    if not octets.startswith(_SIGNATURE):
        raise BadLogo("is no PNG")
    kept, place, seen = [_SIGNATURE], len(_SIGNATURE), list[bytes]()
    while b"IEND" not in seen:
        if len(octets) < place + 12:
            raise BadLogo("is no whole PNG")
        length, name = struct.unpack_from(">I4s", octets, place)
        chunk = octets[place : place + 12 + length]
        if len(chunk) != 12 + length or zlib.crc32(chunk[4:-4]) != struct.unpack(">I", chunk[-4:])[0]:
            raise BadLogo("is no whole PNG")
        if not seen:
            _require_size(name, chunk[8:-4])
        elif name == b"IHDR":
            raise BadLogo("is no PNG")
        if name in _CHUNKS:
            kept.append(chunk)
        elif not name[0] & 0x20:
            raise BadLogo("is a PNG of an unknown kind")
        seen.append(name)
        place += len(chunk)
    if b"IDAT" not in seen:
        raise BadLogo("is no PNG")
    return b"".join(kept)


def _require_size(name: bytes, header: bytes) -> None:
    if name != b"IHDR" or len(header) != 13:
        raise BadLogo("is no PNG")
    width, height = struct.unpack_from(">II", header)
    if not (0 < width <= SIDE_MAXIMUM and 0 < height <= SIDE_MAXIMUM):
        raise BadLogo(f"must have at most {SIDE_MAXIMUM} × {SIDE_MAXIMUM} pixels")


class _Cleaner:
    """Writes down again what may stay of an SVG. `_left_out` counts elements within one that may not."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self.drawn = False
        self._open: list[str] = []
        self._parts: list[str] = [_WHOLE]
        """The ids of what is open; an element without one is part of what it stands in."""
        self._sizes: Counter[str] = Counter()
        self._references: defaultdict[str, list[str]] = defaultdict(list)
        self._left_out = 0
        self._elements = 0

    def start(self, name: str, given: dict[str, str]) -> None:
        """An element begins."""
        self._elements += 1
        namespace, _, local = name.rpartition(" ")
        if self._elements > ELEMENTS_MAXIMUM or len(self._open) + self._left_out >= DEPTH_MAXIMUM:
            raise BadLogo(f"must have at most {ELEMENTS_MAXIMUM} elements, {DEPTH_MAXIMUM} within each other")
        if not self._open and not self._left_out and (namespace, local) != (_NAMESPACE, "svg"):
            raise BadLogo("is no SVG")
        if self._left_out or namespace != _NAMESPACE or local not in _ELEMENTS:
            self._left_out += 1
            return
        told = "" if self._open else f' xmlns="{_NAMESPACE}"'
        attributes = dict(_attributes(given))
        written = "".join(f" {name}={quoteattr(value)}" for name, value in attributes.items())
        self.written.append(f"<{local}{told}{written}>")
        self._open.append(local)
        self._parts.append(attributes.get("id", ""))
        drawn = [each for name in _REFERRING for each in _REFERENCE.findall(attributes.get(name, ""))]
        for part in {*self._parts} - {""}:
            self._sizes[part] += 1
            self._references[part] += drawn
        self.drawn = self.drawn or local in _DRAWING

    def end(self, _: str) -> None:
        """It ends."""
        if self._left_out:
            self._left_out -= 1
        else:
            self.written.append(f"</{self._open.pop()}>")
            self._parts.pop()

    def require_bounded(self) -> None:
        """Raises BadLogo where parts that are drawn by others come to too many elements, or have no end."""
        found: dict[str, int] = {}

        def drawn(part: str, within: tuple[str, ...]) -> int:
            if part in within or len(within) > DEPTH_MAXIMUM:
                raise BadLogo("must have no part that draws itself, and few within each other")
            if part not in found:
                others = Counter(self._references[part]) if part in self._sizes else Counter[str]()
                inner = (drawn(each, (*within, part)) * count for each, count in others.items())
                found[part] = self._sizes[part] + sum(inner)
            return found[part]

        if drawn(_WHOLE, ()) > ELEMENTS_MAXIMUM:
            raise BadLogo(f"must have at most {ELEMENTS_MAXIMUM} elements, with those that are drawn again")

    def text(self, text: str) -> None:
        """Text within it."""
        if not self._left_out and self._open and self._open[-1] in ("text", "tspan", "title", "desc"):
            self.written.append(escape(text))


def _attributes(given: dict[str, str]) -> Iterable[tuple[str, str]]:
    """Those that stay, with what a `style` says among them."""
    found = dict(_styles(given.get("style", ""))) | {name: value for name, value in given.items() if name != "style"}
    for name, value in found.items():
        if name in ("href", _XLINK_HREF) and _OWN_REFERENCE.fullmatch(value.strip()):
            yield "href", value.strip()
        elif name in _ATTRIBUTES and _is_harmless(value):
            yield name, value


def _styles(style: str) -> Iterable[tuple[str, str]]:
    """What a `style` says that an attribute says as well."""
    for part in style.split(";"):
        name, colon, value = part.partition(":")
        if colon:
            yield name.strip(), value.strip()


def _is_harmless(value: str) -> bool:
    """Whether it refers to nothing, or to a part of the picture itself."""
    if not _VALUE.fullmatch(value) or not _FUNCTIONS.issuperset(map(str.lower, _CALLED.findall(value))):
        return False
    return "url" not in value.lower() or _OWN_URL.fullmatch(value.strip()) is not None


def _svg(octets: bytes) -> bytes:
    try:
        octets.decode()
    except UnicodeDecodeError:
        raise BadLogo("must be UTF-8") from None
    cleaner = _Cleaner()
    parser = ParserCreate("utf-8", namespace_separator=" ")
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.StartElementHandler = cleaner.start
    parser.EndElementHandler = cleaner.end
    parser.CharacterDataHandler = cleaner.text
    try:
        parser.Parse(octets, True)
    except (ExpatError, ValueError):
        raise BadLogo("is no well-formed XML") from None
    if not cleaner.drawn:
        raise BadLogo("draws nothing")
    cleaner.require_bounded()
    found = "".join(cleaner.written).encode()
    if len(found) > LARGEST:
        raise BadLogo(f"must have 1 to {LARGEST} bytes")
    return found


def _refuse_doctype(*_: object) -> None:
    """A document type could define entities that grow without end, or are fetched."""
    raise BadLogo("must have no document type")
