"""What a person has allowed, and how they take it back: a withdrawal is a cut-off for every token that rests on it."""

from typing import Annotated, Any
from urllib.parse import quote

from litestar import Request, Response, get, post
from litestar.params import JSONBody, QueryParameter

from api.account import AccountForm, AnyRealm, account_token, require_genuine, sign_in_first, sign_out_action, signed_in
from api.browser_session import BrowserSession, login_name
from api.client_authentication import CLIENT_ID, LONGEST_ID
from api.page_answers import page_answer, see_other
from api.pages import AccountGrants, AllowedApplication, ScopeInWords
from api.problems import Missing, from_refusal
from api.services import Services, services
from commands import approvals
from domain import client
from eventstore.present import consents, scopes
from projections import grants

GRANTS = "/account/grants"
WITHDRAW = "/account/grants/withdraw"
APPLICATIONS = 200
"""Applications on the page."""

NOTICES = {"withdrawn": "Withdrawn. That application may not act for you any more."}

Done = Annotated[str | None, QueryParameter(name="done", max_length=32, description="What was just done: `withdrawn`.")]
ClientId = Annotated[
    str,
    # What is longer is no application, which is 404.
    QueryParameter(name="client_id", description="The application's id.", schema_extra={"max_length": LONGEST_ID}),
]


@get(GRANTS, tags=["Pages"], summary="What a person has allowed", media_type="text/html")
async def account_grants(request: Request[Any, Any, Any], realm: AnyRealm = None, done: Done = None) -> Response[bytes]:
    """Each application with what it may do; without a session, the sign-in."""
    here = services(request)
    used = await signed_in(here, request.scope, realm)
    if used is None:
        return sign_in_first(realm, "grants")
    page = AccountGrants(
        username=await login_name(here, used.account),
        realm=used.realm,
        grants=await _allowed(here, used),
        sign_out_action=sign_out_action(used),
        csrf=account_token(used),
        notice=None if done is None else NOTICES.get(done),
    )
    return page_answer(page, cookies=used.cookies)


@post(
    WITHDRAW,
    status_code=303,
    tags=["Pages"],
    summary="Withdraws what an application was allowed",
    media_type="text/html",
    opt={"bodies": ("form",)},
)
async def account_grants_withdraw(
    request: Request[Any, Any, Any],
    data: JSONBody[AccountForm],
    client_id: ClientId,
    realm: AnyRealm = None,
) -> Response[bytes]:
    """Takes everything back that this application was allowed; its tokens are dead from the next request on."""
    here, scope = services(request), request.scope
    used = await signed_in(here, scope, realm)
    if used is None:
        return sign_in_first(realm, "grants")
    require_genuine(here, scope, used, data.csrf)
    if not CLIENT_ID.fullmatch(client_id):
        raise Missing("You have allowed no such application anything.")
    withdrawn = approvals.withdraw(used.account.account_id, client_id, used.session_id)
    executed = await here.ledger.execute(withdrawn, origin=used.origin(scope))
    if executed.refusal is not None:
        raise from_refusal(executed.refusal)
    return see_other(f"{GRANTS}?realm={used.realm}&done=withdrawn", used.cookies)


async def _allowed(here: Services, used: BrowserSession) -> tuple[AllowedApplication, ...]:
    account_id = used.account.account_id
    given = await here.ledger.look(consents.given_by, account_id, limit=APPLICATIONS)
    words = await here.ledger.look(scopes.descriptions, [name for each in given for name in each.scope])
    last_used = await here.ledger.read(grants.last_used, account_id)
    return tuple([await _application(here, used, each, words, last_used.get(each.client_id)) for each in given])


async def _application(
    here: Services, used: BrowserSession, given: consents.Given, words: dict[str, str], last_used: int | None
) -> AllowedApplication:
    allowed: client.State = await here.ledger.state(client.stream(given.client_id))
    return AllowedApplication(
        application=allowed.client_name,
        scopes=tuple(ScopeInWords(name, words.get(name, name), True) for name in given.scope),
        since=given.given_at,
        last_used=last_used,
        withdraw_action=f"{WITHDRAW}?realm={used.realm}&client_id={quote(given.client_id, safe='')}",
    )
