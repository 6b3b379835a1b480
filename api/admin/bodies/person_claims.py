"""A person's claims (OpenID Connect Core §5.1), as the administration takes them in and gives them out."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from domain.rules import standard_claims
from domain.rules.standard_claims import FLAGS, KEPT, MAXIMUM, ClaimValue, KeptClaim

CLAIMS_EXAMPLE: dict[str, Any] = {
    "given_name": "Paul",
    "family_name": "Baker",
    "middle_name": None,
    "nickname": None,
    "preferred_username": "paul",
    "profile": "https://people.example/paul",
    "picture": "https://people.example/paul.png",
    "website": None,
    "gender": None,
    "birthdate": "1980-05-17",
    "zoneinfo": "Europe/London",
    "locale": "en-GB",
    "address": {"locality": "London", "country": "GB"},
    "phone_number": "+44 20 7946 0018",
    "email_verified": True,
    "phone_number_verified": False,
}

PersonName = Annotated[str, Meta(max_length=MAXIMUM["given_name"])]
Url = Annotated[str, Meta(max_length=MAXIMUM["profile"], description="Begins with https:// or http://.")]
Gender = Annotated[str, Meta(max_length=MAXIMUM["gender"])]
Birthdate = Annotated[
    str, Meta(max_length=MAXIMUM["birthdate"], description="`YYYY-MM-DD`, with 0000 for a year not told, or `YYYY`.")
]
Zoneinfo = Annotated[
    str, Meta(max_length=MAXIMUM["zoneinfo"], description="The name of a time zone, such as `Europe/London`.")
]
Locale = Annotated[str, Meta(max_length=MAXIMUM["locale"], description="A language tag (BCP 47), such as `en-GB`.")]
Phone = Annotated[str, Meta(max_length=MAXIMUM["phone_number"], description="Such as `+44 20 7946 0018`.")]
Lines = Annotated[str, Meta(max_length=MAXIMUM["formatted"], description="May have several lines.")]
Place = Annotated[str, Meta(max_length=MAXIMUM["locality"])]


class AddressChanges(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A postal address (OpenID Connect Core §5.1.1): what is not named stays, null takes a member away."""

    formatted: Lines | None | UnsetType = UNSET
    street_address: Lines | None | UnsetType = UNSET
    locality: Place | None | UnsetType = UNSET
    region: Place | None | UnsetType = UNSET
    postal_code: Place | None | UnsetType = UNSET
    country: Place | None | UnsetType = UNSET


class AddressBody(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A postal address (OpenID Connect Core §5.1.1), of which those members stand there that are known."""

    formatted: str | UnsetType = UNSET
    street_address: str | UnsetType = UNSET
    locality: str | UnsetType = UNSET
    region: str | UnsetType = UNSET
    postal_code: str | UnsetType = UNSET
    country: str | UnsetType = UNSET


class ClaimsGiven(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A person's claims as they are to be; null takes one away."""

    given_name: PersonName | None | UnsetType = UNSET
    family_name: PersonName | None | UnsetType = UNSET
    middle_name: PersonName | None | UnsetType = UNSET
    nickname: PersonName | None | UnsetType = UNSET
    preferred_username: PersonName | None | UnsetType = UNSET
    profile: Url | None | UnsetType = UNSET
    picture: Url | None | UnsetType = UNSET
    website: Url | None | UnsetType = UNSET
    gender: Gender | None | UnsetType = UNSET
    birthdate: Birthdate | None | UnsetType = UNSET
    zoneinfo: Zoneinfo | None | UnsetType = UNSET
    locale: Locale | None | UnsetType = UNSET
    address: AddressChanges | None | UnsetType = UNSET
    phone_number: Phone | None | UnsetType = UNSET
    email_verified: bool | None | UnsetType = UNSET
    phone_number_verified: bool | None | UnsetType = UNSET


def given(body: ClaimsGiven) -> dict[KeptClaim, Any]:
    """What a body names, None for what is to be taken away."""
    named = {name: value for name in KEPT if (value := getattr(body, name)) is not UNSET}
    if isinstance(address := named.get("address"), AddressChanges):
        members = {member: getattr(address, member) for member in standard_claims.ADDRESS}
        named["address"] = {member: value for member, value in members.items() if value is not UNSET}
    return named


def made(body: ClaimsGiven) -> dict[KeptClaim, ClaimValue]:
    """What a body names of somebody new, of whom there is nothing to take away."""
    named = given(body)
    if (address := named.get("address")) is not None:
        named["address"] = standard_claims.merged({}, address) or None
    return {name: value for name, value in named.items() if value is not None}


def told(kept: Mapping[KeptClaim, Any], opened: Callable[[Any], str | None]) -> dict[str, Any]:
    """The members of the answer about a person, of claims as they are kept. What nobody has verified is not."""
    texts = {name: None if name not in kept else opened(kept[name]) for name in KEPT}
    values: dict[str, Any] = {
        name: None if text is None else standard_claims.value_of(name, text) for name, text in texts.items()
    }
    if values["address"] is not None:
        values["address"] = AddressBody(**values["address"])
    return values | {flag: bool(values[flag]) for flag in FLAGS}
