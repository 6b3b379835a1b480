"""Keys that sign tokens, made once for a run: the servers of the scenarios take turns with them."""

from functools import cache
from itertools import count

from security.jose import MadeKey, PrivateKey, make_key

SEVERAL = 4
"""So many keys of an algorithm, one after the other, are different ones."""

_turns = count()


ready = cache(PrivateKey)
"""A private key that is ready to sign. To look whether an RSA key is sound takes as long as a request."""


def lent_key(algorithm: str) -> MadeKey:
    """A key, in the place of a new one."""
    return _kept(algorithm, next(_turns) // SEVERAL % SEVERAL)


@cache
def _kept(algorithm: str, number: int) -> MadeKey:
    return make_key(algorithm)
