"""The configured witnesses: where each is reached, and by which key it is known."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from eventstore.transparency.note import COSIGNATURE_V1, VerifierKey
from eventstore.transparency.witnesses import Witness


def configured(texts: Sequence[str]) -> list[Witness]:
    """Reads `<URL> <verifier key>` for each; ValueError that says in words what is wrong, without repeating it."""
    found = [_witness(text) for text in texts]
    if len({witness.key.name for witness in found}) < len(found):
        raise ValueError("names a witness twice")
    return found


def _witness(text: str) -> Witness:
    url, _, vkey = text.partition(" ")
    try:
        parts = urlsplit(url)
        reachable = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc
    except ValueError:
        reachable = False
    if not reachable or not vkey.strip():
        raise ValueError("must be `https://… name+id+key`, a witness's URL and its verifier key, separated by commas")
    key = VerifierKey.parse(vkey.strip())
    if key.algorithm != COSIGNATURE_V1:
        raise ValueError("holds a key that is no witness's: it signs no cosignatures")
    return Witness(url, key)
