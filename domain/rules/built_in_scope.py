"""Built-in scopes (OpenID Connect Core §3.1.2.1, §5.4, §11), and `account`: there without anybody having defined them.

They speak of a person, whom no role has to allow it: what one may have of them is between the client, which is
registered with them like with any other, and the person, who is asked.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

OPENID = "openid"
PROFILE = "profile"
EMAIL = "email"
ADDRESS = "address"
PHONE = "phone"
OFFLINE_ACCESS = "offline_access"
ACCOUNT = "account"

DESCRIPTIONS: Mapping[str, str] = MappingProxyType(
    {
        OPENID: "Know that it is you who comes back",
        PROFILE: "See your name, your picture and the rest of your profile",
        EMAIL: "See your e-mail address",
        ADDRESS: "See your postal address",
        PHONE: "See your telephone number",
        OFFLINE_ACCESS: "Keep this access while you are away",
        ACCOUNT: "Look after your account for you",
    }
)
"""What the consent page says of each. A name that an installation defined before keeps the installation's words."""

BUILT_IN = frozenset(DESCRIPTIONS)

_ONLY_WHEN_ASKED = frozenset((OPENID, OFFLINE_ACCESS))


def supplied(names: Iterable[str], *, dashboard: bool) -> tuple[str, ...]:
    """Those of a client's scopes that a request gets which names none: `openid` changes what a refresh token is, and
    `offline_access` is to be asked for (OpenID Connect Core §11). A dashboard has no other way to ask.
    """
    return tuple(name for name in names if name not in _ONLY_WHEN_ASKED or (dashboard and name == OPENID))


def within(names: Iterable[str], *, dashboard: bool) -> tuple[str, ...]:
    """Those of a client's scopes that it can have: `account` opens people's accounts, and only dashboards do that.

    A third party may have been registered with a scope of this name before it was built in.
    """
    return tuple([name for name in names if dashboard or name != ACCOUNT])


def forgoes_refreshing(scope: Iterable[str]) -> bool:
    """Whether what a person approved has no refresh token: signing in is over with the access token, unless they
    allowed `offline_access` (OpenID Connect Core §11).
    """
    names = frozenset(scope)
    return OPENID in names and OFFLINE_ACCESS not in names
