"""Network addresses in the address of a search: sealed, as no page's address holds anything of a person's.

Anyone who has the link searches by the same address, and is not told which it is.
"""

from api.console.searching import Given, UnknownFilter
from security import base64url
from security.keyring import Keyring, MasterKeyError, WrapBroken

PURPOSE = "console search address"
MARK = "~"
LONGEST = 64


def is_bare(given: Given) -> bool:
    """Whether an address of a network stands there for everybody to read."""
    return any(not each.startswith(MARK) for each in given.get("ip", ()))


def sealed_addresses(keyring: Keyring, given: Given) -> Given:
    """The same search with its addresses sealed. Raises `UnknownFilter` for what is none by its length."""
    return {**given, "ip": [_sealed(keyring, each) for each in given["ip"]]} if "ip" in given else given


def _sealed(keyring: Keyring, address: str) -> str:
    if address.startswith(MARK):
        return address
    if len(address) > LONGEST:
        raise UnknownFilter("That is no network address.")
    return MARK + base64url.encode(keyring.wrap(PURPOSE, address.encode()))


def opened_addresses(keyring: Keyring, given: Given) -> Given:
    """The same search as the API takes it. Raises `UnknownFilter` for what this server did not seal."""
    return {**given, "ip": [_opened(keyring, each) for each in given["ip"]]} if "ip" in given else given


def _opened(keyring: Keyring, sealed: str) -> str:
    if not sealed.startswith(MARK):
        return sealed
    try:
        return keyring.unwrap(PURPOSE, base64url.decode(sealed.removeprefix(MARK))).decode()
    except (WrapBroken, MasterKeyError, ValueError, IndexError):
        raise UnknownFilter("This address was not sealed by this server. Type it once more.") from None
