"""All that is stored about a person: given to them, and erased as they wish."""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import msgspec
from litestar import Request, Response, delete, get
from litestar.response import Stream

from api.account.active_sign_ins import ActiveSignInBody, active_sign_ins, all_running, body
from api.account.activity import ActivityBody, activity
from api.account.own import asking, commanding_own, myself
from api.admin.bodies import members, person_bodies
from api.admin.idempotency import Once, Reply
from api.oauth.bearer import caller
from api.services import Injected, Services, services_of
from api.upstreams.administration import link_bodies
from commands import people
from domain import account, client, grant
from eventstore import present
from eventstore.execution import Origin
from projections import grants
from security.clock import format_rfc3339

PATH = "/account/export"
DATA = "/account/data"
"""The page of the same."""

AT_ONCE = 200
"""Things of a kind that are read at a time. There is no limit to how many are told."""

DISPOSITION = {"content-disposition": 'attachment; filename="account.json"', "cache-control": "no-store"}
EXAMPLE = {
    "exported_at": "2026-02-01T08:30:00.000000Z",
    "account": {},
    "factors": {},
    "upstreams": [],
    "consents": [],
    "grants": [],
}


async def export(services: Services, account_id: str, by: Origin) -> AsyncIterator[bytes]:
    """All of it as one JSON object, piece by piece. That it was given is recorded before the first."""
    ledger = services.ledger
    await ledger.execute(people.export_data(account_id), origin=by)
    person: account.State = await ledger.state(account.stream(account_id))
    now, change = ledger.clock.now(), person.email_change
    told: dict[str, Any] = {
        "exported_at": format_rfc3339(now),
        "account": await ledger.read(person_bodies.read_person, ledger.privacy, account_id),
        "factors": {
            "enrolled_at": None if person.factors.totp is None else members.time_or_null(person.factors.enrolled_at),
            "recovery_codes_left": len(person.factors.recovery_codes),
            "passkeys": [
                {
                    "id": each.factor_id,
                    "name": await ledger.unseal(each.name),
                    "rp_id": each.rp_id,
                    "enrolled_at": format_rfc3339(each.enrolled_at),
                }
                for each in person.factors.passkeys
            ],
        },
        "upstreams": await link_bodies(ledger, person),
        "email_change": None if change is None else {"new_email": await ledger.unseal(change.new_email)},
        "notices_off": list(person.notices_off),
        "erasure_due_at": members.time_or_null(person.own_data.erasure_due),
    }
    return _pieces(services, account_id, told)


async def _pieces(services: Services, account_id: str, told: dict[str, Any]) -> AsyncIterator[bytes]:
    yield msgspec.json.encode(told)[:-1]
    for name, every in _LISTS.items():
        yield f',"{name}":['.encode()
        joint = b""
        async for each in every(services, account_id):
            yield joint + msgspec.json.encode(each)
            joint = b","
        yield b"]"
    yield b"}"


async def _consents(services: Services, account_id: str) -> AsyncIterator[dict[str, Any]]:
    after: str | None = None
    while True:
        page = await services.ledger.look(present.consents_of, account_id, limit=AT_ONCE, after=after)
        for each in page.items:
            yield {
                "client_id": each.client_id,
                "client_name": await _name(services, each.client_id),
                "scope": " ".join(each.scope),
                "given_at": format_rfc3339(each.given_at),
            }
        after = page.next
        if after is None:
            return


async def _sign_ins(services: Services, account_id: str) -> AsyncIterator[ActiveSignInBody]:
    found = await all_running(services, account_id)
    for start in range(0, len(found), AT_ONCE):
        for each in await active_sign_ins(services, found[start : start + AT_ONCE]):
            yield body(each)


async def _activity(services: Services, account_id: str) -> AsyncIterator[ActivityBody]:
    start = None
    while True:
        found = await activity(services, account_id, AT_ONCE, start)
        for each in found.items:
            yield each
        start = found.resume
        if start is None:
            return


async def _grants(services: Services, account_id: str) -> AsyncIterator[dict[str, Any]]:
    """Every grant of the person's that is still told of, the newest first."""
    after: int | None = None
    while True:
        now = services.ledger.clock.now()
        page = await services.ledger.read(grants.page, now, account_id=account_id, after=after, limit=AT_ONCE)
        for each in page.items:
            yield {
                "grant_id": each.grant_id,
                "grant_type": each.grant_type,
                "client_id": each.client_id,
                "scope": each.scope,
                "state": each.state,
                "started_at": format_rfc3339(each.started_at),
                "last_used_at": format_rfc3339(each.last_used_at),
                "authorization_details": await _details(services, each.grant_id),
            }
        after = page.next
        if after is None:
            return


_LISTS: Mapping[str, Callable[[Services, str], AsyncIterator[Any]]] = {
    "consents": _consents,
    "sessions": _sign_ins,
    "grants": _grants,
    "activity": _activity,
}


async def _name(services: Services, client_id: str) -> str | None:
    state: client.State = await services.ledger.state(client.stream(client_id))
    return state.client_name or None


async def _details(services: Services, grant_id: str) -> list[Any]:
    """What the person allowed in detail (RFC 9396), with whatever an application had put there of them."""
    state: grant.State = await services.ledger.state(f"grant:{grant_id}")
    text = await services.ledger.unseal(state.details)
    return [] if text is None else msgspec.json.decode(text, type=list[Any])


@get(PATH, **asking(page=DATA, recent=True, answer=EXAMPLE), media_type="application/json", summary="All about me")
async def export_own_data(request: Request[Any, Any, Any]) -> Stream:
    """All that is stored about me, as one JSON object: names and claims, consents, grants, sign-ins, what happened."""
    pieces = await export(services_of(request), myself(request), caller(request).origin)
    return Stream(pieces, media_type="application/json", headers=DISPOSITION)


@delete("/account", **commanding_own(recent=True), summary="Erase my account")
async def erase_own_account(request: Request[Any, Any, Any], once: Injected[Once]) -> Response[None]:
    """After the waiting time of `GRANTLOG_ERASURE_DELAY`, within which it is withdrawn on the page of one's data. A
    repeat changes nothing."""
    waiting = services_of(request).settings.erasure_delay
    requested = people.request_erasure(myself(request), waiting)
    return await once.carry_out(requested, reply=lambda view, _: Reply(None, 204))


ROUTES: list[Any] = [export_own_data, erase_own_account]
