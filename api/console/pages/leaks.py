"""The leak desk: any text is pasted, what is found in it is told, and what came of it is ended."""

import secrets
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from litestar import Request, Response, get, post
from litestar.params import JSONBody, QueryParameter
from msgspec import Meta
from msgspec.structs import replace

from api.console.continued import ContinuedPage
from api.console.frame import HEADERS, ConsolePage, Visit
from api.console.gate import (
    FORM,
    PAGE,
    ConsoleForm,
    Unsigned,
    is_recently_signed_in,
    posted,
    recent_sign_in,
    shown,
    step_up,
)
from api.console.leak_reports import (
    Contained,
    Elsewhere,
    Ended,
    FoundSecret,
    Graph,
    Investigated,
    graph,
    issued_in_words,
    nothing_found,
)
from api.console.masking import pseudonym, sealed
from api.console.named import NAMES, Named, id_named
from api.console.navigation import NavigationEntry, url_of
from api.console.own_api import Refused
from api.console.pages.clients import client_names
from api.http.templates import HtmlPage, render, see_other
from security.clock import format_rfc3339

DESK = "/console/leaks"
CONTAIN = "/console/leaks/contain"
FREEZE = "/console/leaks/freeze"
LONGEST = 1 << 20
DIGESTS_LONGEST = 65 * 1_000
AT_ONCE = {"counts": "2"}
"""Of an investigation: what was ever issued, and not what of it is alive."""
SIGN_IN_FIRST = "what would end is told to whoever signed in a moment ago: look once more"

# The desk itself.


class Frozen(msgspec.Struct, frozen=True):
    """Whether issuance is suspended."""

    frozen: bool
    since: str | None = None


class DeskPage(ConsolePage, frozen=True, kw_only=True):
    """Where one pastes. `named` and `given` are what a link names already."""

    template: ClassVar[str] = "console/leaks/leaks.html"
    csrf: str
    contain_csrf: str
    freeze_csrf: str
    freeze: Frozen
    may_contain: bool
    named: str
    given: str
    names: dict[str, str]
    longest: int = LONGEST


ClientId = Annotated[str, QueryParameter(name="client_id", max_length=128, description="All of this client.")]
AccountId = Annotated[str, QueryParameter(name="account_id", max_length=128, description="All of this person.")]
SecretId = Annotated[str, QueryParameter(name="secret_id", max_length=128, description="A version of a secret.")]


@get(DESK, **PAGE, summary="The leak desk")
async def console_leaks(
    request: Request[Any, Any, Any], client_id: ClientId = "", account_id: AccountId = "", secret_id: SecretId = ""
) -> Response[bytes]:
    """Who may end something signs in first where that was a while ago, so that nobody has to in the middle of it."""
    linked = {"client_id": client_id, "account_id": account_id, "secret_id": secret_id}
    named = next((name for name, value in linked.items() if value), "client_id")

    async def make(visit: Visit) -> ConsolePage | Response[bytes]:
        may_contain = "leaks:write" in visit.may
        if may_contain and (first := recent_sign_in(visit)) is not None:
            return see_other(first)
        return DeskPage(
            title="Leak desk",
            csrf=visit.token(DESK),
            contain_csrf=visit.token(CONTAIN),
            freeze_csrf=visit.token(FREEZE),
            freeze=await visit.api.get("/leaks/freeze", Frozen),
            may_contain=may_contain,
            named=named,
            given=linked[named],
            names=NAMES,
        )

    return await shown(request, make)


# What was found, and what would end.


class PasteForm(ConsoleForm, frozen=True):
    """Any text. Nothing of it is kept, and no page shows it again."""

    text: Annotated[str, Meta(description="Anything.", extra_json_schema={"maxLength": LONGEST})] = ""


class ContainForm(ConsoleForm, frozen=True):
    """What is to end, by digests or by another name, and what is done besides. `key` tells a repeat from another."""

    do: Literal["try", "contain"] = "try"
    digests: Annotated[str, Meta(max_length=DIGESTS_LONGEST)] = ""
    named: Named = ""
    given: Annotated[str, Meta(max_length=128)] = ""
    since: Annotated[str, Meta(max_length=64)] = ""
    show: Literal["", "1"] = ""
    rotate: Literal["", "1"] = ""
    disable_client: Literal["", "1"] = ""
    evidence: Annotated[str, Meta(max_length=8_000)] = ""
    key: Annotated[str, Meta(max_length=64)] = ""
    pasted: Annotated[str, Meta(max_length=40)] = ""


class LeakFoundPage(ConsolePage, frozen=True, kw_only=True):
    """What was found, what came of it, at once by a sample, and what would end. `given` says what `what` is about."""

    template: ClassVar[str] = "console/leaks/leak_found.html"
    items: tuple[FoundSecret, ...] = ()
    damaged: tuple[Elsewhere, ...] = ()
    foreign: tuple[Elsewhere, ...] = ()
    characters: int | None = None
    nothing: str | None = None
    issued: str = ""
    guessed: Graph | None = None
    drawing: Graph | None = None
    would: Ended | None = None
    offline_until: str | None = None
    form: ContainForm | None = None
    what: str = ""
    given: str = ""
    refused: str | None = None


@post(DESK, **{**FORM, "opt": {**FORM["opt"], "lists": True}}, summary="What is in a pasted text")
async def console_leaks_pasted(request: Request[Any, Any, Any], data: JSONBody[PasteForm]) -> Response[bytes]:
    """Every secret in it. The text goes no further than the question."""

    async def make(visit: Visit) -> ConsolePage | Response[bytes]:
        if not data.text.strip():
            return see_other(DESK)
        pasted = format_rfc3339(visit.services.ledger.clock.now())
        asked = {"secret": data.text}
        found = await visit.api.send("POST", "/leaks/investigate", Investigated, asked, query=AT_ONCE | sealed())
        digests = " ".join(each.sha256 for each in found.items if each.known)
        return await _told(visit, found, ContainForm(digests=digests, pasted=pasted))

    return await posted(request, data, make, back=DESK)


def _found(visit: Visit, found: Investigated, form: ContainForm, given: str) -> LeakFoundPage:
    """The page about what was found, as far as it is known at once."""
    containable = bool(form.digests or form.given) and "leaks:write" in visit.may
    items = tuple(sorted(found.items, key=lambda each: (-each.uses_after_end, not each.alive)))
    return LeakFoundPage(
        title="Leak desk",
        items=items,
        damaged=found.damaged,
        foreign=found.foreign,
        characters=found.characters,
        nothing=nothing_found(found.problem) if found.problem and not items else None,
        issued=issued_in_words(items),
        guessed=graph(items, None) if any(each.derived and each.derived.is_guessed for each in items) else None,
        form=_fresh(visit, form) if containable else None,
        what=NAMES.get(form.named, ""),
        given=given,
        personal=form.show == "1",
    )


async def _told(visit: Visit, found: Investigated, form: ContainForm) -> ConsolePage | Response[bytes]:
    """The page about what was found, and then, once it is counted, what of it lives and would end. Where the API wants
    a more recent sign-in first, the form waits for that."""
    page = _found(visit, found, form, await _called(visit, form))
    if page.form is not None and not is_recently_signed_in(visit):
        return await _counted(visit, page, found, form)

    async def rest() -> ConsolePage:
        try:
            made = await _counted(visit, page, found, form)
        except Refused as refused:
            return replace(page, refused=refused.words)
        return made if isinstance(made, LeakFoundPage) else replace(page, refused=SIGN_IN_FIRST)

    return ContinuedPage(visit, page, rest)


async def _counted(
    visit: Visit, page: LeakFoundPage, found: Investigated, form: ContainForm
) -> LeakFoundPage | Response[bytes]:
    """The page with the exact counts, asked for once: those of a containment, or for who may end nothing, those of the
    investigation."""
    would, refused, offline = None, None, None
    if page.form is not None:
        try:
            tried = await visit.api.send("POST", "/leaks/contain", Contained, _body(form, dry_run=True))
            would, offline = tried.together, tried.offline_until
        except Refused as error:
            if (kept := _kept(visit, error, form)) is not None:
                return kept
            if error.status not in (400, 404, 409, 422):
                raise
            refused = error.words
    elif any(each.known and each.derived is not None and not each.derived.is_counted for each in found.items):
        asked = {"items": [{"sha256": each.sha256} for each in found.items if each.known]}
        counted = await visit.api.send("POST", "/leaks/investigate", Investigated, asked, query=sealed(), tell=True)
        found = replace(found, items=counted.items)
    return replace(
        page,
        drawing=graph(found.items, would) if any(each.known for each in found.items) else None,
        would=would,
        offline_until=offline,
        refused=refused,
    )


def _fresh(visit: Visit, form: ContainForm) -> ContainForm:
    return replace(form, csrf=visit.token(CONTAIN), key=secrets.token_urlsafe(16))


def _body(form: ContainForm, *, dry_run: bool = False) -> dict[str, Any]:
    named: dict[str, Any] = {form.named: form.given.strip()} if form.named else {"digests": form.digests.split()}
    more: dict[str, Any] = {
        "since": form.since.strip() or None,
        "rotate": form.rotate == "1",
        "disable_client": form.disable_client == "1",
        "evidence": None if dry_run else form.evidence.strip() or None,
        "dry_run": dry_run,
    }
    return named | {name: value for name, value in more.items() if value}


# Containing.


class SignInAgainPage(HtmlPage, frozen=True, kw_only=True):
    """What was typed waits on this page, and nowhere else, until its owner has signed in beside it."""

    template: ClassVar[str] = "console/sign_in_again.html"
    title: str
    action: str
    sign_in: str
    fields: dict[str, str]


class ContainedPage(ConsolePage, frozen=True, kw_only=True):
    """What was ended, incident by incident; new secrets are shown here and never again."""

    template: ClassVar[str] = "console/leaks/contained.html"
    contained: Contained
    rotated: bool
    pasted: str
    client_names: dict[str, str]


@post(CONTAIN, **{**FORM, "opt": {**FORM["opt"], "lists": True}}, summary="Ends what leaked, or says what would end")
async def console_leaks_contained(request: Request[Any, Any, Any], data: JSONBody[ContainForm]) -> Response[bytes]:
    """One click, one containment: a repeat of the same form ends nothing more and opens no other incident."""

    async def make(visit: Visit) -> ConsolePage | Response[bytes]:
        if data.do == "try":
            return await _tried(visit, data)
        try:
            done = await visit.api.send("POST", "/leaks/contain", Contained, _body(data), once=data.key or None)
        except Refused as error:
            if (kept := _kept(visit, error, data)) is not None:
                return kept
            raise
        first = done.items[0]
        if len(done.items) == 1 and not data.rotate and not done.archive_away and first.incident_id is not None:
            pasted = f"?pasted={data.pasted}" if data.pasted else ""
            return see_other(url_of("incident", first.incident_id) + pasted)
        return ContainedPage(
            title="Contained",
            contained=done,
            rotated=data.rotate == "1",
            pasted=data.pasted,
            client_names=await _names_in(visit, done),
        )

    async def tried(visit: Visit) -> ConsolePage | Response[bytes]:
        return await _tried(visit, data)

    unsigned = Unsigned(stale=tried, kept=lambda sign_in: _waiting(data, sign_in))
    return await posted(request, data, make, back=DESK, unsigned=unsigned)


async def _names_in(visit: Visit, done: Contained) -> dict[str, str]:
    """What the clients are called; nothing where that cannot be asked for. Anyone who contained may have ended their
    own token with it, and the new secrets are shown all the same."""
    try:
        return await client_names(visit, (each.client_id for each in done.items))
    except Refused:
        return {}


async def _tried(visit: Visit, form: ContainForm) -> ConsolePage | Response[bytes]:
    """The same page once more, with what is asked for besides; a name that was given becomes an id."""
    form = replace(form, given=await id_named(visit, form.named, form.given))
    found = Investigated()
    if form.digests:
        asked = {"items": [{"sha256": each} for each in form.digests.split()]}
        found = await visit.api.send(
            "POST", "/leaks/investigate", Investigated, asked, query=AT_ONCE | sealed(form.show), tell=True
        )
    pasted = form.pasted or format_rfc3339(visit.services.ledger.clock.now())
    return await _told(visit, found, replace(form, pasted=pasted))


async def _called(visit: Visit, form: ContainForm) -> str:
    """What is to be contained, as somebody knows it: a client by its name, a person by the ends of their id."""
    if form.named == "client_id":
        return (await client_names(visit, (form.given,))).get(form.given, form.given)
    return pseudonym(form.given) if form.named == "account_id" else form.given


def _kept(visit: Visit, refused: Refused, form: ContainForm) -> Response[bytes] | None:
    """The page on which the form waits where the API wants a more recent sign-in; None where it wants something
    else."""
    address = step_up(refused, DESK)
    return None if address is None else _waiting(form, address)


def _waiting(form: ContainForm, sign_in: str) -> Response[bytes]:
    fields = {name: getattr(form, name) for name in ContainForm.__struct_fields__ if name not in ("csrf", "do", "key")}
    page = SignInAgainPage(
        title="Sign in to go on",
        action=CONTAIN,
        sign_in=sign_in,
        fields={name: value for name, value in fields.items() if value},
    )
    return Response(render(page), status_code=401, headers=dict(HEADERS), media_type="text/html")


# The worst hour.


class FreezeForm(ConsoleForm, frozen=True):
    """`sure` has to be ticked."""

    do: Literal["freeze", "unfreeze"] = "freeze"
    sure: Literal["", "1"] = ""


@post(FREEZE, **FORM, summary="Suspends or resumes all issuance")
async def console_leaks_frozen(request: Request[Any, Any, Any], data: JSONBody[FreezeForm]) -> Response[bytes]:
    """Nothing is issued to anybody, or again."""

    async def make(visit: Visit) -> ConsolePage | Response[bytes]:
        if data.sure:
            await visit.api.send("POST", f"/leaks/{data.do}", Frozen)
        return see_other(f"{DESK}#freeze")

    return await posted(request, data, make, back=DESK)


ROUTES: list[Any] = [
    console_leaks,
    console_leaks_pasted,
    console_leaks_contained,
    console_leaks_frozen,
]
NAVIGATION = (NavigationEntry(40, "Leak desk", DESK, ("leaks:read", "leaks:write")),)
