"""What callers say of themselves, as it may be recorded: a secret that stands in it by mistake is masked."""

from base64 import b64encode
from functools import lru_cache

from api.log_lines import Masker

MASKED = "***"


class Said:
    """Masks secrets of one prefix in texts that are kept. A password there is known to nobody and stays what it is."""

    def __init__(self, prefix: str) -> None:
        self._mask = Masker(prefix).text
        self._marks = _marks(prefix)

    def text(self, value: str) -> str:
        """The text with each secret masked by its kind; with one in base64 in it, nothing of the text is left."""
        for mark in self._marks:
            if mark in value:
                return MASKED
        return self._mask(value)


@lru_cache(maxsize=8)
def said(prefix: str) -> Said:
    """The one for a prefix."""
    return Said(prefix)


def _marks(prefix: str) -> frozenset[str]:
    """How every secret begins in base64 (RFC 4648 §4, §5), at whichever of three places of a group."""
    head = f"{prefix}_".encode()
    marks = set()
    for before in range(3):
        encoded = b64encode(bytes(before) + head + bytes(2)).decode()
        # Six bits a character: those that hold a bit of what stands before or behind may be any.
        certain = encoded[-(-8 * before // 6) : 8 * (before + len(head)) // 6]
        marks |= {certain, certain.replace("+", "-").replace("/", "_")}
    return frozenset(marks)
