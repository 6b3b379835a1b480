"""Who is in the played month: people, applications, and from where they come. The networks are those of RFC 5737 and
RFC 3849, which nobody has."""

from domain.client import Attributes
from domain.rules.built_in_scope import OFFLINE_ACCESS, OPENID

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:146.0) Gecko/20100101 Firefox/146.0"
CHROME = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/143.0 Safari/537.36"
SAFARI = "Mozilla/5.0 (Macintosh; Intel Mac OS X 15_6) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Safari/605"
PHONE = "Mozilla/5.0 (Linux; Android 16) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/143.0 Mobile Safari/537.36"
AGENTS = (FIREFOX, CHROME, SAFARI, PHONE)
LIBRARY = "python-httpx/0.28.1"
SCRAPER = "Go-http-client/1.1"

SCOPES = {
    "photos:read": "Look at your photos",
    "orders:read": "See what you ordered",
    "orders:write": "Order in your name",
}
"""Defined in the first days, in a person's words."""

SHOPPER = "shopper"
"""The role that may have them, of everybody who joins."""

PEOPLE = (
    ("lena", "Lena Vogt"),
    ("marek", "Marek Novák"),
    ("aiko", "Aiko Tanaka"),
    ("tomas", "Tomás Ortega"),
    ("freya", "Freya Lindqvist"),
    ("samir", "Samir Haddad"),
    ("ines", "Inês Cardoso"),
    ("oluchi", "Oluchi Eze"),
    ("hugo", "Hugo Lambert"),
    ("nina", "Nina Kowalski"),
)
"""They are made known in this order, the first few on one day."""

COLLEAGUES = (
    ("grace", "Grace Murray", ("security",)),
    ("alan", "Alan Mathison", ("auditor",)),
    ("mary", "Mary Fairfax", ("reader",)),
)
"""Those who look after it, besides the demo's administrator."""

PHOTO_PRINTS = Attributes(
    client_name="Photo Prints",
    redirect_uris=("https://prints.example.test/callback",),
    grant_types=("authorization_code", "refresh_token", "client_credentials"),
    scope=("profile", "photos:read", "catalog:read", OPENID, OFFLINE_ACCESS),
)
LEDGERLY = Attributes(
    client_name="Ledgerly",
    redirect_uris=("https://ledgerly.example.test/oauth/callback",),
    grant_types=("authorization_code", "refresh_token"),
    scope=("profile", "orders:read"),
)
NIGHTLY_EXPORT = Attributes(
    client_name="Nightly Export", grant_types=("client_credentials",), scope=("orders:read", "catalog:read")
)
OLD_SCANNER = Attributes(client_name="Old Scanner", grant_types=("client_credentials",), scope=("catalog:read",))
