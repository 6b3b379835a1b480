"""Our secrets found in any text, whatever surrounds it, and the rules by which the scanners of others find them.

What is undone before looking is a closed list: JSON escapes (RFC 8259 §7), percent-encoding (RFC 3986 §2.1), base64 and
base64url at each alignment (RFC 4648 §4, §5), of UTF-16 too, hexadecimal digits, Markdown's backslash before an
underscore, and line breaks within a secret with blanks and the marks that diffs, quoted mail and shells put around
them. At most two of them around each other, and all of it once more where HTML's references, wide letters, a terminal's
colours or invisible characters stand in the text. The checksum tells a secret from what only looks like one, so that
undoing too much finds nothing false.

Each step is a pass over the whole text: the time is linear in its length, whatever stands there.
"""

import json
import re
from binascii import a2b_base64, a2b_qp
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice, repeat
from typing import NamedTuple

from security.tokens import CHECKSUM_LENGTH, DEFAULT, RANDOM_LENGTH, Format, Kind, Secret, checksum

LONGEST = 1 << 20
"""Characters that a text may have."""

MOST = 1_000
"""Secrets that one report may name, and damaged ones that are told."""

_RANDOM = slice(len("at_"), len("at_") + RANDOM_LENGTH)
_WHOLE_LENGTH = RANDOM_LENGTH + CHECKSUM_LENGTH
_BODY = f"[0-9A-Za-z]{{{_WHOLE_LENGTH}}}"
_TOLD = 8
"""Characters of one that was cut off by which it is known from a word."""
_KINDS = "|".join(kind.value for kind in Kind)

_AROUND_BREAKS = b" \t\r\n+->|=\\"
_BUT_BACKSLASH = _AROUND_BREAKS[:-1]
_ESCAPE = b"\\u00"
_TO_QUOTED = bytes.maketrans(b"%=\r", b"= \n")
_STANDARD = bytes.maketrans(b"-_", b"+/")
_NOT_BASE64 = b" \t\n>|=\\"
_BASE64 = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz+/-_"
_IS_BASE64 = bytes(b"01"[octet in _BASE64] for octet in range(256))
_ALL_BUT_BASE64 = bytes(octet for octet in range(256) if octet not in _BASE64)
_LONG_RUN = b"1" * 56
"""The shortest secret is 42 characters long, which base64 makes 56 of."""


_HEX = re.compile(rb"[0-9A-Fa-f]{84,}")
"""The shortest secret in hexadecimal digits."""

_REFERENCE = re.compile(
    r"&(?:#0{0,8}(?:([0-9]{1,3})|[xX]0{0,8}([0-9A-Fa-f]{1,2}))(?![0-9A-Fa-f])|lowbar(?=;));?", re.ASCII
)
"""A reference of HTML to a character of ASCII, by its number, or to the one in a secret that has a name."""

_WIDE = {0xFF00 + number: 0x20 + number for number in range(1, 0x5F)}
_INVISIBLE = (0, 0xAD, 0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF)
_PLAIN: Mapping[int, int | None] = _WIDE | dict.fromkeys(_INVISIBLE)
_NOT_PLAIN = re.compile("[" + "".join(map(chr, _PLAIN)) + "]")
_COLOURS = re.compile(r"\x1b\[[0-?]{0,40}[ -/]{0,9}[@-~]")
"""What a terminal is told of how the text behind looks (ECMA-48 §5.4), as `grep --color` puts it within a word."""


_JWT_HEAD = b"eyJhbGciOi"
"""How every header begins that this server signs: with its algorithm."""
_JWT = re.compile(
    rb"(?<![0-9A-Za-z_-])" + _JWT_HEAD + rb"[0-9A-Za-z_-]{8,400}\.[0-9A-Za-z_-]{16,16000}\.[0-9A-Za-z_-]{40,700}"
)
_AROUND_WRAPPED = b" \t\r>|"


class DamagedSecret(NamedTuple):
    """What has our form and a wrong checksum, or was `cut` off, and at which character of the text it begins."""

    kind: Kind
    at: int


class Extract(NamedTuple):
    """What a text of so many `characters` holds: each secret once, up to `MOST` damaged ones, and as many `cut` off."""

    secrets: tuple[Secret, ...]
    damaged: tuple[DamagedSecret, ...]
    characters: int
    cut: tuple[DamagedSecret, ...] = ()


def extract(text: str, format_: Format) -> Extract:
    """Every secret with one of the format's prefixes, and none beyond `MOST`. Nothing of the text is kept."""
    octets, plain = (each.encode("utf-8", "surrogatepass") for each in (text, _plain(text)))
    spelled = (octets,) if plain == octets else (octets, plain)
    found: dict[str, Secret] = {}
    damaged: list[DamagedSecret] = []
    cut: list[DamagedSecret] = []
    signed = dict.fromkeys(_signed(_unwrapped(octets)))
    for prefix in format_.prefixes:
        # What follows is looked ahead at: one secret may begin with the last letters of what looks like another.
        # In octets the search knows by its literal beginning where it need not look.
        pattern = re.compile(rf"{prefix}_(?=((?:{_KINDS})_{_BODY}))".encode())
        wrong: set[bytes] = set()
        for undone in (each for one in spelled for each in _undone(one)):
            signed.update(dict.fromkeys(_signed(undone)))
            for each in dict.fromkeys(pattern.findall(undone)):
                if each in wrong:
                    continue
                if checksum(each[_RANDOM]).encode() != each[-CHECKSUM_LENGTH:]:
                    wrong.add(each)
                    continue
                raw = f"{prefix}_{each.decode()}"
                found.setdefault(raw, Secret(raw, Kind(each[:2].decode())))
                if len(found) > MOST:
                    return Extract(tuple(found.values()), (), len(text))
        damaged += _damaged(text, prefix, wrong)
        cut += _cut(text, prefix, found)
    for token in (each.decode() for each in islice(signed, MOST)):
        if format_.signed(token):
            found.setdefault(token, Secret(token, Kind.ACCESS_TOKEN))
    damaged.sort(key=lambda each: each.at)
    return Extract(tuple(found.values()), tuple(damaged[:MOST]), len(text), tuple(cut[:MOST]))


def _plain(text: str) -> str:
    """The text with the characters that references of HTML stand for, with wide letters narrow, and without what nobody
    sees."""
    if "&" in text:
        text = _REFERENCE.sub(_referred, text)
    if "\x1b" in text:
        text = _COLOURS.sub("", text)
    if ("\0" in text or not text.isascii()) and _NOT_PLAIN.search(text):
        text = text.translate(_PLAIN)
    return text


def _referred(match: re.Match[str]) -> str:
    if match[1] is None and match[2] is None:
        return "_"
    number = int(match[1]) if match[2] is None else int(match[2], 16)
    return chr(number) if number < 0x80 else match[0]


def _signed(octets: bytes) -> Iterable[bytes]:
    """What has the form of an access token that this server signed; whether it did, the signature says."""
    return _JWT.findall(octets) if _JWT_HEAD in octets else ()


def _unwrapped(octets: bytes) -> bytes:
    """Lines run together, without the blanks and quotation marks around them: a hyphen is part of such a token."""
    return b"".join(map(bytes.strip, octets.split(b"\n"), repeat(_AROUND_WRAPPED)))


def extract_all(texts: Iterable[str], format_: Format) -> Extract:
    """The same of several texts, each by itself; places count through them as if they stood behind each other."""
    found: dict[str, Secret] = {}
    damaged: list[DamagedSecret] = []
    characters = 0
    for text in texts:
        one = extract(text, format_)
        found.update((secret.reveal(), secret) for secret in one.secrets)
        damaged += (each._replace(at=each.at + characters) for each in one.damaged)
        characters += one.characters
    return Extract(tuple(found.values()), tuple(damaged[:MOST]), characters)


# What others handed out: it is none of ours to judge or to end, and anyone who pasted it wants to know that it is
# there.

_OTHERS: Mapping[str, str] = {
    "aws_access_key": r"\b(?:AKIA|ASIA)[A-Z2-7]{16}\b",
    "github_token": r"\bgithub_pat_[0-9A-Za-z]{22}_[0-9A-Za-z]{59}\b",
    "gitlab_token": r"\bglpat-[0-9A-Za-z_-]{20}\b",
    "google_api_key": r"\bAIza[0-9A-Za-z_-]{35}(?![0-9A-Za-z_-])",
    "jwt": r"(?<![0-9A-Za-z_.-])eyJ[0-9A-Za-z_-]{8,4000}+\.eyJ[0-9A-Za-z_-]{8,16000}+\.[0-9A-Za-z_-]{16,1400}+",
    "private_key": r"-----BEGIN (?:[A-Z]{2,9} ){0,2}PRIVATE KEY-----",
    "slack_token": r"\bxox[abeprs]-[0-9A-Za-z-]{10,250}",
    "stripe_key": r"\b[rs]k_live_[0-9A-Za-z]{24,99}\b",
}
_BY_OTHERS = re.compile("|".join(f"(?P<{kind}>{pattern})" for kind, pattern in _OTHERS.items()), re.ASCII)
_CHECKED = re.compile(
    rf"(?<=[0-9A-Za-z])_([0-9A-Za-z]{{{RANDOM_LENGTH}}})([0-9A-Za-z]{{{CHECKSUM_LENGTH}}})(?![0-9A-Za-z])", re.ASCII
)
_BEFORE = re.compile(r"(?:.*[^0-9A-Za-z_])?([A-Za-z][0-9A-Za-z]{0,15}(?:_[A-Za-z]{1,4})?)", re.ASCII | re.DOTALL)
_LONGEST_BEFORE = 24
_GITHUB = frozenset({"ghp", "gho", "ghu", "ghs", "ghr"})


class ForeignSecret(NamedTuple):
    """A secret of somebody else: of which kind, as far as its form says, and at which character it begins. A
    `checked_token` has another prefix and a checksum like ours that holds, as those of another Grantlog."""

    kind: str
    at: int


def foreign(text: str, format_: Format) -> tuple[ForeignSecret, ...]:
    """What in the text, as it stands there, others handed out; up to `MOST`. What is quoted or encoded is not found."""
    found = [
        ForeignSecret(match.lastgroup or "", match.start())
        for match in islice(_BY_OTHERS.finditer(text), MOST)
        if match.lastgroup != "jwt" or not format_.signed(match[0])
    ]
    ours = tuple(f"{prefix}_{kind}" for prefix in format_.prefixes for kind in Kind)
    for match in _CHECKED.finditer(text):
        if checksum(match[1].encode()) != match[2] or text.endswith(ours, 0, match.start()):
            continue
        before = _BEFORE.fullmatch(text[max(0, match.start() - _LONGEST_BEFORE) : match.start()])
        if before is None:
            continue
        found.append(
            ForeignSecret("github_token" if before[1] in _GITHUB else "checked_token", match.start() - len(before[1]))
        )
        if len(found) > MOST:
            break
    return tuple(sorted(found, key=lambda each: each.at)[:MOST])


def _damaged(text: str, prefix: str, wrong: set[bytes]) -> list[DamagedSecret]:
    """Those that stand in the text as it is: of what was undone nobody could say where it was."""
    pattern = re.compile(rf"{prefix}_(?=((?:{_KINDS})_{_BODY}))", re.ASCII)
    found = (match for match in pattern.finditer(text) if match[1].encode() in wrong) if wrong else ()
    return [DamagedSecret(Kind(match[1][:2]), match.start()) for match in islice(found, MOST)]


def _cut(text: str, prefix: str, found: Iterable[str]) -> list[DamagedSecret]:
    """Those that end too soon, as in a log of narrow lines; but the beginning of one that was put together is none."""
    pattern = re.compile(rf"{prefix}_({_KINDS})_[0-9A-Za-z]{{{_TOLD},{_WHOLE_LENGTH - 1}}}(?![0-9A-Za-z])", re.ASCII)
    matches = list(islice(pattern.finditer(text), MOST))
    whole = sorted(found) if matches else []
    return [DamagedSecret(Kind(match[1]), match.start()) for match in matches if not _begins(match[0], whole)]


def _begins(part: str, whole: Sequence[str]) -> bool:
    at = bisect_left(whole, part)
    return at < len(whole) and whole[at].startswith(part)


def _undone(octets: bytes) -> Iterator[bytes]:
    """The text as it is and as each step of the list leaves it.

    Both kinds of escapes are undone in one pass: a secret has no character that either begins with. What that pass
    takes for an escape and was none, such as `%fa` before a prefix, is found where fewer passes were made.
    """
    octets = octets.replace(b"\r", b"\n")
    once = _unescaped(octets)
    texts = (octets, once, _unescaped(once), *map(_unescaped, _joined(octets)))
    yield from dict.fromkeys(each for text in dict.fromkeys(texts) for each in _unbroken(text))
    yield from _from_hex(octets)
    for decoded in _decoded(octets):
        yield from _unbroken(decoded)
        if b"_\0" in decoded:
            # UTF-16, as it is in what PowerShell is handed in base64.
            yield decoded.translate(None, b"\0")
        if b"%" in decoded or b"\\" in decoded:
            yield _characters(decoded)
        # A Basic header (RFC 7617) as a value of a Kubernetes Secret, or a whole such document in another one.
        yield from _decoded(decoded)
    if once != octets:
        # Base64 is the second step here, and nothing within it would be a third.
        yield from _decoded(once)


def _unbroken(octets: bytes) -> Iterator[bytes]:
    """The text, and the same without line breaks and all that may be around one, wherever it stands."""
    yield octets
    if b"\n" in octets or b"\r" in octets:
        yield octets.translate(None, _AROUND_BREAKS)


def _joined(octets: bytes) -> Iterator[bytes]:
    """Without line breaks and what is around them; a backslash there is a shell's, or an escape's beginning."""
    if b"\n" not in octets or (b"\\" not in octets and b"%" not in octets):
        return
    lines = octets.split(b"\n")
    yield b"".join(map(bytes.strip, lines, repeat(_AROUND_BREAKS)))
    if b"\\\n" in octets:
        yield b"".join(map(bytes.strip, lines, repeat(_BUT_BACKSLASH)))


def _unescaped(octets: bytes) -> bytes:
    """Without JSON's escapes and without percent-encoding. No secret has a character beyond ASCII."""
    if b"\\" in octets:
        octets = octets.replace(b"\\\\", b"\\").replace(b"\\n", b"\n").replace(b"\\r", b"\n").replace(b"\\t", b" ")
        octets = octets.replace(b"\\_", b"_")
    if b"%" in octets or (b"\\" in octets and _ESCAPE in octets):
        octets = _characters(octets).replace(b"\r", b"\n")
    return octets


def _characters(octets: bytes) -> bytes:
    """The same for characters alone, without JSON's own names of line breaks.

    Quoted-printable (RFC 2045 §6.7) has the decoder in C that passes over what is no escape, so both become that. A
    true equals sign becomes a blank, which is as little part of a secret.
    """
    return a2b_qp(octets.translate(_TO_QUOTED).replace(_ESCAPE, b"="))


def _from_hex(octets: bytes) -> Iterator[bytes]:
    """What long runs of hexadecimal digits stand for, at both places where it may begin."""
    for run in _HEX.findall(octets.replace(b"\n", b"")):
        for start in (0, 1):
            yield bytes.fromhex(run[start : start + (len(run) - start) // 2 * 2].decode())


def _decoded(octets: bytes) -> Iterator[bytes]:
    """What base64 in the text stands for, at each of the four places where it may begin.

    Without what is no base64 all words of a text run together, which only moves that place. A plus or minus at the
    beginning of a line may be a diff's or base64's own.
    """
    if _LONG_RUN not in octets.translate(_IS_BASE64, _NOT_BASE64):
        return
    texts = [octets.translate(_STANDARD, _ALL_BUT_BASE64)]
    if b"+" in octets or b"-" in octets:
        lines = octets.translate(None, b" \t")
        if b"\n+" in lines or b"\n-" in lines:
            whole = lines.replace(b"\n+", b"\n").replace(b"\n-", b"\n")
            texts.append(whole.translate(_STANDARD, _ALL_BUT_BASE64))
    for text in texts:
        # The last group may be cut off; what completes it is no character of a secret.
        decoded = a2b_base64(text + b"AAAA"[len(text) % 4 :])
        yield decoded
        # A character later is six bits further. To shift a number takes half the time of decoding once more.
        number = int.from_bytes(decoded, "big")
        for bits in (2, 4, 6):
            yield (number << bits).to_bytes(len(decoded) + 1, "big")


# Rules for secret scanners, made from the one definition of kinds. The prefix, the kind and the length say what a text
# is; the checksum, where the scanner can compute one, says that it is no example out of a book.

_CHARACTER = "[0-9A-Za-z]"
_WHOLE = f"{_CHARACTER}{{{_WHOLE_LENGTH}}}"


def type_name(kind: Kind) -> str:
    """The name under which scanners report that kind, such as `grantlog_access_token`."""
    return "grantlog_" + kind.description.replace(" ", "_")


TYPES: Mapping[str, Kind] = {type_name(kind): kind for kind in Kind}


def gitleaks(format_: Format = DEFAULT) -> str:
    """A configuration of gitleaks and of betterleaks, which reads the same file. They compute no checksum."""
    parts = ['title = "Secrets of Grantlog"\n']
    for kind in Kind:
        parts.append(
            "[[rules]]\n"
            f'id = "{type_name(kind).replace("_", "-")}"\n'
            f'description = "Grantlog {kind.description}"\n'
            f"regex = '''{format_.pattern(kind)}'''\n"
            f'keywords = ["{format_.prefix}_{kind.value}_"]\n'
        )
    return "\n".join(parts)


def kingfisher(format_: Format = DEFAULT) -> str:
    """Rules of kingfisher. It computes the checksum, and passes over what only looks like a secret."""
    checked = f"(?P<body>{_CHARACTER}{{{RANDOM_LENGTH}}})(?P<checksum>{_CHARACTER}{{{CHECKSUM_LENGTH}}})"
    parts = ["rules:\n"]
    for kind in Kind:
        pattern = format_.pattern(kind).removeprefix(r"\b").removesuffix(r"\b").replace(_WHOLE, checked)
        parts.append(
            f"  - name: Grantlog {kind.description}\n"
            f"    id: grantlog.{kind.value}\n"
            f"    pattern: '\\b({pattern})\\b'\n"
            "    min_entropy: 2.5\n"
            "    confidence: high\n"
            "    pattern_requirements:\n"
            "      checksum:\n"
            "        actual:\n"
            '          template: "{{ checksum }}"\n'
            "          requires_capture: checksum\n"
            f'        expected: "{{{{ body | crc32 | base62: {CHECKSUM_LENGTH} }}}}"\n'
            "        skip_if_missing: false\n"
        )
    return "".join(parts)


def github(format_: Format = DEFAULT) -> str:
    """What GitHub's partner programme and custom patterns ask for: a name and an expression for each kind, as JSON."""
    rules = [
        {"type": type_name(kind), "description": f"Grantlog {kind.description}", "pattern": format_.pattern(kind)}
        for kind in Kind
    ]
    return json.dumps(rules, indent=2) + "\n"


def detect_secrets(format_: Format = DEFAULT) -> str:
    """A plugin of detect-secrets, one detector for each kind. It computes the checksum."""
    parts = [_PLUGIN_HEAD.format(random=RANDOM_LENGTH, checksum=CHECKSUM_LENGTH)]
    for kind in Kind:
        name = "".join(word.capitalize() for word in type_name(kind).split("_"))
        parts.append(
            f"class {name}Detector(_Checked):\n"
            f'    secret_type = "Grantlog {kind.description}"\n'
            f'    denylist = [re.compile(r"{format_.pattern(kind)}", re.ASCII)]\n'
        )
    return "\n\n".join(parts)


_PLUGIN_HEAD = '''"""Secrets of Grantlog, for `detect-secrets scan --plugin THIS_FILE`."""

import re
from zlib import crc32

from detect_secrets.plugins.base import RegexBasedDetector

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def checksum(body):
    number, digits = crc32(body.encode("ascii")), ""
    for _ in range({checksum}):
        number, digit = divmod(number, 62)
        digits = ALPHABET[digit] + digits
    return digits


class _Checked(RegexBasedDetector):
    secret_type = ""
    denylist = []

    def analyze_string(self, string):
        for found in super().analyze_string(string):
            if checksum(found[-{random} - {checksum} : -{checksum}]) == found[-{checksum}:]:
                yield found
'''

RULES: Mapping[str, Callable[[Format], str]] = {
    "gitleaks": gitleaks,
    "kingfisher": kingfisher,
    "github": github,
    "detect-secrets": detect_secrets,
}
"""Every format in which the rules can be had."""
