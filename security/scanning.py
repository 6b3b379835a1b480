"""Rules with which secret scanners recognise our secrets, made from the one definition of kinds.

Whoever scans needs no list of ours: the prefix, the kind and the length say what a text is, and the checksum, where the
scanner can compute one, says that it is no example out of a book.
"""

import json
from collections.abc import Callable, Mapping

from security.tokens import CHECKSUM_LENGTH, DEFAULT, RANDOM_LENGTH, Format, Kind

_CHARACTER = "[0-9A-Za-z]"
_WHOLE = f"{_CHARACTER}{{{RANDOM_LENGTH + CHECKSUM_LENGTH}}}"


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
            f'id = "{_dashed(kind)}"\n'
            f'description = "Grantlog {kind.description}"\n'
            f"regex = '''{format_.pattern(kind)}'''\n"
            f'keywords = ["{_head(format_, kind)}"]\n'
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
    """What GitHub's partner programme asks for, a name and an expression for each kind, as JSON.

    The same expressions serve as custom patterns of a repository, an organisation or an enterprise.
    """
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


def _dashed(kind: Kind) -> str:
    return type_name(kind).replace("_", "-")


def _head(format_: Format, kind: Kind) -> str:
    return f"{format_.prefix}_{kind.value}_"
