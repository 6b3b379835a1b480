"""Who asks, and the filters of the search, the export and the stream as a request gives them."""

from functools import partial
from typing import Annotated, Any, Literal

from litestar import Request
from litestar.di import NamedDependency, Provide
from litestar.openapi.spec import Schema
from litestar.openapi.spec.enums import OpenAPIType
from litestar.params import QueryParameter

from api.audit.queries.auditor import Auditor
from api.audit.queries.search import EACH_AT_MOST, LONGEST_ID, EventOutcome, Filters, Order, read_filters
from api.http.errors import InsufficientScope
from api.http.request_context import note_reading
from api.oauth.bearer import caller
from api.services import services_of

READ = "audit:read"
PERSONAL = "audit:personal"

WithPersonal = Annotated[
    Literal["0", "1"],
    QueryParameter(name="personal", description="`0`: personal values stay sealed, for a token too that may see them."),
]


Watching = Annotated[
    Literal["0", "1"],
    QueryParameter(
        name="watch",
        description="`1`: this is asked again and again, and one event in five minutes tells of all of it.",
    ),
]


def auditor(request: Request[Any, Any, Any], shows: WithPersonal = "1", watch: Watching = "0") -> Auditor:
    """Whom the route's guard let in."""
    who = caller(request)
    personal, note = shows == "1" and PERSONAL in who.scope, partial(note_reading, request.scope)
    # Anyone who goes on to another page does not ask the same again.
    watching = watch == "1" and "after" not in request.query_params
    return Auditor(services_of(request), who.origin, personal, note, watching)


def shown_to(asking: Auditor) -> tuple[str, ...]:
    """The scopes that who is shown so much has to hold for as long as an answer takes."""
    return (READ, PERSONAL) if asking.personal else (READ,)


def _repeatable(name: str, description: str, longest: int = LONGEST_ID) -> Any:
    return QueryParameter(
        name=name,
        description=f"{description} May be repeated.",
        # Checked below, where it can be said what is wrong. The framework tells of a null, which no query can hold.
        schema_extra={
            "one_of": None,
            "type": OpenAPIType.ARRAY,
            "items": Schema(type=OpenAPIType.STRING, max_length=longest),
            "max_items": EACH_AT_MOST,
        },
    )


def _id(name: str, of_what: str) -> Any:
    return _repeatable(name, f"Events that name this {of_what}.")


Types = Annotated[
    list[str] | None, _repeatable("type", "A type such as `grant.ended`, or `grant.*` for all of a kind.")
]
OtherTypes = Annotated[list[str] | None, _repeatable("not_type", "A type or kind that is left out.")]
ClientIds = Annotated[list[str] | None, _id("client_id", "client, or that it caused")]
AccountIds = Annotated[list[str] | None, _id("account_id", "person, or that they caused")]
GrantIds = Annotated[list[str] | None, _id("grant_id", "grant, or that were caused with it")]
SecretIds = Annotated[list[str] | None, _id("secret_id", "client secret version, or that were caused with it")]
IncidentIds = Annotated[list[str] | None, _id("incident_id", "incident")]
RequestIds = Annotated[list[str] | None, _repeatable("request_id", "The `X-Request-Id`.")]
ByAccountIds = Annotated[list[str] | None, _repeatable("by_account_id", "Events that this person caused.")]
AboutAccountIds = Annotated[
    list[str] | None, _repeatable("about_account_id", "Events that concern this person, whoever caused them.")
]
ByClientIds = Annotated[list[str] | None, _repeatable("by_client_id", "Events that this client caused.")]
Addresses = Annotated[
    list[str] | None, _repeatable("ip", "The network address of the caller. Needs `audit:personal`.", 64)
]
OfOutcome = Annotated[
    EventOutcome | None,
    QueryParameter(
        name="outcome", description="`failure`: what was refused, failed or differed; `success`: everything else."
    ),
]
Username = Annotated[
    str | None,
    QueryParameter(
        name="username",
        max_length=256,
        description="`account_id` by the person's exact username, as it is now, in any realm. Needs `audit:personal`.",
    ),
]
Email = Annotated[
    str | None,
    QueryParameter(
        name="email",
        max_length=256,
        description="`account_id` by the person's exact e-mail address, as it is now. Needs `audit:personal`.",
    ),
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

REPEATABLE = (
    *("type", "not_type", "client_id", "account_id", "grant_id", "secret_id", "incident_id", "request_id"),
    *("by_account_id", "about_account_id", "by_client_id", "ip"),
)
"""Parameters that may be repeated: events are found that match one of each."""


def which(
    request: Request[Any, Any, Any],
    types: Types = None,
    other_types: OtherTypes = None,
    client_ids: ClientIds = None,
    account_ids: AccountIds = None,
    grant_ids: GrantIds = None,
    secret_ids: SecretIds = None,
    incident_ids: IncidentIds = None,
    request_ids: RequestIds = None,
    by_account_ids: ByAccountIds = None,
    about_account_ids: AboutAccountIds = None,
    by_client_ids: ByClientIds = None,
    outcome: OfOutcome = None,
    username: Username = None,
    email: Email = None,
    addresses: Addresses = None,
) -> Filters:
    """Reads which events a request is about, of all times. Raises Invalid or InsufficientScope with the parameter at
    fault."""
    # Anyone who may not see a value could find it by guessing: they learn nothing of whether it is one.
    for field, value in (("ip", addresses), ("username", username), ("email", email)):
        if value is not None and PERSONAL not in caller(request).scope:
            raise InsufficientScope(PERSONAL, field=field)
    return read_filters(
        {
            "type": types,
            "not_type": other_types,
            "client_id": client_ids,
            "account_id": account_ids,
            "grant_id": grant_ids,
            "secret_id": secret_ids,
            "incident_id": incident_ids,
            "request_id": request_ids,
            "by_account_id": by_account_ids,
            "about_account_id": about_account_ids,
            "by_client_id": by_client_ids,
            "ip": addresses,
        },
        outcome=outcome,
        username=username,
        email=email,
    )


def filters(
    chosen: NamedDependency[Filters],
    since: Since = None,
    until: Until = None,
    first: From = None,
    order: Ordered = "asc",
    named: WithNames = "0",
) -> Filters:
    """The same, between two moments and in an order. Raises Invalid with the parameter at fault."""
    return chosen.between(since, until, first, order, names=named == "1")


CHOSEN = {"chosen": Provide(which, sync_to_thread=False)}
FILTERED = CHOSEN | {"given": Provide(filters, sync_to_thread=False)}
"""What handlers take by name: `chosen` which events the request is about, `given` the same between two moments."""
