"""Tokens that others signed with keys of theirs: assertions, proofs, request objects (RFC 7515, RFC 7519, RFC 8725).

A token is read before anybody believes it, so that its caller can find out whose it is; `signed_by` then tells whether
a key signed it. Where keys come from, and what a token must say, is the caller's to judge. What a header could ask of a
reader that is not done here (a key of its own, an address to fetch one from, an extension) is no token at all.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey
from joserfc.jws import JWSRegistry
from joserfc.util import urlsafe_b64decode

from security.jose import COMPACT, LONGEST_TOKEN, BadToken, read_object

ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
"""With which tokens may be signed (RFC 7518 §3.1, RFC 8037 §3.1): none that a secret would verify."""

LONGEST_HEADER = 4_096

REFUSED = frozenset(("crit", "b64", "zip", "enc", "cty", "jku", "x5u", "x5c"))
"""Header parameters (RFC 7515 §4.1, RFC 7516 §4.1, RFC 7797 §3) whose meaning would have to be obeyed. `cty` announces
a token within the token. What else a header holds is passed over, as RFC 7515 §4 says."""

_KINDS: Mapping[str, type[Key]] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}


class _Registry(JWSRegistry):
    """The algorithms above and headers of any other parameter. joserfc warns of `EdDSA` each time."""

    max_header_length = LONGEST_HEADER

    def get_alg(self, name: str) -> Any:
        if name not in ALGORITHMS:
            raise JoseError(f"{name} is not served")
        return self.algorithms[name]


_registry = _Registry(algorithms=list(ALGORITHMS), strict_check_header=False)


class ReadToken(NamedTuple):
    """What a token says of itself, true or not. `algorithm` is one of `ALGORITHMS`."""

    text: str
    algorithm: str
    header: dict[str, Any]
    claims: dict[str, Any]

    def __repr__(self) -> str:
        return f"ReadToken({self.algorithm})"


def read(token: str, *, own_key: bool = False) -> ReadToken:
    """Takes a token in compact form apart; with `own_key` its header may hold the `jwk` that signed it (RFC 9449 §4.2).

    Raises BadToken for what is none, has two members of one name, or asks for something that is not done.
    """
    if len(token) > LONGEST_TOKEN or not COMPACT.fullmatch(token):
        raise BadToken
    head, body, _ = token.split(".")
    try:
        header, claims = (read_object(urlsafe_b64decode(part.encode())) for part in (head, body))
    except (JoseError, ValueError, RecursionError) as error:
        raise BadToken from error
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS or REFUSED.intersection(header):
        raise BadToken
    if "jwk" in header and not own_key:
        raise BadToken
    return ReadToken(token, algorithm, header, claims)


def signed_by(token: ReadToken, jwk: Mapping[str, Any]) -> bool:
    """Whether this public key signed the token with the algorithm that it names; no for a key that is none."""
    try:
        key = _imported(json.dumps(jwk, sort_keys=True))
        jws.deserialize_compact(token.text.encode(), key, algorithms=[token.algorithm], registry=_registry)
    except (JoseError, ValueError, TypeError, KeyError, RecursionError):
        return False
    return True


@lru_cache(maxsize=2_048)
def _imported(jwk: str) -> Key:
    """The key, ready to verify. To read one takes longer than to use it."""
    members = json.loads(jwk)
    return _KINDS[members["kty"]].import_key(members)
