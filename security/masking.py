"""Whatever is shaped like one of our secrets is masked in what is written down: in log lines, and in what callers say.

It is the last defence, not the first: anyone who logs hands over no secret. It cannot know passwords or e-mail
addresses.
"""

import re
from base64 import b64decode, b64encode
from bisect import bisect_left
from collections.abc import Iterator, MutableMapping
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

LogLine = MutableMapping[str, Any]

ENCODED_AT_MOST = 4
"""How often a text may have been percent-encoded, one encoding around the other."""

_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_RUN = re.compile(r"[0-9A-Za-z+/_-]{16,}={0,2}")
_STANDARD = str.maketrans("-_", "+/")
_JWT_HEAD = "eyJ"
_JWT = re.compile(r"eyJ[0-9A-Za-z_-]{8,}(?:\.[0-9A-Za-z_-]*)*")
"""What is signed (RFC 7515 §7.1), whole or cut off: an access token may be (RFC 9068), or an assertion."""

_MEMBER = re.compile(rb'\{"[0-9A-Za-z_#"\\]{4}')
"""How the octets of its header begin: with the name of a member, which has three letters at least."""

_PRIVATE_HEAD = "PRIVATE"
_BLANK = r"(?:[ +]|%20)"
_PEM = re.compile(rf"-----BEGIN{_BLANK}(?:[A-Z0-9]{{1,16}}{_BLANK})?PRIVATE{_BLANK}KEY-----(?:[^-]|-(?!----))*")
_KEY_HEAD = "kty"
_QUOTE = r'(?:\\{0,7}"|%22)'
_BLANKS = r"(?:\s|\+|%20){0,9}"
_PRIVATE_MEMBER = re.compile(
    rf"({_QUOTE}(?:d|p|q|dp|dq|qi|k){_QUOTE}{_BLANKS}(?::|%3[Aa]){_BLANKS}{_QUOTE})[0-9A-Za-z_-]{{16,}}"
)
"""Private keys as PEM (RFC 7468), and the numbers of those in JSON (RFC 7518 §6), in forms and strings of JSON too."""


def _without_jwt(found: re.Match[str]) -> str:
    """A mask for what begins as JSON does. One id of ours in 20,000 looks like it by chance, and stays readable."""
    text, at = found[0], 0
    while at >= 0:
        if _begins_json(text[at : at + 12].partition(".")[0]):
            return f"{text[:at]}jwt_***"
        at = text.find(_JWT_HEAD, at + 1)
    return text


def _begins_json(encoded: str) -> bool:
    return len(encoded) >= 11 and _MEMBER.match(b64decode(encoded[:8].translate(_STANDARD))) is not None


class Masker:
    """Replaces what is shaped like a secret of these prefixes by its kind: `glog_at_***`; in base64, by `***`."""

    def __init__(self, *prefixes: str) -> None:
        self.heads = tuple(f"{prefix}_" for prefix in prefixes)
        prefix = f"(?:{'|'.join(prefixes)})"
        # Also what was cut off or mistyped is masked: eight characters are enough to tell it from a word.
        # Where one begins right behind another, each is masked by itself.
        self.pattern = re.compile(rf"({prefix}_[a-z]{{2}})_(?:(?!{prefix}_)[0-9A-Za-z]){{8,}}")
        self._encoded_heads = frozenset(each for head in self.heads for each in _encoded_heads(head))

    def text(self, value: str) -> str:
        """The text without secrets, percent-encoded ones among them (RFC 3986 §2.1); all else stays as it is."""
        if "%" in value:
            value = self._without_percent_encoded(value)
        if any(head in value for head in self.heads):
            value = self.pattern.sub(r"\1_***", value)
        if _JWT_HEAD in value:
            value = _JWT.sub(_without_jwt, value)
        if _PRIVATE_HEAD in value:
            value = _PEM.sub("private_key_***", value)
        if _KEY_HEAD in value:
            value = _PRIVATE_MEMBER.sub(r"\1***", value)
        if any(head in value for head in self._encoded_heads):
            value = _RUN.sub(self._without_encoded, value)
        return value

    def value(self, value: Any) -> Any:
        """The value with every string in it masked; an object that JSON does not know becomes its masked `str`."""
        match value:
            case str():
                return self.text(value)
            case None | bool() | int() | float():
                return value
            case dict():
                return {self.text(str(key)): self.value(inner) for key, inner in value.items()}
            case list() | tuple() | set() | frozenset():
                return [self.value(inner) for inner in value]
            case bytes():
                return f"{len(value)} bytes"
            case _:
                return self.text(str(value))

    def __call__(self, _logger: Any, _method: str, line: LogLine) -> LogLine:
        for key, value in line.items():
            line[key] = self.value(value)
        return line

    def _without_percent_encoded(self, value: str) -> str:
        """Each secret is masked that stands in the text as it is or as it decodes, however deep the others stand."""
        texts = [value]
        # By octets: characters of several cannot be part of a secret.
        while len(texts) <= ENCODED_AT_MOST and (text := unquote(texts[-1], "latin-1")) != texts[-1]:
            texts.append(text)
        if not any(head in text for text in texts for head in self.heads):
            return value
        found: list[tuple[int, int, str]] = []
        for text in reversed(texts):
            found = _before_decoding(text, found)
            found += ((*match.span(), match[1]) for match in self.pattern.finditer(text))
        pieces, done = [], 0
        # What overlaps is one secret, of which a part can be read without decoding.
        for start, end, kind in sorted(found, key=lambda each: (each[0], -each[1])):
            if start >= done:
                pieces += [value[done:start], kind, "_***"]
            done = max(done, end)
        return "".join([*pieces, value[done:]])

    def _without_encoded(self, run: re.Match[str]) -> str:
        """`***` for characters that are base64, standard or for URLs (RFC 4648 §4, §5), of a text with a secret."""
        text = run[0].rstrip("=").translate(_STANDARD)
        for start in range(4):
            whole = text[start : start + (len(text) - start) // 4 * 4]
            if self.pattern.search(b64decode(whole).decode("latin-1")):
                return "***"
        return run[0]


@lru_cache(maxsize=8)
def masking(*prefixes: str) -> Masker:
    """The masker for secrets of these prefixes."""
    return Masker(*prefixes)


def _before_decoding(text: str, found: list[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    """Where in the text stands what was found at these places of the text as it decodes."""
    if not found:
        return []
    escapes = [escape.start() - 2 * before for before, escape in enumerate(_ESCAPE.finditer(text))]
    return [
        (start + 2 * bisect_left(escapes, start), end + 2 * bisect_left(escapes, end), kind)
        for start, end, kind in found
    ]


def _encoded_heads(head: str) -> Iterator[str]:
    """What the beginning of every secret becomes in base64, by where in a group of three octets it stands."""
    for before in range(3):
        text = b64encode(b"\0" * before + head.encode()).decode()
        # Only the characters that depend on nothing before it or behind it.
        sure = text[-(-before * 8 // 6) : (before + len(head)) * 8 // 6]
        yield from (sure, sure.translate(str.maketrans("+/", "-_")))
