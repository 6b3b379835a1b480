"""A person's account: who they are here, where they are signed in, and their password."""

from typing import Annotated, Any

import msgspec
from litestar import Request, Response, get, post
from litestar.params import JSONBody, QueryParameter
from msgspec import Meta

from api.account.active_sign_ins import SHOWN, ActiveSignIn, active_sign_ins, ending, portion, running
from api.admin import passwords
from api.branding import branding_at
from api.http.errors import InvalidRequest, Missing, api_error
from api.http.load_shedding import away
from api.http.request_context import Scope
from api.http.templates import page_answer, see_other
from api.languages import Words
from api.oauth.person_authentication import Verified
from api.pages.account import (
    ACCOUNT,
    FORM,
    PAGE,
    AccountForm,
    AnyRealm,
    GoesOn,
    is_stale,
    posted,
    sign_in_first,
    signed_in,
    whose,
)
from api.pages.account_pages import OwnPasswordPage, PlacesPage, ShownLink, ShownPlace, SignedInPage
from api.pages.browser_session import BegunSession, BrowserSession, FormToken, start_session
from api.services import Services, services_of
from api.throttling.admission import admit
from commands import people, upstreams
from domain import account as accounts
from domain.decision import NotFound
from domain.people import upstream
from domain.people.upstream import NAME_MAXIMUM
from domain.people.upstream_link import UpstreamLink
from security.passwords import MAX_BYTES

PASSWORD = "/account/password"  # noqa: S105 - a path
CHANGE = f"{PASSWORD}/change"
UNLINK = "/account/password/unlink"
PLACES = "/account/places"
END = f"{PLACES}/end"
END_OTHERS = f"{PLACES}/end-others"
NEWEST = 5

CHANGED = Words("Your password is changed. Every other sign-in of yours has ended.")
ENDED = Words("Ended.")
NOTICES = {"changed": CHANGED, "ended": ENDED}

Done = Annotated[str | None, QueryParameter(name="done", max_length=32, description="What was just done.")]
LinkName = Annotated[str, QueryParameter(name="name", max_length=NAME_MAXIMUM, description="The provider's name.")]
PlaceId = Annotated[str, QueryParameter(name="id", max_length=128, description="The sign-in's id.")]


class OwnPasswordForm(msgspec.Struct, frozen=True):
    """What the form for another password posts."""

    current_password: Annotated[
        str, Meta(description="The present one.", extra_json_schema={"maxLength": MAX_BYTES})
    ] = ""
    password: Annotated[str, Meta(description="The new one.", extra_json_schema={"maxLength": MAX_BYTES})] = ""
    csrf: FormToken = ""

    def __repr__(self) -> str:
        return "OwnPasswordForm()"


@get(ACCOUNT, **PAGE, summary="Who somebody is here")
async def account(request: Request[Any, Any, Any], realm: AnyRealm = None, done: Done = None) -> Response[bytes]:
    """Who is signed in here, since when, and their newest sign-ins; without a session, the sign-in."""
    services = services_of(request)
    used = await signed_in(services, request.scope, realm)
    if used is None:
        return await sign_in_first(services, realm, "account")
    ledger, person = services.ledger, used.account
    logins = [await ledger.unseal(each) for each in (person.username, person.email)]
    found = sorted(await running(services, person.account_id), key=lambda each: each.started_at, reverse=True)
    page = SignedInPage(
        branding=await branding_at(services, used.realm),
        **await whose(services, used),
        notice=NOTICES.get(done or ""),
        name=await ledger.unseal(person.name),
        logins=tuple(each for each in logins if each is not None),
        since=used.started_at,
        places=tuple(_shown(used, each) for each in await active_sign_ins(services, found[:NEWEST])),
    )
    return page_answer(page, cookies=used.cookies)


# Where somebody is signed in.


@get(PLACES, **PAGE, summary="Where somebody is signed in")
async def account_places(
    request: Request[Any, Any, Any], realm: AnyRealm = None, done: Done = None, after: GoesOn = None
) -> Response[bytes]:
    """Every browser and dashboard, the last used first; without a session, the sign-in."""
    services = services_of(request)
    used = await signed_in(services, request.scope, realm)
    if used is None:
        return await sign_in_first(services, realm, "places")
    found = portion(await running(services, used.account.account_id), SHOWN, after)
    page = PlacesPage(
        branding=await branding_at(services, used.realm),
        **await whose(services, used),
        notice=NOTICES.get(done or ""),
        places=tuple(_shown(used, each) for each in await active_sign_ins(services, found.items)),
        more_url=None if found.next is None else f"{PLACES}?realm={used.realm}&after={found.next}",
        end_others_action=f"{END_OTHERS}?realm={used.realm}",
    )
    return page_answer(page, cookies=used.cookies)


@post(END, **FORM, status_code=303, summary="Ends a sign-in")
async def account_place_ended(
    request: Request[Any, Any, Any], data: JSONBody[AccountForm], place_id: PlaceId, realm: AnyRealm = None
) -> Response[bytes]:
    """With all that it was given; and back to the page."""
    services, scope = services_of(request), request.scope
    used = await posted(services, scope, realm, "places", data.csrf)
    if isinstance(used, Response):
        return used
    await _end(services, scope, used, place_id)
    return see_other(f"{PLACES}?realm={used.realm}&done=ended", used.cookies)


@post(END_OTHERS, **FORM, status_code=303, summary="Ends every other sign-in")
async def account_other_places_ended(
    request: Request[Any, Any, Any], data: JSONBody[AccountForm], realm: AnyRealm = None
) -> Response[bytes]:
    """All but this browser's; and back to the page."""
    services, scope = services_of(request), request.scope
    used = await posted(services, scope, realm, "places", data.csrf)
    if isinstance(used, Response):
        return used
    ended: set[str] = {used.session_id}
    # Each time as many are looked at as are told of.
    while others := [each for each in await running(services, used.account.account_id) if each.id not in ended]:
        for each in others:
            await _end(services, scope, used, each.id)
            ended.add(each.id)
    return see_other(f"{PLACES}?realm={used.realm}&done=ended", used.cookies)


async def _end(services: Services, scope: Scope, used: BrowserSession, place_id: str) -> None:
    commands = await ending(services, used.account.account_id, place_id, by_administrator=False)
    if isinstance(commands, NotFound):
        raise Missing("There is no such sign-in.")
    executed = await services.ledger.execute(*commands, origin=used.origin(scope))
    if executed.refusal is not None:
        raise api_error(executed.refusal)


def _shown(used: BrowserSession, place: ActiveSignIn) -> ShownPlace:
    return ShownPlace(
        name=place.client_name,
        address=place.address,
        user_agent=place.user_agent,
        since=place.started_at,
        last_used=place.last_used_at,
        current=place.id == used.session_id,
        end_action=f"{END}?realm={used.realm}&id={place.id}",
    )


# Their password.

WRONG = Words("That is not your present password.")
UNFIT = Words("The new password must have at least %(minimum)s characters, and not more than can be kept.")
GUESSED = Words("The new password is too easy to guess: %(why)s. %(advice)s")


@get(PASSWORD, **PAGE, summary="The form for another password")
async def account_password(
    request: Request[Any, Any, Any], realm: AnyRealm = None, done: Done = None
) -> Response[bytes]:
    """The form; without a session, the sign-in."""
    services = services_of(request)
    used = await signed_in(services, request.scope, realm)
    if used is None:
        return await sign_in_first(services, realm, "password")
    return await _password_page(services, used, notice=NOTICES.get(done or ""))


@post(CHANGE, **FORM, status_code=303, summary="Changes one's password")
async def account_password_changed(
    request: Request[Any, Any, Any], data: JSONBody[OwnPasswordForm], realm: AnyRealm = None
) -> Response[bytes]:
    """Ends every other sign-in and grant, and signs this browser in anew; or shows the form again."""
    services, scope = services_of(request), request.scope
    admit(services.throttle, scope)
    used = await posted(services, scope, realm, "password", data.csrf)
    if isinstance(used, Response):
        return used
    if (unfit := await _unfit(services, scope, used, data.password)) is not None:
        return await _password_page(services, used, unfit, 400)
    with away(scope):
        try:
            verified = await passwords.verify_own(services, used.account, data.current_password, used.origin(scope))
        except InvalidRequest:
            return await _password_page(services, used, WRONG, 400)
        encoded = await services.hasher.hash(data.password)
    changing = people.set_password(used.account.account_id, encoded, by=None, verified=verified)
    executed = await services.ledger.execute(changing, origin=used.origin(scope))
    if executed.refusal is not None:
        raise api_error(executed.refusal)
    return await _signed_in_anew(services, scope, used, executed.recorded[0].id)


async def _signed_in_anew(services: Services, scope: Scope, used: BrowserSession, changed: str) -> Response[bytes]:
    """The password ended this session too. Anyone who has a second factor shows it with the next sign-in."""
    person: accounts.State = await services.ledger.state(accounts.stream(used.account.account_id))
    begun = await start_session(services, scope, used.realm, Verified(person, changed))
    if not isinstance(begun, BegunSession):
        return await sign_in_first(services, used.realm, "account")
    return see_other(f"{ACCOUNT}?realm={used.realm}&done=changed", begun.cookies)


async def _unfit(services: Services, scope: Scope, used: BrowserSession, password: str) -> Words | None:
    """Why this may not become their password."""
    minimum = services.settings.password_minimum
    if people.password_problem(password, minimum) is not None:
        return Words(UNFIT, minimum=minimum)
    names = await passwords.names_of(services, used.account)
    known = await people.platform_words(services.ledger, services.settings.issuer)
    with away(scope):
        weakness = await services.strength.weakness(password, (*names, *known))
    return None if weakness is None else Words(GUESSED, why=Words(people.WHY[weakness]), advice=Words(people.ADVICE))


async def _password_page(
    services: Services,
    used: BrowserSession,
    error: Words | None = None,
    status: int = 200,
    notice: Words | None = None,
) -> Response[bytes]:
    providers: upstream.State = await services.ledger.state(upstream.STREAM)
    page = OwnPasswordPage(
        branding=await branding_at(services, used.realm),
        **await whose(services, used),
        notice=notice,
        action=f"{CHANGE}?realm={used.realm}",
        minimum=services.settings.password_minimum,
        links=tuple(_link(used, providers, each) for each in used.account.upstreams),
        error=error,
    )
    return page_answer(page, status=status, cookies=used.cookies)


def _link(used: BrowserSession, providers: upstream.State, link: UpstreamLink) -> ShownLink:
    terms = providers.find(used.realm, link.upstream, link.issuer)
    title = link.upstream if terms is None else terms.title
    return ShownLink(title, link.linked_at, f"{UNLINK}?realm={used.realm}&name={link.upstream}")


@post(UNLINK, **FORM, status_code=303, summary="Takes a link to another provider away")
async def account_unlinked(
    request: Request[Any, Any, Any], data: JSONBody[AccountForm], name: LinkName, realm: AnyRealm = None
) -> Response[bytes]:
    """Takes the link away, so that who signs in there is not signed in here any more; and back to the page. Who did not
    sign in a moment ago does so first, as for a change of one's factors."""
    services, scope = services_of(request), request.scope
    used = await posted(services, scope, realm, "links", data.csrf)
    if isinstance(used, Response):
        return used
    if is_stale(services, used):
        return await sign_in_first(services, used.realm, "links")
    command = upstreams.unlink(used.account.account_id, name, by=None)
    executed = await services.ledger.execute(command, origin=used.origin(scope))
    if executed.refusal is not None:
        raise api_error(executed.refusal)
    return see_other(f"{PASSWORD}?realm={used.realm}&done=ended", used.cookies)


ROUTES: list[Any] = [
    account,
    account_places,
    account_place_ended,
    account_other_places_ended,
    account_password,
    account_password_changed,
    account_unlinked,
]
