"""`id_token_hint` (OpenID Connect Core §3.1.2.1, RP-Initiated Logout §2): an id_token of ours that comes back."""

from collections.abc import Mapping
from typing import NamedTuple

from domain.keys import signing_key
from security import jose


class IdTokenHint(NamedTuple):
    """To which client it was issued, of whom it tells by the name that the client knows, and of which session."""

    client_id: str
    sub: str
    sid: str | None


def read_hint(hint: str, issuer: str, keys: signing_key.State) -> IdTokenHint | None:
    """What an id_token says that this server issued, however long ago; None for any other text.

    An id_token says until when it is good (OpenID Connect Core §2). Signed userinfo (§5.3.2) does not.
    Retired keys count, and revoked ones do not: anyone who has those can sign what they like.
    """

    def known(key_id: str) -> Mapping[str, str] | None:
        key = keys.keys.get(key_id)
        return None if key is None or key.standing == "revoked" else key.jwk

    try:
        found = jose.verify(hint, known)
    except jose.BadToken:
        return None
    claims = found.claims
    sub, audience, sid = claims.get("sub"), claims.get("aud"), claims.get("sid")
    ours = found.typ in (None, "JWT") and claims.get("iss") == issuer and "exp" in claims
    if not ours or not isinstance(sub, str) or not isinstance(audience, str):
        return None
    return IdTokenHint(audience, sub, sid if isinstance(sid, str) else None)
