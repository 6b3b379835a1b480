"""A forgotten password: a link is asked for, mailed, and followed to a new password; and invitations alike.

The answer, its time and the log's growth are the same for every name. A link does nothing by being opened, since mail
programs open links, and signs nobody in: who has a second factor is asked for it at the sign-in that follows.
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from hashlib import sha256
from typing import Annotated, Any, ClassVar

import msgspec
from litestar import Request, Response, get, post
from litestar.params import JSONBody, QueryParameter
from msgspec import Meta

from api.branding import branding_at
from api.http.errors import Missing, Throttled, oauth_error
from api.http.load_shedding import away
from api.http.request_context import Scope, request_context
from api.http.templates import HtmlPage, page_answer
from api.languages import Words
from api.letters.words import LINKS, RECOVER
from api.oauth.person_authentication import LONGEST_NAME, REFUSED_AFTER
from api.pages.account import FORM, PAGE, PLATFORM, SIGN_IN, Realm, known_realm
from api.pages.browser_session import (
    FormToken,
    form_secret,
    form_token,
    is_genuine,
    provide_form_secret,
    require_own_page,
)
from api.pages.sign_in import STALE, Password, Username
from api.services import Services, origin, services_of
from api.throttling.admission import admit
from api.throttling.limits import Bucket, Limit, group
from api.throttling.repeated_facts import Make
from api.upstreams.flow import titles
from commands import counted, people, upstreams
from commands.mailing import recovery
from domain import account, realm
from domain.decision import NotFound, Refusal
from domain.event import Actor
from domain.people.mailed import RECOVERY_LASTS
from domain.rules.people import canonical
from eventstore import present
from eventstore.execution import Origin
from eventstore.pending import mailed_links
from eventstore.pending.mailed_links import LinkPurpose, MailedLink
from security.clock import MINUTE
from security.fair_queue import Asker
from security.mac import normalise
from security.passwords import MAX_CHARACTERS
from security.tokens import Kind, Secret

NEW_PASSWORD, INVITATION = LINKS["recovery"], LINKS["invitation"]
PURPOSE = "recover"
LONGEST_LINK = 128

MISSING = Words("Type your e-mail address or your user name.")
OVER = Words("This link is good no longer: its time is over, it was used, or a newer one took its place.")
TOO_EASY = Words("This password is too easy to guess. Another uncommon word or two would make it a good one.")
NO_ADDRESS = Words("That is no e-mail address.")
NO_MAIL = Words("This server sends no mail. Ask whoever looks after it for a new password.")

ASKED_FROM_ONE_ADDRESS = Bucket(20, 3 * MINUTE)
"""Links that may be asked for from one address at once, and how long it takes until one more may."""

LinkText = Annotated[
    str, Meta(description="The secret of the link that was mailed.", extra_json_schema={"maxLength": LONGEST_LINK})
]
LinkQuery = Annotated[
    str,
    QueryParameter(name="link", description="The secret of the link.", schema_extra={"max_length": LONGEST_LINK}),
]


class RecoverPage(HtmlPage, frozen=True, kw_only=True):
    """The form by which a link is asked for."""

    template: ClassVar[str] = "signing_in/recover.html"
    action: str
    csrf: str
    realm: str
    username: str = ""
    error: str | None = None


class RecoverySentPage(HtmlPage, frozen=True, kw_only=True):
    """What everybody is told who asked. `in_files` says that mail goes into files, as in the demo."""

    template: ClassVar[str] = "signing_in/recovery_sent.html"
    minutes: int
    in_files: bool
    continue_url: str


class NewPasswordPage(HtmlPage, frozen=True, kw_only=True):
    """The form for a new password. `link` is the secret that was mailed, `providers` where else one signs in."""

    template: ClassVar[str] = "signing_in/new_password.html"
    action: str
    csrf: str
    link: str
    username: str
    minimum: int
    invited: bool
    providers: tuple[str, ...] = ()
    error: str | None = None


class PasswordDonePage(HtmlPage, frozen=True, kw_only=True):
    """After a new password; `invited` says that there was none before."""

    template: ClassVar[str] = "signing_in/password_done.html"
    continue_url: str
    invited: bool
    providers: tuple[str, ...] = ()


Ticked = Annotated[
    str,
    Meta(description="`1` to sign in at other providers no more.", extra_json_schema={"maxLength": 1}),
]


class RecoverForm(msgspec.Struct, frozen=True):
    """What the first form posts."""

    username: Username = ""
    csrf: FormToken = ""

    def __repr__(self) -> str:
        return "RecoverForm()"


class NewPasswordForm(msgspec.Struct, frozen=True):
    """What the second form posts."""

    link: LinkText = ""
    password: Password = ""
    csrf: FormToken = ""
    unlink: Ticked = ""

    def __repr__(self) -> str:
        return "NewPasswordForm()"


# Asking for a link.


@get(RECOVER, **PAGE, summary="Asks for a new password")
async def recover(request: Request[Any, Any, Any], realm: Realm = PLATFORM) -> Response[bytes]:
    """The form for the name."""
    services = _mailing(request)
    admit(services.throttle, request.scope)
    return await _recover_page(services, request.scope, await known_realm(services, realm))


@post(RECOVER, **FORM, status_code=200, summary="Has a link to a new password mailed")
async def recover_posted(
    request: Request[Any, Any, Any], data: JSONBody[RecoverForm], realm: Realm = PLATFORM
) -> Response[bytes]:
    """Says the same to everybody, in the same time: the mail comes if there is such a person with an address."""
    services, scope = _mailing(request), request.scope
    admit(services.throttle, scope)
    require_own_page(services, scope)
    secret, realm = form_secret(services, scope), await known_realm(services, realm)
    if secret is None or not is_genuine(data.csrf, secret, PURPOSE):
        return await _recover_page(services, scope, realm, data.username, STALE, 403)
    if not data.username.strip():
        return await _recover_page(services, scope, realm, "", MISSING, 400)
    own = Limit("public_address", f"recover {group(request_context(scope).address)}", ASKED_FROM_ONE_ADDRESS)
    asked = services.throttle.begin(own)
    if asked.retry_after is not None:
        raise Throttled(asked.retry_after)
    with away(scope):
        refusal, _ = await asyncio.gather(
            _ask(services, realm, data.username, origin(scope)), asyncio.sleep(REFUSED_AFTER)
        )
    if refusal is not None:
        raise oauth_error(refusal)
    return page_answer(
        RecoverySentPage(
            branding=await branding_at(services, realm),
            minutes=RECOVERY_LASTS // 60,
            in_files=services.settings.mail == "file",
            continue_url=f"{SIGN_IN}?realm={realm}",
        )
    )


async def _ask(services: Services, realm_name: str, typed: str, by: Origin) -> Refusal | None:
    name = normalise(typed[:LONGEST_NAME])
    field: present.Login = "email" if "@" in canonical(name) else "username"
    ledger = services.ledger
    found, _ = await ledger.look(present.nearest_person, ledger.privacy, field, realm_name, name)
    person = None if found is None or len(typed) > LONGEST_NAME else found
    subject = recovery.subject_digest(services.keyring, realm_name, name if person is None else person.account_id)
    secret = services.format.mint(Kind.PASSWORD_RESET)
    refusal = await ledger.maintain(recovery.ask_for_link, ledger.vault, subject, person, secret, ledger.clock.now())
    if refusal is None:
        await _record(services, realm_name, name, person, by)
    return refusal


async def _record(services: Services, realm_name: str, name: str, person: account.State | None, by: Origin) -> None:
    """By the name that was typed, as failed sign-ins are: the log's growth tells nothing of who exists."""
    if person is None:
        make: Make = partial(counted.unknown_recovery, realm_name)
    else:
        make = partial(counted.recovery, person.account_id)
    typed = "recover " + sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    rest = partial(counted.recoveries, realm_name)
    await services.repeated_facts.note_named(f"{realm.stream(realm_name)} recoveries", typed, make, rest, by)


def _mailing(request: Request[Any, Any, Any]) -> Services:
    services = services_of(request)
    if services.settings.mail == "off":
        raise Missing(NO_MAIL)
    return services


async def _recover_page(
    services: Services, scope: Scope, realm: str, typed: str = "", error: str | None = None, status: int = 200
) -> Response[bytes]:
    secret, cookies = provide_form_secret(services, scope)
    page = RecoverPage(
        branding=await branding_at(services, realm),
        action=f"{RECOVER}?realm={realm}",
        csrf=form_token(secret, PURPOSE),
        realm=realm,
        username=typed[:LONGEST_NAME],
        error=error,
    )
    return page_answer(page, status=status, cookies=cookies)


# Following it.


@get(NEW_PASSWORD, **PAGE, summary="A link to a new password")
async def new_password(request: Request[Any, Any, Any], link: LinkQuery = "") -> Response[bytes]:
    """The form for a new password. Nothing happens to the link or to the person."""
    return await _show(request, "recovery", link)


@post(NEW_PASSWORD, **FORM, status_code=200, summary="Sets the new password")
async def new_password_posted(request: Request[Any, Any, Any], data: JSONBody[NewPasswordForm]) -> Response[bytes]:
    """Sets it, ends every session and grant, and signs nobody in; or shows the form again and says why."""
    return await _set(request, "recovery", data)


@get(INVITATION, **PAGE, summary="An invitation")
async def invitation(request: Request[Any, Any, Any], link: LinkQuery = "") -> Response[bytes]:
    """The form for a password. Nothing happens to the link or to the person."""
    return await _show(request, "invitation", link)


@post(INVITATION, **FORM, status_code=200, summary="Accepts an invitation")
async def invitation_posted(request: Request[Any, Any, Any], data: JSONBody[NewPasswordForm]) -> Response[bytes]:
    """Sets the password that an invited person chose, and signs nobody in; or shows the form again and says why."""
    return await _set(request, "invitation", data)


async def _show(request: Request[Any, Any, Any], purpose: LinkPurpose, text: str) -> Response[bytes]:
    services = services_of(request)
    admit(services.throttle, request.scope)
    return await _new_password_page(services, request.scope, *await _found(services, purpose, text))


async def _set(request: Request[Any, Any, Any], purpose: LinkPurpose, data: NewPasswordForm) -> Response[bytes]:
    services, scope = services_of(request), request.scope
    admit(services.throttle, scope)
    require_own_page(services, scope)
    secret, link = await _found(services, purpose, data.link)
    browser = form_secret(services, scope)
    if browser is None or not is_genuine(data.csrf, browser, PURPOSE, secret.hex):
        return await _new_password_page(services, scope, secret, link, STALE, 403)
    person: account.State = await services.ledger.state(account.stream(link.account_id))
    with away(scope):
        names = [await services.ledger.unseal(each) for each in (person.username, person.email, person.name)]
        problem = await password_problem(services, names, data.password)
        if problem is not None:
            return await _new_password_page(services, scope, secret, link, problem, 400)
        asker = Asker(group(request_context(scope).address), link.account_id)
        encoded = await services.hasher.hash(data.password, asker)
    if purpose == "recovery":
        steps = [*recovery.recover(link, encoded), *((upstreams.unlink_all(link.account_id),) if data.unlink else ())]
    else:
        steps = recovery.accept_invitation(link, encoded, privacy=services.ledger.privacy)
    by = origin(scope, Actor("person", link.account_id, {"link_sha256": secret.hex}))
    good, used = recovery.require_good(link.account_id, secret.sha256), recovery.use_up(secret.sha256)
    executed = await services.ledger.execute(good, *steps, origin=by, then=used)
    if executed.refusal is not None:
        # Somebody was faster with the link, or the person may not sign in any more.
        raise Missing(OVER) if isinstance(executed.refusal.reason, NotFound) else oauth_error(executed.refusal)
    invited = purpose == "invitation"
    look = await branding_at(services, person.realm)
    person = await services.ledger.state(account.stream(link.account_id))
    page = PasswordDonePage(
        branding=look,
        continue_url=f"{SIGN_IN}?realm={person.realm}",
        invited=invited,
        providers=() if invited else await titles(services, person),
    )
    return page_answer(page)


async def _found(services: Services, purpose: LinkPurpose, text: str) -> tuple[Secret, MailedLink]:
    """The link with this secret; raises 404 for one that is good no longer."""
    secret, link = await kept_link(services, text, Kind.PASSWORD_RESET, (purpose,))
    person: account.State = await services.ledger.state(account.stream(link.account_id))
    if not recovery.is_current(link, person):
        raise Missing(OVER)
    return secret, link


async def kept_link(
    services: Services, text: str, kind: Kind, purposes: tuple[LinkPurpose, ...]
) -> tuple[Secret, MailedLink]:
    """The link with this secret, if it was mailed for one of these and its time is not over; raises 404 for others."""
    secret = services.format.read(text[:LONGEST_LINK])
    if secret is None or secret.kind is not kind:
        raise Missing(OVER)
    ledger = services.ledger
    link = await ledger.read(mailed_links.find, ledger.vault, secret.sha256, purposes, ledger.clock.now())
    if link is None:
        raise Missing(OVER)
    return secret, link


async def password_problem(services: Services, names: Sequence[str | None], password: str) -> Words | None:
    """What is wrong with a new password of somebody with these names, as a sentence that says nothing of it."""
    minimum = services.settings.password_minimum
    if people.password_problem(password, minimum) is not None:
        return Words(
            "A password has from %(minimum)s to %(maximum)s characters.", minimum=minimum, maximum=MAX_CHARACTERS
        )
    weak = await people.weakness_problem(
        password, names, ledger=services.ledger, issuer=services.settings.issuer, strength=services.strength
    )
    return None if weak is None else TOO_EASY


async def _new_password_page(
    services: Services,
    scope: Scope,
    secret: Secret,
    link: MailedLink,
    error: str | None = None,
    status: int = 200,
) -> Response[bytes]:
    browser, cookies = provide_form_secret(services, scope)
    person: account.State = await services.ledger.state(account.stream(link.account_id))
    page = NewPasswordPage(
        branding=await branding_at(services, person.realm),
        action=NEW_PASSWORD if link.purpose == "recovery" else INVITATION,
        csrf=form_token(browser, PURPOSE, secret.hex),
        link=secret.reveal(),
        username=await services.ledger.unseal(person.username) or await services.ledger.unseal(person.email) or "",
        minimum=services.settings.password_minimum,
        invited=link.purpose == "invitation",
        providers=await titles(services, person) if link.purpose == "recovery" else (),
        error=error,
    )
    return page_answer(page, status=status, cookies=cookies)


ROUTES: list[Any] = [recover, recover_posted, new_password, new_password_posted, invitation, invitation_posted]
