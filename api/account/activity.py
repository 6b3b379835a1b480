"""What happened with a person's account, in plain words, from the log."""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from litestar import Request, get
from msgspec import Meta

from api.account.own import asking, myself
from api.admin.bodies.members import Time
from api.audit.queries.event_conditions import EventConditions
from api.audit.rendering import Rendering, ShownEvent
from api.http.errors import TemporarilyUnavailable
from api.http.parameters import DEFAULT, After, Limit, Page, decode_cursor, encode_cursor
from api.languages import Words
from api.services import Services, services_of
from domain import client
from eventstore import search
from eventstore.database import Connection
from eventstore.personal_data import PersonalData
from eventstore.search import Criteria
from projections.event_index import NameKind

PATH = "/account/activity"
HISTORY = "/account/history"
"""The page of the same."""

CURSOR = "activity"
STEPS_AT_MOST = 200

AT_A_DASHBOARD = Words("You signed in at a dashboard.")
ACCESS_GIVEN = Words("An application got access.")

TOLD: Mapping[str, Words] = {
    "account.registered": Words("Your account was made."),
    "account.profile_changed": Words("Your names or other things about you were changed."),
    "account.password_changed": Words("Your password was changed."),
    "account.sign_in_failed": Words("Somebody tried to sign in as you and failed."),
    "account.roles_changed": Words("What you may do was changed."),
    "account.disabled": Words("Your account was disabled."),
    "account.enabled": Words("Your account was enabled again."),
    "account.tokens_ended": Words("All your sign-ins were ended."),
    "account.totp_enrolled": Words("A generator of codes was set up."),
    "account.factor_removed": Words("Your second factor was taken away."),
    "account.factors_reset": Words("Your second factors were reset."),
    "account.factor_failed": Words("A wrong code was typed after your password."),
    "account.recovery_codes_issued": Words("You got new recovery codes."),
    "account.recovery_requested": Words("A link to a new password was asked for."),
    "account.recovered": Words("You followed the link to a new password."),
    "account.invited": Words("You were invited."),
    "account.invitation_accepted": Words("You followed your invitation."),
    "account.passkey_enrolled": Words("A passkey was set up."),
    "account.passkey_counter_reversed": Words("A passkey of yours was refused: there may be a copy of it."),
    "account.verification_requested": Words("A link was asked for that shows that your e-mail address is yours."),
    "account.email_verified": Words("Your e-mail address was shown to be yours."),
    "account.email_change_requested": Words("Another e-mail address was asked for."),
    "account.email_change_confirmed": Words("One of the two e-mail addresses agreed to the change."),
    "account.notices_changed": Words("What you are told by mail was changed."),
    "account.data_exported": Words("You had everything given to you that is stored about you."),
    "account.erasure_requested": Words("You asked for your account to be erased."),
    "account.erasure_withdrawn": Words("You kept your account."),
    "account.upstream_linked": Words("You were linked to another provider at which you sign in."),
    "account.upstream_unlinked": Words("A link to another provider was taken away."),
    "session.started": Words("You signed in with a browser."),
    "session.stepped_up": Words("You showed once more that it is you."),
    "session.ended": Words("A browser was signed out."),
    "consent.given": Words("You allowed an application something."),
    "consent.extended": Words("You allowed an application more."),
    "consent.denied": Words("You said no to an application."),
    "consent.withdrawn": Words("You took back what an application was allowed."),
    "grant.tokens_issued": ACCESS_GIVEN,
    "grant.device_approved": Words("You connected a device."),
    "grant.device_denied": Words("You refused a device."),
    "grant.code_redeemed": ACCESS_GIVEN,
    "grant.refresh_replayed": Words("A used token came again, so its access was ended."),
    "grant.ended": Words("Access came to its end."),
}
"""What is said of the log, by the type of the event."""

UNTOLD = frozenset(
    (
        "account.erased",
        "account.factor_verified",
        "account.upstream_verified",
        "account.password_rehashed",
        "session.logout_delivered",
        "session.logout_failed",
    )
)
"""What happens with accounts, sign-ins and consents and is of no concern to people, or told by another event."""

EXAMPLE: dict[str, Any] = {
    "id": "0Kq2fV7mXc4RtYpZ1sWb9e",
    "type": "session.started",
    "time": "2026-01-31T12:00:00.000000Z",
    "meaning": "You signed in with a browser.",
    "by_me": True,
    "client_id": None,
    "client_name": None,
    "ip": "203.0.113.7",
    "user_agent": "Mozilla/5.0",
}


class ActivityBody(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened. `by_me` says that it was done by the person; from where is said of that alone, and of
    what nobody in particular did."""

    id: str
    type: str
    time: Time
    meaning: Annotated[str, Meta(description="A sentence.")]
    by_me: bool
    client_id: str | None
    client_name: str | None
    ip: Annotated[str | None, Meta(description="Null once addresses of that time have been forgotten.")]
    user_agent: str | None


class ActivityPage(msgspec.Struct, frozen=True):
    """Some of it, the newest first, and the position at which it goes on; None at the end."""

    items: list[ActivityBody]
    resume: int | None


async def activity(services: Services, account_id: str, limit: int, start: int | None = None) -> ActivityPage:
    """Up to `limit` things that happened, the newest first. Raises Unavailable while the search index is built."""
    ledger = services.ledger
    if not await services.search_index.follow(steps=STEPS_AT_MOST):
        raise TemporarilyUnavailable("The search index is being built. Try again later.", retry_after=30)
    await ledger.settled()
    types = tuple((NameKind.TYPE, tag.encode()) for tag in TOLD)
    criteria = Criteria((((NameKind.ACCOUNT, account_id.encode()),), types), 1, ledger.changes.position, True)
    events: list[ShownEvent] = []
    resume = start
    while True:
        found, resume = await ledger.read(_find, ledger.privacy, account_id, criteria, limit - len(events), resume)
        events += found
        if resume is None or len(events) >= limit:
            break
    return ActivityPage([await _item(services, account_id, each) for each in events], resume)


def _find(
    connection: Connection, privacy: PersonalData, account_id: str, criteria: Criteria, limit: int, start: int | None
) -> tuple[list[ShownEvent], int | None]:
    found = search.search(connection, criteria, limit + 1, start)
    # The search goes on behind what it found, but a page that is full goes on at what did not fit.
    positions = found.positions[:limit]
    resume = found.positions[limit] if len(found.positions) > limit else found.resume
    # What an administrator did to others is in the index beside what happened to them.
    own = EventConditions(about_people=frozenset((account_id,))).passing(connection, positions)
    rendering = Rendering(privacy, connection, personal=True)
    return rendering.events(search.stored_forms(connection, own)), resume


async def _item(services: Services, account_id: str, event: ShownEvent) -> ActivityBody:
    by_me = event.actor.kind == "person" and event.actor.id == account_id
    # From where an administrator or an application came is nothing that the person is told.
    theirs = by_me or event.actor.kind == "anonymous"
    client_id = _client_id(event)
    name = None
    if client_id is not None:
        state: client.State = await services.ledger.state(client.stream(client_id))
        name = state.client_name or None
    return ActivityBody(
        id=event.id,
        type=event.type,
        time=event.time,
        meaning=str(AT_A_DASHBOARD if event.data.get("grant_type") == "password" else TOLD[event.type]),
        by_me=by_me,
        client_id=client_id,
        client_name=name,
        ip=event.ip if theirs else None,
        user_agent=event.user_agent if theirs else None,
    )


def words(event: ActivityBody) -> Words:
    """What is said of it, to be said in other languages."""
    return Words(event.meaning)


def _client_id(event: ShownEvent) -> str | None:
    if event.stream.startswith("consent:"):
        return event.stream.rpartition(":")[2]
    found = event.data.get("client_id")
    return found if isinstance(found, str) else None


@get(PATH, **asking(page=HISTORY, answer={"items": [EXAMPLE], "next": None}), summary="What happened with my account")
async def list_own_activity(
    request: Request[Any, Any, Any], limit: Limit = DEFAULT, after: After = None
) -> Page[ActivityBody]:
    """Sign-ins, consents and changes from the log, the newest first."""
    (start,) = decode_cursor(CURSOR, after, int) or (None,)
    found = await activity(services_of(request), myself(request), limit, start)
    return Page(found.items, None if found.resume is None else encode_cursor(CURSOR, (found.resume,)))


ROUTES: list[Any] = [list_own_activity]
