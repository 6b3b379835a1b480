"""`POST /leaks/contain`: ends what leaked and what came of it, in one transaction; or says what that would end."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
from litestar import Response, get, post
from litestar.params import JSONBody
from msgspec import UNSET, Meta, UnsetType

from api.admin.bodies.members import Time, time_or_null
from api.admin.idempotency import Once, Reply, commanding
from api.audit.queries.auditor import Auditor
from api.audit.queries.history import Sha256, Text
from api.http.errors import Missing
from api.leaks import address_target, issuer_keys
from api.leaks.containment import Containment, ContainmentRequest, containments, dry_run
from api.leaks.resolve import NAMING
from api.oauth.bearer import Bearer, needing
from api.services import Injected
from api.throttling.windowed_counter import TokenUses
from commands import servers
from domain import audit, incident, server
from domain.event import Recorded
from domain.incident import Leaked, Numbers
from eventstore.ledger import Ledger
from eventstore.view import View
from security.scanning import MOST
from security.tokens import Format

WRITE = "leaks:write"
Id = Annotated[str, Meta(min_length=1, max_length=128)]


class Containing(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What is to end: exactly one of `secret`, `sha256`, `digests`, `client_id`, `account_id`, `secret_id` and
    `address`."""

    secret: Text | None = None
    sha256: Sha256 | None = None
    digests: (
        Annotated[
            list[Sha256],
            Meta(min_length=1, max_length=MOST, description="The `sha256` of several, as an investigation tells them."),
        ]
        | None
    ) = None
    client_id: Id | None = None
    account_id: Id | None = None
    secret_id: Id | None = None
    address: Annotated[str, Meta(max_length=64, description="Grants that were used from this address.")] | None = None
    since: (
        Annotated[
            str, Meta(max_length=64, description="RFC 3339; only what was issued, or used, in that second or later.")
        ]
        | None
    ) = None
    rotate: Annotated[bool, Meta(description="Gives the client a new secret at the same time.")] = False
    disable_client: Annotated[bool, Meta(description="Disables the client too.")] = False
    dry_run: Annotated[bool, Meta(description="Ends nothing; reports the same numbers or refusal.")] = False
    evidence: (
        Annotated[
            str,
            Meta(
                max_length=incident.WRITTEN_MAXIMUM,
                description="Where it was found and by whom; kept sealed, and secrets in it masked.",
            ),
        ]
        | None
    ) = None


OfflineUntil = Annotated[
    Time | None,
    Meta(description="Until when JWTs among them are good for whoever validates offline; null where there are none."),
]


class ContainedOfOne(msgspec.Struct, frozen=True, kw_only=True):
    """What was ended of one client or person, or would be. `client_secret` is there after a rotation; null where only
    the server holds it."""

    incident_id: Annotated[str | None, Meta(description="Null for a dry run about what is no incident yet.")]
    client_id: str | None
    account_id: str | None
    secrets: Annotated[tuple[Leaked, ...], Meta(description="Those of the text that are of this client or person.")]
    contained: Numbers
    offline_until: OfflineUntil
    client_secret: str | None | UnsetType = UNSET


class Contained(msgspec.Struct, frozen=True, kw_only=True):
    """What was ended, or would be: of the first, and in `items` of each client and person."""

    incident_id: Annotated[str | None, Meta(description="Null for a dry run about what is no incident yet.")]
    dry_run: bool
    contained: Numbers
    offline_until: OfflineUntil
    client_secret: str | None | UnsetType = UNSET
    items: tuple[ContainedOfOne, ...]
    archive_away: Annotated[
        tuple[str, ...] | UnsetType,
        Meta(
            description="Only where there are any: the `sha256` of secrets that were not looked at, since their "
            "archive cannot be read at present. What came of them had ended before it was archived."
        ),
    ] = UNSET


EXAMPLE = {
    "incident_id": "7nXq2VbT0cLhR5dKw9PzEs",
    "dry_run": False,
    "contained": {"secrets_ended": 1, "grants_ended": 311, "tokens_ended": 631, "people_affected": 298},
    "offline_until": None,
    "client_secret": "glog_cs_…",
    "items": [
        {
            "incident_id": "7nXq2VbT0cLhR5dKw9PzEs",
            "client_id": "2Yt0kQm4VdLw8sRz1XbN6c",
            "account_id": None,
            "secrets": [
                {"sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "kind": "client_secret"}
            ],
            "contained": {"secrets_ended": 1, "grants_ended": 311, "tokens_ended": 631, "people_affected": 298},
            "offline_until": None,
            "client_secret": "glog_cs_…",
        }
    ],
}


@post(
    "/leaks/contain",
    status_code=200,
    **commanding(
        WRITE,
        recent=True,
        example={"sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"},
        answer=EXAMPLE,
        lists=True,
    ),
    tags=["Leaks"],
    summary="End what leaked, and what came of it",
)
async def contain(
    data: JSONBody[Containing],
    ledger: Injected[Ledger],
    token_format: Injected[Format],
    token_uses: Injected[TokenUses],
    asking: Injected[Auditor],
    who: Injected[Bearer],
    once: Injected[Once],
) -> Response[Contained]:
    """A client secret ends with every token that it authenticated, a client or person with all of theirs, a token with
    its grant, an address with every grant and every sign-in that was used from there, a key with every grant in
    which something is bound to it or was given for it, and its client never proves itself by it again. Of
    several secrets in a text all end, with one incident for each client. `since` leaves alive what was issued
    before, of an address what was used from there only before. All of it is dead at once, whatever its size, and
    nothing revives it; of an address the grants' own `grant.ended` events follow. An incident is opened, or an
    open one about the same goes on."""
    if (first := await once.first_answer()) is not None:
        return first
    named = _named(data)
    if data.address is not None:
        # What was used from there a moment ago is about to be recorded.
        await token_uses.record(everything=True)
    asked = ContainmentRequest(named, data.since, data.rotate, data.disable_client, data.evidence)
    try:
        found, away = await containments(ledger, token_format, asked, source="administrator", caller_scope=who.scope)
    except Missing:
        await _tell_missing(asking, named, dry_run=data.dry_run)
        await issuer_keys.require_none(ledger, asking.origin, named)
        raise
    await issuer_keys.tell_pasted(ledger, asking.origin, data.secret)
    for each in found:
        await each.prepare()

    def reply(view: View, _: tuple[Recorded, ...]) -> Reply[Contained]:
        return Reply(_contained(view, found, away, dry_run=data.dry_run))

    if data.dry_run:
        for each in found:
            await each.count()
        return await once.carry_out(dry_run(asking, found, data.since), reply=reply)
    for each in found:
        await each.end_at_once(once.ahead)
    opening, *others = found[0].commands()
    others += [step for each in found[1:] for step in each.commands()]
    answer = await once.carry_out(opening, *others, reply=reply)
    if any(each.target.gathered is not None for each in found):
        address_target.begin_settling(ledger)
    return answer


def _named(data: Containing) -> dict[str, str]:
    given = {name: value for name in NAMING if (value := getattr(data, name)) is not None}
    return {name: value if isinstance(value, str) else " ".join(value) for name, value in given.items()}


def _contained(view: View, found: Sequence[Containment], away: tuple[str, ...], *, dry_run: bool) -> Contained:
    items = tuple(
        ContainedOfOne(
            incident_id=each.known_id if dry_run else each.incident_id,
            client_id=each.target.client_id,
            account_id=each.target.account_id,
            secrets=each.target.leaked,
            contained=each.numbers,
            offline_until=time_or_null(each.ended.offline_until),
            client_secret=UNSET if dry_run or each.wanted.secret is None else each.hand_over(view),
        )
        for each in found
    )
    return Contained(
        incident_id=items[0].incident_id,
        dry_run=dry_run,
        contained=items[0].contained,
        offline_until=items[0].offline_until,
        client_secret=items[0].client_secret,
        items=items,
        archive_away=away or UNSET,
    )


async def _tell_missing(asking: Auditor, named: Mapping[str, str], *, dry_run: bool) -> None:
    """To ask for what there is not is a fact too."""
    asked: dict[str, str | None] = {name: asking.unknown(value) for name, value in named.items()}
    question: audit.Question = "leak_containment_dry_run" if dry_run else "leak_containment"
    await asking.record(question, asked, 0, unsealed=False)


# The worst hour: nothing is issued to anybody until it is lifted. Validation goes on.

READ, FREEZE_WRITE = "leaks:read", "leaks:write"
TAGS = ["Leaks"]
FREEZE_EXAMPLE = {"frozen": True, "since": "2026-02-01T02:58:00.000000Z"}


class Freeze(msgspec.Struct, frozen=True):
    """Whether issuance is suspended, and since when."""

    frozen: bool
    since: Time | None


@get("/leaks/freeze", **needing(READ, answer=FREEZE_EXAMPLE), tags=TAGS, summary="Whether issuance is suspended")
async def read_freeze(ledger: Injected[Ledger]) -> Freeze:
    """While it is, anyone who asks for a code or token is told `temporarily_unavailable`."""
    return _freeze(await ledger.state(server.STREAM))


@post(
    "/leaks/freeze",
    status_code=200,
    **commanding(FREEZE_WRITE, recent=True, answer=FREEZE_EXAMPLE),
    tags=TAGS,
    summary="Suspend all issuance",
)
async def freeze(once: Injected[Once]) -> Response[Freeze]:
    """No code and no token is issued from now on, to anybody; what was issued is validated as ever. A repeat changes
    nothing."""
    return await once.carry_out(servers.suspend_issuance(), reply=_reply)


@post(
    "/leaks/unfreeze",
    status_code=200,
    **commanding(FREEZE_WRITE, recent=True, answer={"frozen": False, "since": None}),
    tags=TAGS,
    summary="Resume issuance",
)
async def unfreeze(once: Injected[Once]) -> Response[Freeze]:
    """Codes and tokens are issued again. A repeat changes nothing."""
    return await once.carry_out(servers.resume_issuance(), reply=_reply)


def _reply(view: View, _: object) -> Reply[Freeze]:
    return Reply(_freeze(view.state(server.STREAM)))


def _freeze(state: server.State) -> Freeze:
    return Freeze(state.suspended_at is not None, time_or_null(state.suspended_at))


ROUTES: list[Any] = [contain, read_freeze, freeze, unfreeze]
