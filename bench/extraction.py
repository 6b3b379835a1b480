"""How long it takes to find every secret in a text of a mebibyte: `python -m bench.extraction`.

The texts are the worst that could be thought of for each step: one that is nothing but what that step looks for.
"""

import os
from base64 import b64encode
from time import process_time

from security.scanning import LONGEST, extract
from security.tokens import DEFAULT, Kind, characters

ROUNDS = 5

_NEARLY = "glog_at_" + "a" * 36
_SECRETS = " ".join(DEFAULT.mint(Kind.ACCESS_TOKEN).reveal() for _ in range(1_000))


def _filled(piece: str) -> str:
    return (piece * (LONGEST // len(piece) + 1))[:LONGEST]


TEXTS = {
    "a log": _filled("2026-02-01T08:30:00Z INFO request path=/oauth/token status=200 took=3.1ms\n"),
    "random letters": characters(LONGEST),
    "a thousand secrets, again and again": _filled(_SECRETS + "\n"),
    "twenty thousand secrets": " ".join(DEFAULT.mint(Kind.ACCESS_TOKEN).reveal() for _ in range(20_000)),
    "nothing but wrong checksums": "".join(f"glog_at_{number:036d}" for number in range(LONGEST // 44)),
    "the same, escaped": _filled(_NEARLY + "\\u0067%67\n"),
    "JSON escapes": _filled("\\u0067"),
    "JSON escapes, escaped": _filled("\\\\u0067"),
    "percent escapes": _filled("%67"),
    "base64": b64encode(os.urandom(LONGEST * 3 // 4)).decode(),
    "base64 in lines, escapes between": _filled(b64encode(os.urandom(57)).decode() + "\\n%0A\n"),
    "the prefix in base64, escapes between": _filled(b64encode(b"glog_at_%" * 6).decode() + "\\n%0A\n"),
    "short runs of base64": _filled(b64encode(b"glog_cs_" * 6).decode() + ","),
    "everything by turns": _filled("%41\\u0041\n+A"),
    "line breaks": _filled("\n"),
    "line breaks, marks and escapes": _filled("+\n\\%"),
    "the prefix": _filled("glog_at_"),
    "references of HTML": _filled("&#103;&#x67;"),
    "wide letters": _filled("\uff47\uff4c"),
    "invisible characters": _filled("\u200bg"),
    "hexadecimal digits": _filled("676c6f675f61745f"),
    "UTF-16 in base64": b64encode(("glog_at_" * (LONGEST // 22)).encode("utf-16-le")).decode()[:LONGEST],
}


def main() -> None:
    """Prints the least processor time of some rounds for each text, in milliseconds."""
    for name, text in TEXTS.items():
        best = min(_timed(text) for _ in range(ROUNDS))
        print(f"{name:40} {best * 1e3:6.1f} ms")


def _timed(text: str) -> float:
    began = process_time()
    extract(text, DEFAULT)
    return process_time() - began


if __name__ == "__main__":
    main()
