"""Logos: what of a PNG and an SVG is kept, and which are not taken at all."""

import struct
import zlib

import pytest

from security.logos import LARGEST, PNG, SVG, BadLogo, clean

HEAD = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 8 8">'


def chunk(name: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(*between: bytes, width: int = 2, height: int = 2) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    rows = zlib.compress(b"\0" * (1 + 3 * width) * min(height, 4))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(between) + chunk(b"IDAT", rows) + chunk(b"IEND")


def test_a_png_keeps_its_picture_alone() -> None:
    assert clean(PNG, png(chunk(b"tEXt", b"Author\0Ada"), chunk(b"eXIf", b"place")) + b"<script>") == png()


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"GIF89a",
        png()[:-4],
        png()[:-5] + b"\0" + png()[-4:],
        png(width=2_049),
        png(height=0),
        png(chunk(b"IHDR", b"\0" * 13)),
        png(chunk(b"ABCD")),
        b"\x89PNG\r\n\x1a\n" + chunk(b"IEND"),
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 2**32 - 1) + b"IHDR" + b"\0" * 20,
        png() + b"\0" * LARGEST,
    ],
)
def test_what_is_no_png_is_not_taken(octets: bytes) -> None:
    with pytest.raises(BadLogo):
        clean(PNG, octets)


def svg(inner: str, head: str = HEAD) -> str:
    return clean(SVG, f"{head}{inner}</svg>".encode()).decode()


DRAWN = '<path d="M0 0h8v8z" fill="#fff"></path>'


def test_an_svg_keeps_what_draws() -> None:
    inner = (
        '<!-- a note --><?php echo 1 ?><script>alert(1)</script><style>@import "https://evil.example"</style>'
        '<g onload="alert(1)" style="fill:red; background:url(https://evil.example)">'
        '<path d="M0 0h8v8z" fill="#fff" onclick="x()"/></g>'
        '<image href="https://evil.example/a.png"/><foreignObject><path d="M0 0"/></foreignObject>'
        '<use xlink:href="#a"/><use href="https://evil.example/#a"/><rect fill="url(https://evil.example#a)"/>'
        "<rect mask=\"image-set('//evil.example/a' 1x)\" transform='skewX(1) translate(2, 3)' fill='src(\"a\")'/>"
        '<rect fill="url( #a )" width="&#60;8"/><a href="javascript:alert(1)"><text>hidden</text></a>'
        "<text>A &lt;b&gt; &amp; C</text><animate attributeName='href'/><path xmlns='urn:other' d='M0 0'/>"
    )
    found = svg(inner)
    assert found == (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8">'
        f'<g fill="red">{DRAWN}</g><use href="#a"></use><use></use><rect></rect>'
        '<rect transform="skewX(1) translate(2, 3)"></rect><rect fill="url( #a )"></rect>'
        "<text>A &lt;b&gt; &amp; C</text></svg>"
    )
    assert clean(SVG, found.encode()).decode() == found


@pytest.mark.parametrize(
    "octets",
    [
        b"<html><body/></html>",
        b"not xml",
        HEAD.encode(),
        HEAD.encode() + b"</svg>",
        b'<!DOCTYPE svg [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>' + HEAD.encode() + b"<text>&b;</text></svg>",
        b'<!DOCTYPE svg SYSTEM "https://evil.example/dtd">' + HEAD.encode() + DRAWN.encode() + b"</svg>",
        HEAD.encode("utf-16"),
        HEAD.encode() + b"\xff</svg>",
        HEAD.encode() + b"<g>" * 40 + b"</g>" * 40 + b"</svg>",
        HEAD.encode() + b"<g/>" * 5_000 + DRAWN.encode() + b"</svg>",
        HEAD.encode() + b"\0" + b"</svg>",
        # Each part draws the next one ten times.
        HEAD.encode()
        + b"".join(b'<g id="a%d">%s</g>' % (n, b'<use href="#a%d"/>' % (n + 1) * 10) for n in range(9))
        + b'<path id="a9"/></svg>',
        HEAD.encode() + b'<g id="a"><rect mask="url(#b)"/></g><mask id="b"><use href="#a"/></mask></svg>',
        HEAD.encode() + b'<g id="a"><rect mask="&#10;url(&#9;#b)"/></g><mask id="b"><use href="#a"/></mask></svg>',
        HEAD.encode() + b'<g style="id:a"><use style="href: #a"/></g></svg>',
    ],
)
def test_what_is_no_harmless_svg_is_not_taken(octets: bytes) -> None:
    with pytest.raises(BadLogo):
        clean(SVG, octets)


def test_nothing_else_is_a_logo() -> None:
    with pytest.raises(BadLogo):
        clean("image/gif", png())
