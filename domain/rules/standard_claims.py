"""The standard claims (OpenID Connect Core §5.1): what of a person may be told beside their login names and their name,
how each is written, and which scope opens it (§5.4).

In events each stands as one text, since one text is what is sealed: `address` as JSON, a flag as `true` or `false`.
"""

import re
from collections.abc import Collection, Container, Iterable, Mapping
from types import MappingProxyType
from typing import Literal, get_args
from urllib.parse import urlsplit

import msgspec

from domain.decision import Outcome, malformed
from domain.event import Event
from domain.rules import built_in_scope, people

Text = Literal[
    "given_name",
    "family_name",
    "middle_name",
    "nickname",
    "preferred_username",
    "profile",
    "picture",
    "website",
    "gender",
    "birthdate",
    "zoneinfo",
    "locale",
    "phone_number",
]
Flag = Literal["email_verified", "phone_number_verified"]
KeptClaim = Literal[Text, "address", Flag]
"""What is kept of a person as a claim. `name`, `email` and `username` are theirs anyway; `updated_at` follows."""

ClaimValue = str | bool | Mapping[str, str]

TEXTS: tuple[Text, ...] = get_args(Text)
FLAGS: tuple[Flag, ...] = get_args(Flag)
KEPT: tuple[KeptClaim, ...] = (*TEXTS, "address", *FLAGS)

ADDRESS = ("formatted", "street_address", "locality", "region", "postal_code", "country")
"""The members of `address` (§5.1.1)."""

MAXIMUM: Mapping[str, int] = MappingProxyType(
    {
        **dict.fromkeys(("given_name", "family_name", "middle_name", "nickname", "preferred_username"), 200),
        **dict.fromkeys(("profile", "picture", "website"), 1_024),
        "gender": 64,
        "birthdate": 10,
        "zoneinfo": 64,
        "locale": 64,
        "phone_number": 64,
        **dict.fromkeys(("formatted", "street_address"), 1_000),
        **dict.fromkeys(("locality", "region", "postal_code", "country"), 200),
    }
)
"""Characters of each, members of `address` included: with the longest ones an event stays below 65,535 bytes."""

OF_SCOPE: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        built_in_scope.PROFILE: (
            "name",
            "given_name",
            "family_name",
            "middle_name",
            "nickname",
            "preferred_username",
            "profile",
            "picture",
            "website",
            "gender",
            "birthdate",
            "zoneinfo",
            "locale",
            "updated_at",
        ),
        built_in_scope.EMAIL: ("email", "email_verified"),
        built_in_scope.ADDRESS: ("address",),
        built_in_scope.PHONE: ("phone_number", "phone_number_verified"),
    }
)
"""What each scope opens (§5.4)."""

CLAIMS: tuple[str, ...] = ("sub", *(name for names in OF_SCOPE.values() for name in names))
"""Every claim that is told, as discovery lists them."""

_SCOPE_OF = {name: scope for scope, names in OF_SCOPE.items() for name in names}

_YEAR = re.compile(r"[0-9]{4}")
_DAY = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)

# RFC 5646 §2.1, the tags that were registered as a whole (grandfathered) left out.
_LOCALE = re.compile(
    r"(?:[a-z]{2,3}(?:-[a-z]{3}){0,3}|[a-z]{4,8})(?:-[a-z]{4})?(?:-(?:[a-z]{2}|[0-9]{3}))?"
    r"(?:-(?:[a-z0-9]{5,8}|[0-9][a-z0-9]{3}))*(?:-[0-9a-wyz](?:-[a-z0-9]{2,8})+)*(?:-x(?:-[a-z0-9]{1,8})+)?"
    r"|x(?:-[a-z0-9]{1,8})+",
    re.IGNORECASE,
)
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,2}")
_PHONE = re.compile(r"\+?[0-9(][0-9 ()./-]*[0-9](?:;ext=[0-9]{1,15})?")
_URL = re.compile(r"https?://[!#-;=?-\[\]_a-z~]+", re.IGNORECASE)


class ClaimTexts(Event, frozen=True, kw_only=True):
    """Claims of a person, as far as they are told (OpenID Connect Core §5.1). Each is one text."""

    given_name: str | None = None
    family_name: str | None = None
    middle_name: str | None = None
    nickname: str | None = None
    preferred_username: str | None = None
    profile: str | None = None
    picture: str | None = None
    website: str | None = None
    gender: str | None = None
    birthdate: str | None = None
    zoneinfo: str | None = None
    locale: str | None = None
    phone_number: str | None = None
    address: str | None = None
    email_verified: str | None = None
    phone_number_verified: str | None = None


def scope_of(claim: str) -> str:
    """The scope that opens a claim of `CLAIMS` but `sub`, which is open to everybody."""
    return _SCOPE_OF[claim]


def opened(scope: Container[str]) -> Iterable[str]:
    """The claims that these scopes open, `sub` aside."""
    return (name for opening, names in OF_SCOPE.items() if opening in scope for name in names)


def beyond(claims: Iterable[str], scope: Container[str], *, within: Container[str]) -> tuple[str, ...]:
    """Those of the claims that can be asked for one by one (§5.5) by a client with the scope `within`, and that no
    scope which it is given opens."""
    opening = ((name, _SCOPE_OF.get(name)) for name in claims)
    return tuple(name for name, opened_by in opening if opened_by in within and opened_by not in scope)


def malformed_claim(given: Mapping[KeptClaim, ClaimValue], time_zones: Collection[str]) -> Outcome | None:
    """Refuses claims of which one cannot stand. `time_zones` are the names there are; none where that is not known."""
    for name, value in given.items():
        if isinstance(value, Mapping):
            for member, text in value.items():
                if fault := _lines_problem(text, MAXIMUM[member]):
                    return malformed(f"{name}.{member}", fault)
        elif isinstance(value, str) and (fault := _problem(name, value, time_zones)):
            return malformed(name, fault)
    return None


def text_of(value: ClaimValue) -> str:
    """A claim as it stands in an event, before it is sealed."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    return msgspec.json.encode({name: value[name] for name in ADDRESS if name in value}).decode()


def value_of(name: str, text: str) -> ClaimValue:
    """The claim that stands in an event as this text."""
    if name in FLAGS:
        return text == "true"
    return msgspec.json.decode(text, type=dict[str, str]) if name == "address" else text


def merged(former: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """An address after a merge patch (RFC 7396): what is not named stays, None takes a member away."""
    after = {**former, **changes}
    return {name: text for name in ADDRESS if (text := after.get(name)) is not None}


def _problem(name: KeptClaim, text: str, time_zones: Collection[str]) -> str | None:
    if problem := people.text_problem(text, MAXIMUM[name]):
        return problem
    match name:
        case "profile" | "picture" | "website":
            return None if _is_url(text) else "must be an address that begins with https:// or http://"
        case "birthdate":
            return None if _is_date(text) else "must be a day as YYYY-MM-DD or a year as YYYY"
        case "zoneinfo":
            known = _ZONE.fullmatch(text) is not None and (not time_zones or text in time_zones)
            return None if known else "must be the name of a time zone, such as Europe/Berlin"
        case "locale":
            return None if _LOCALE.fullmatch(text) else "must be a language tag (BCP 47), such as en-GB"
        case "phone_number":
            return None if _PHONE.fullmatch(text) else "must be a telephone number, such as +49 30 123456"
    return None


def _lines_problem(text: str, maximum: int) -> str | None:
    """An address may have several lines (§5.1.1)."""
    if len(text) > maximum:
        return f"must have at most {maximum} characters"
    lines = text.replace("\r\n", "\n").split("\n")
    return next(filter(None, (people.text_problem(line, maximum) for line in lines)), None)


def _is_url(text: str) -> bool:
    if _URL.fullmatch(text) is None:
        return False
    try:
        return bool(urlsplit(text).hostname)
    except ValueError:
        return False


def _is_date(text: str) -> bool:
    if _YEAR.fullmatch(text):
        return text != "0000"
    if (found := _DAY.fullmatch(text)) is None:
        return False
    year, month, day = map(int, found.groups())
    # The year 0000 is one that is not told (§5.1), and may be a leap year, as it would be by the rule.
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return 1 <= month <= 12 and 1 <= day <= _DAYS[month - 1] and (leap or (month, day) != (2, 29))
