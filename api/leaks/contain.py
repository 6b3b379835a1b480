"""`POST /leaks/contain`: ends what leaked and what came of it, in one transaction; or says what that would end."""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, post
from litestar.params import JSONBody
from msgspec import UNSET, Meta, UnsetType
from sqlalchemy import Connection

from api.access import caller
from api.arrival import normalise
from api.audit.asking import auditor
from api.audit.filters import moment
from api.audit.presented import RawSecret, Sha256
from api.idempotency import Reply, carry_out, commanding
from api.leaks import presented
from api.leaks.containing import Containment, Wanted
from api.leaks.finding import of_address, of_secret_version
from api.leaks.targets import Target, of_secret
from api.problems import Invalid, Missing
from api.services import Services, services
from domain import audit, incident
from domain.event import SECOND, Moment, Recorded
from domain.incident import Numbers
from eventstore import issued
from eventstore.commands import Command
from eventstore.view import View
from projections import accounts, clients, incidents
from security.tokens import Kind

WRITE = "leaks:write"
Id = Annotated[str, Meta(min_length=1, max_length=128)]
NAMING = ("secret", "sha256", "client_id", "account_id", "secret_id", "address")


class Containing(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What is to end: exactly one of `secret`, `sha256`, `client_id`, `account_id`, `secret_id` and `address`."""

    secret: RawSecret | None = None
    sha256: Sha256 | None = None
    client_id: Id | None = None
    account_id: Id | None = None
    secret_id: Id | None = None
    address: Annotated[str, Meta(max_length=64, description="Grants that were used from this address.")] | None = None
    since: (
        Annotated[str, Meta(max_length=64, description="RFC 3339; only what was issued in that second or later.")]
        | None
    ) = None
    rotate: Annotated[bool, Meta(description="Gives the client a new secret at the same time.")] = False
    disable_client: Annotated[bool, Meta(description="Disables the client too.")] = False
    dry_run: Annotated[bool, Meta(description="Ends nothing and reports the same numbers.")] = False
    evidence: (
        Annotated[
            str,
            Meta(max_length=incident.EVIDENCE_MAXIMUM, description="Where it was found and by whom; kept sealed."),
        ]
        | None
    ) = None


class Contained(msgspec.Struct, frozen=True, kw_only=True):
    """What was ended, or would be. `client_secret` is there after a rotation; null where only the server holds it."""

    incident_id: Annotated[str | None, Meta(description="Null for a dry run about what is no incident yet.")]
    dry_run: bool
    contained: Numbers
    client_secret: str | None | UnsetType = UNSET


EXAMPLE = {
    "incident_id": "7nXq2VbT0cLhR5dKw9PzEs",
    "dry_run": False,
    "contained": {"secrets_ended": 1, "grants_ended": 311, "tokens_ended": 631, "people_affected": 298},
    "client_secret": "glog_cs_…",
}


@post(
    "/leaks/contain",
    status_code=200,
    **commanding(
        WRITE, example={"sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"}, answer=EXAMPLE
    ),
    tags=["Leaks"],
    summary="End what leaked, and what came of it",
)
async def contain(request: Request[Any, Any, Any], data: JSONBody[Containing]) -> Response[Contained]:
    """A client secret ends with every token that it authenticated, a client or person with all of theirs, a token with
    its grant. `since` leaves alive what was issued before. One transaction, whatever its size; nothing revives what it
    ended. An incident is opened, or an open one about the same goes on.
    """
    here = services(request)
    since = _since(data)
    target = await _target(here, data, since)
    _fits(data, target)
    known = await here.ledger.read(_open_incident, target)
    wanted = Wanted(
        since,
        here.format.mint(Kind.CLIENT_SECRET) if data.rotate and not data.dry_run else None,
        data.disable_client,
        caller(request).scope,
    )
    containment = Containment(
        here.ledger,
        target,
        wanted,
        None if known is None else known.incident_id,
        source="administrator",
        evidence=data.evidence,
    )
    if data.dry_run:
        return await _dry_run(request, containment, data)

    def reply(view: View, _: tuple[Recorded, ...]) -> Reply[Contained]:
        shown = {"client_secret": containment.hand_over(view)} if wanted.secret is not None else {}
        return Reply(
            Contained(incident_id=containment.incident_id, dry_run=False, contained=containment.numbers, **shown)
        )

    return await carry_out(request, *containment.commands(), reply=reply)


async def _dry_run(request: Request[Any, Any, Any], containment: Containment, data: Containing) -> Response[Contained]:
    asking, target = auditor(request), containment.target
    asked = {
        "client_id": target.client_id,
        "account_id": target.account_id,
        "secret_id": target.secret_id,
        "sha256": target.sha256,
        "since": data.since,
    }
    facts = {
        "question": "leak_containment_dry_run",
        "parameters": asking.words(asked),
        "address": None if data.address is None else normalise(data.address),
    }

    def under_lock(view: View) -> Mapping[str, Any]:
        return {"count": containment.look(view).tokens_ended}

    def reply(view: View, _: tuple[Recorded, ...]) -> Reply[Contained]:
        known = None if containment.opens else containment.incident_id
        return Reply(Contained(incident_id=known, dry_run=True, contained=containment.numbers))

    return await carry_out(request, Command(asking.stream, audit.read, facts, under_lock), reply=reply)


def _since(data: Containing) -> Moment | None:
    found = moment("since", data.since)
    # Whole seconds, as what is alive is counted.
    return None if found is None else found // SECOND * SECOND


async def _target(here: Services, data: Containing, since: Moment | None) -> Target:
    named = [name for name in NAMING if getattr(data, name) is not None]
    if len(named) != 1:
        raise Invalid.field(named[1] if named else "secret", "give exactly one of " + ", ".join(NAMING))
    if data.secret is not None or data.sha256 is not None:
        return await _of_found(here, data)
    if data.secret_id is not None:
        return _or_missing(await here.ledger.read(of_secret_version, data.secret_id), "secret version")
    if data.client_id is not None:
        client = await here.ledger.read(clients.by_id, data.client_id)
        return _or_missing(None if client is None else Target("client", client_id=client.client_id), "client")
    if data.account_id is not None:
        person = await here.ledger.read(accounts.by_id, data.account_id)
        return _or_missing(None if person is None else Target("account", account_id=person.account_id), "person")
    address = normalise(data.address or "")
    if address is None:
        raise Invalid.field("address", "must be an IP address")
    await here.search_index.follow()
    return await here.ledger.read(of_address, here.ledger, address, since)


async def _of_found(here: Services, data: Containing) -> Target:
    sha256 = data.sha256
    if data.secret is not None:
        looked_at = presented.read(data.secret, here.format)
        if looked_at.problem is not None:
            raise Invalid.field("secret", looked_at.problem)
        sha256 = looked_at.sha256
    return _or_missing(await here.ledger.read(_issued, bytes.fromhex(sha256 or "")), "secret")


def _issued(connection: Connection, digest: bytes) -> Target | None:
    found = issued.find(connection, digest)
    return None if found is None else of_secret(connection, found)


def _or_missing(target: Target | None, what: str) -> Target:
    if target is None:
        raise Missing(f"There is no such {what}.")
    return target


def _fits(data: Containing, target: Target) -> None:
    """What is asked for besides must have something to be done to."""
    if target.client_id is None and (data.rotate or data.disable_client):
        raise Invalid.field("rotate" if data.rotate else "disable_client", "needs a client, and this names none")
    if data.since is not None and target.kind != "address" and not target.cuts_off:
        raise Invalid.field("since", "means nothing for a single token: its grant ends as a whole")


def _open_incident(connection: Connection, target: Target) -> incidents.Incident | None:
    if target.sha256 is not None:
        return incidents.open_about(connection, sha256=target.sha256)
    if target.kind == "address":
        return None
    return incidents.open_about(
        connection, client_id=target.client_id, account_id=target.account_id, target=target.kind
    )


ROUTES: list[Any] = [contain]
