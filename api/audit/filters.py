"""Which events are asked for: the filters of the search and of the export, alike."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

from litestar import Request
from litestar.openapi.spec import Schema
from litestar.openapi.spec.enums import OpenAPIType
from litestar.params import QueryParameter
from sqlalchemy import Connection

from api.access import caller
from api.arrival import normalise
from api.audit.asking import PERSONAL
from api.audit.rendering import BY_TAG
from api.problems import InsufficientScope, Invalid
from domain.event import Moment
from domain.rules import registration
from eventstore import searching
from eventstore.mapper import UPCASTS
from eventstore.present import people
from eventstore.present.folds import Folds
from eventstore.privacy import Privacy
from eventstore.searching import Criteria, Name
from eventstore.unsealing import address_key
from projections.event_names import Kind
from security.clock import parse_rfc3339

LONGEST_ID = 128
TYPES_AT_MOST = 32
POSITION_MAXIMUM = 2**53 - 1

_PATTERN = re.compile(r"[a-z_]+(?:\.[a-z_]+|\.\*)")
_ID = re.compile(r"[A-Za-z0-9._~:/+=-]{1,128}")

Order = Literal["asc", "desc"]

TypeFilter = Annotated[
    list[str] | None,
    QueryParameter(
        name="type",
        description="A type such as `grant.ended`, or `grant.*` for all of a kind. May be repeated.",
        # Checked below, where it can be said what is wrong. The framework tells of a null, which no query can hold.
        schema_extra={
            "one_of": None,
            "type": OpenAPIType.ARRAY,
            "items": Schema(type=OpenAPIType.STRING, max_length=LONGEST_ID),
            "max_items": TYPES_AT_MOST,
        },
    ),
]
Address = Annotated[
    str | None,
    QueryParameter(name="ip", max_length=64, description="The network address of the caller. Needs `audit:personal`."),
]
RequestId = Annotated[
    str | None, QueryParameter(name="request_id", max_length=LONGEST_ID, description="The `X-Request-Id`.")
]
Since = Annotated[
    str | None, QueryParameter(name="since", max_length=64, description="RFC 3339; events at this time or later.")
]
Until = Annotated[
    str | None, QueryParameter(name="until", max_length=64, description="RFC 3339; events before this time.")
]
From = Annotated[int | None, QueryParameter(name="from", description="Events at this position, 1 or more, or later.")]
WithNames = Annotated[
    Literal["0", "1"],
    QueryParameter(
        name="names",
        description="`1`: each event has `names`, what its clients and (with `audit:personal`) people are called now.",
    ),
]
Ordered = Annotated[Order, QueryParameter(name="order", description="Oldest or newest first.")]


def _id(name: str, of_what: str) -> Any:
    return QueryParameter(name=name, max_length=LONGEST_ID, description=f"Events that name this {of_what}.")


ClientId = Annotated[str | None, _id("client_id", "client, or that it caused")]
AccountId = Annotated[str | None, _id("account_id", "person, or that they caused")]
Username = Annotated[
    str | None,
    QueryParameter(
        name="username",
        max_length=256,
        description="The same by the person's exact username, as it is now, in any realm. Needs `audit:personal`.",
    ),
]
Email = Annotated[
    str | None,
    QueryParameter(
        name="email",
        max_length=256,
        description="The same by the person's exact e-mail address, as it is now. Needs `audit:personal`.",
    ),
]
GrantId = Annotated[str | None, _id("grant_id", "grant, or that were caused with it")]
SecretId = Annotated[str | None, _id("secret_id", "client secret version, or that were caused with it")]


class Filters(NamedTuple):
    """What is asked for. `asked` is the same as text, for the record; the address is kept apart from it."""

    types: tuple[str, ...]
    names: tuple[tuple[Kind, str], ...]
    address: str | None
    since: Moment | None
    until: Moment | None
    first: int
    order: Order
    asked: dict[str, str | None]
    login: Mapping[people.Login, str]
    with_names: bool

    @property
    def needs_index(self) -> bool:
        return bool(self.types or self.names or self.login or self.address is not None)

    def people(self, folds: Folds, privacy: Privacy) -> tuple[str, ...]:
        """The ids of those who have these login names now, one in each realm at most; none where nobody has."""
        found = []
        for realm in registration.REALMS:
            matches = {
                None if person is None else person.account_id
                for field, text in self.login.items()
                for person in (people.by_login(folds, privacy, field, realm, text),)
            }
            found += [each for each in matches if each is not None and len(matches) == 1]
        return tuple(found)

    def criteria(
        self, connection: Connection, privacy: Privacy, head: int, whose: tuple[str, ...] | None = None
    ) -> Criteria:
        """The same for the log up to `head`. `whose` are the people with its login names, if it has any."""
        named: list[tuple[Name, ...]] = [((kind, value.encode()),) for kind, value in self.names]
        if self.types:
            named.append(tuple((Kind.TYPE, tag.encode()) for tag in self.types))
        if whose is not None:
            named.append(tuple((Kind.ACCOUNT, each.encode()) for each in whose))
        if self.address is not None:
            named.append(((Kind.ADDRESS, address_key(privacy, self.address)),))
        low, high = self.first, head
        if self.since is not None:
            low = max(low, searching.first_at(connection, self.since, head))
        if self.until is not None:
            high = min(high, searching.first_at(connection, self.until, head) - 1)
        return Criteria(tuple(named), low, high, self.order == "desc")


def filters(
    request: Request[Any, Any, Any],
    types: TypeFilter = None,
    client_id: ClientId = None,
    account_id: AccountId = None,
    grant_id: GrantId = None,
    secret_id: SecretId = None,
    username: Username = None,
    email: Email = None,
    ip: Address = None,
    request_id: RequestId = None,
    since: Since = None,
    until: Until = None,
    first: From = None,
    order: Ordered = "asc",
    named: WithNames = "0",
) -> Filters:
    """Reads the filters of a request. Raises Invalid or InsufficientScope with the parameter at fault."""
    given = {
        "client_id": client_id,
        "account_id": account_id,
        "grant_id": grant_id,
        "secret_id": secret_id,
        "request_id": request_id,
    }
    address = None if ip is None else _address(request, ip)
    logins: dict[people.Login, str | None] = {"username": username, "email": email}
    login: dict[people.Login, str] = {field: text for field, text in logins.items() if text is not None}
    for field in login:
        _needs_personal(request, field)
    asked: dict[str, str | None] = {
        "type": None if types is None else ",".join(types),
        **given,
        "since": since,
        "until": until,
        "from": None if first is None else str(first),
        "order": order,
        "names": None if named == "0" else named,
    }
    return Filters(
        _types(types),
        tuple((_KINDS[name], _checked(name, value)) for name, value in given.items() if value is not None),
        address,
        moment("since", since),
        moment("until", until),
        1 if first is None else position("from", first),
        order,
        asked,
        login,
        named == "1",
    )


_KINDS = {
    "client_id": Kind.CLIENT,
    "account_id": Kind.ACCOUNT,
    "grant_id": Kind.GRANT,
    "secret_id": Kind.SECRET,
    "request_id": Kind.REQUEST,
}


def moment(field: str, text: str | None) -> Moment | None:
    """An RFC 3339 time of a request. A `+` that became a blank on its way through a query is a plus again."""
    if text is None:
        return None
    try:
        return parse_rfc3339(text[:-6] + "+" + text[-5:] if text[-6:-5] == " " else text)
    except ValueError:
        raise Invalid.field(field, "must be an RFC 3339 date-time such as 2026-01-31T12:00:00Z") from None


def position(field: str, value: int) -> int:
    """A position of the log. Checked here, because the framework would name the parameter by another name."""
    if not 1 <= value <= POSITION_MAXIMUM:
        raise Invalid.field(field, "must be a position of the log, 1 or more")
    return value


def _needs_personal(request: Request[Any, Any, Any], field: str) -> None:
    if PERSONAL not in caller(request).scope:
        raise InsufficientScope(PERSONAL, field=field)


def _address(request: Request[Any, Any, Any], ip: str) -> str:
    """The address that is searched for. Whoever may not see addresses could find one by guessing it: 403 for them."""
    _needs_personal(request, "ip")
    address = normalise(ip)
    if address is None:
        raise Invalid.field("ip", "must be an IP address")
    return address


def _checked(name: str, value: str) -> str:
    if _ID.fullmatch(value) is None:
        raise Invalid.field(name, "is no id")
    return value


def _types(patterns: list[str] | None) -> tuple[str, ...]:
    """The types that the patterns stand for; one that matches none is kept, and finds nothing."""
    if patterns is None:
        return ()
    if len(patterns) > TYPES_AT_MOST:
        raise Invalid.field("type", f"may be repeated {TYPES_AT_MOST} times")
    found: dict[str, None] = {}
    for pattern in patterns:
        if len(pattern) > LONGEST_ID or _PATTERN.fullmatch(pattern) is None:
            raise Invalid.field("type", "must be a type such as grant.ended, or a pattern such as grant.*")
        prefix = pattern.removesuffix("*")
        matching = [tag for tag in (*BY_TAG, *UPCASTS) if tag.startswith(prefix)] if prefix != pattern else [pattern]
        found |= dict.fromkeys(matching or [pattern])
    return tuple(found)
