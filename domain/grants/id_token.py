"""What an id_token is to say (OpenID Connect Core §2). Which token request brings one, its grant type decides.

It tells who signed in, when and how, and nothing else about them: whatever more a client may know, userinfo tells.
"""

import msgspec

from domain import session
from domain.account import State as Account
from domain.client import State as Client
from domain.decision import Refusal, Unavailable
from domain.grant import State as Grant
from domain.keys import signing_key
from domain.rules import pairwise
from domain.rules.built_in_scope import OPENID
from domain.session import Authentication

CLAIMS = ("iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "azp", "sid", "at_hash")
"""All that an id_token may hold."""


class IdToken(msgspec.Struct, frozen=True):
    """The person, what is known of their sign-in, and the key that is to sign it.

    `sector` is whose name for the person it tells, None for the account's id; `sid` is the name of the session for this
    client; `nonce` the one of the authorization request, None where it had none.
    """

    key_id: str
    account_id: str
    sector: str | None
    client_id: str
    authentication: Authentication
    sid: str | None
    nonce: str | None


def due(
    state: Grant, scope: tuple[str, ...], *, client: Client, account: Account | None, keys: signing_key.State
) -> IdToken | Refusal | None:
    """The id_token of a grant's first tokens or of a refresh; None where nobody asked for one.

    There is one where a person signed in for this client: a dashboard learns at userinfo who did (OpenID Connect Core
    §3.1.3.3). Whatever a refresh says, it has the sign-in of the grant (§12.2).
    """
    if OPENID not in scope or account is None or state.authentication is None:
        return None
    key_id = keys.active.get(client.id_token_signed_response_alg)
    if key_id is None:
        return Refusal(Unavailable.NO_KEY, "There is no key to sign with at present.")
    redeemed = state.code is None or state.code.redeemed
    return IdToken(
        key_id=key_id,
        account_id=account.account_id,
        sector=pairwise.sector(client),
        client_id=client.known_as,
        authentication=state.authentication,
        sid=None if state.session_id is None else session.sid(state.session_id, client.client_id),
        nonce=None if redeemed or state.code is None else state.code.nonce,
    )
